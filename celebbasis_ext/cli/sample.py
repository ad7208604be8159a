"""`celebbasis sample`: people who do not exist."""

from __future__ import annotations

import argparse
from typing import Any

from celebbasis_ext.cli.command import add_command
from celebbasis_ext.cli.host import open_host
from celebbasis_ext.cli.people import add_output, print_saved
from celebbasis_ext.errors import InvalidSettings


def add(commands: Any) -> None:
    sample = add_command(
        commands, "sample", "write fictional people, as various as the celebrities",
        example="celebbasis sample --seed 7 --count 3",
    )  # fmt: skip
    sample.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="each number is a person; --count takes the next ones (default: 0)",
    )
    sample.add_argument("--count", type=int, default=1, metavar="N", help="how many people (default: 1)")
    sample.add_argument("--name", nargs="+", metavar="NAME", help="their trigger words (default: fiction-SEED-cb)")
    add_output(sample)
    sample.set_defaults(command=_sample)


def _sample(options: argparse.Namespace) -> int:
    from celebbasis_ext.tools import sample_people

    if options.seed < 0 or options.count < 1:
        raise InvalidSettings(
            f"Expected a seed of at least 0 and a count of at least 1, got {options.seed} and {options.count}.",
            "Choose other numbers.",
        )
    seeds = range(options.seed, options.seed + options.count)
    names = options.name or [f"fiction-{seed}-cb" for seed in seeds]
    if len(names) != len(seeds):
        raise InvalidSettings(
            f"Got {len(names)} names for {len(seeds)} people.", "Give every one a name, or none of them."
        )
    workshop = open_host(options.checkpoint, options.out, options.names)
    saved = sample_people(workshop, seeds, names, overwrite=options.overwrite, also_pt=options.also == "pt")
    print_saved(workshop, saved)
    return 0
