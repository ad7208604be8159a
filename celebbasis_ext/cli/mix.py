"""`celebbasis mix`: somebody between people."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from celebbasis_ext.cli.command import add_command
from celebbasis_ext.cli.host import open_host
from celebbasis_ext.cli.people import add_output, print_saved
from celebbasis_ext.tools import Parent


def add(commands: Any) -> None:
    mix = add_command(
        commands, "mix", "write somebody between several people",
        "WHO[:WEIGHT] ... --name NAME", 'celebbasis mix anna-cb:0.6 "Marilyn Monroe:0.4" --name blend-cb',
    )  # fmt: skip
    mix.add_argument(
        "people", nargs="+", type=parent, metavar="WHO[:WEIGHT]",
        help="an embedding (file or name), a celebrity, or sample:SEED for somebody fictional; the weight is 1 where "
        "none is given, and a negative one leads away from WHO",
    )  # fmt: skip
    mix.add_argument("--name", required=True, metavar="NAME", help="the new trigger word, such as blend-cb")
    route = mix.add_mutually_exclusive_group()
    route.add_argument(
        "--sphere", dest="route", action="store_const", const="sphere", default="sphere",
        help="as far from the centre of all celebrities as the people are (default)",
    )  # fmt: skip
    route.add_argument(
        "--straight",
        dest="route",
        action="store_const",
        const="straight",
        help="the plain weighted mean, which is closer to the centre",
    )
    add_output(mix)
    mix.set_defaults(command=_mix)


def parent(text: str) -> Parent:
    """Reads WHO[:WEIGHT] from the right, since a path on Windows begins with a colon of its own: C:\\anna.pt:0.6."""
    who, colon, weight = text.rpartition(":")
    if not colon or who == "sample":
        return Parent(_who(text))
    try:
        value = float(weight)
    except ValueError:
        return Parent(_who(text))
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"the weight of {who!r} is {weight}, expected a number")
    return Parent(_who(who), value)


def _who(text: str) -> str | Path:
    """A file where it ends like one, else a name."""
    return Path(text) if Path(text).suffix.lower() in (".safetensors", ".pt", ".bin") else text


def _mix(options: argparse.Namespace) -> int:
    from celebbasis_ext.tools import mix_people

    workshop = open_host(options.checkpoint, options.out, options.names)
    saved = mix_people(
        workshop, options.people, options.name, options.route,
        overwrite=options.overwrite, also_pt=options.also == "pt",
    )  # fmt: skip
    print_saved(workshop, saved)
    return 0
