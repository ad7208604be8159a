"""The command line: thin doors to `jobs`, one module for each command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from celebbasis_ext import __version__
from celebbasis_ext.cli import (
    adapt,
    demo,
    encoder,
    faces,
    gallery,
    generate,
    insert,
    inspect,
    lab,
    miniature,
    mix,
    move,
    names,
    sample,
    train,
    ui,
)
from celebbasis_ext.cli.exit import BAD_INPUT, INTERRUPTED
from celebbasis_ext.errors import CelebBasisError

COMMANDS = (
    demo,
    train,
    insert,
    faces,
    generate,
    inspect,
    mix,
    sample,
    move,
    gallery,
    encoder,
    adapt,
    names,
    ui,
    miniature,
    lab,
)
"""In the order in which one meets them. Each has `add(commands)`, which adds its parser and sets its `command`."""

_EXAMPLES = """examples:
  celebbasis demo                              see it work, in the miniature
  celebbasis train anna.png --name anna-cb     learn a person from one photo

celebbasis COMMAND --help says more; docs/commands/ has a page for each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0 done, 2 bad input, 130 interrupted."""
    options = parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except CelebBasisError as error:
        if options.debug:
            raise
        print(f"celebbasis: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("celebbasis: interrupted", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="celebbasis", usage="celebbasis COMMAND ...", epilog=_EXAMPLES,
        description="One photo of a face becomes a word that Stable Diffusion understands.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    top.add_argument("-V", "--version", action="version", version=f"celebbasis {__version__}")
    commands = top.add_subparsers(required=True, title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    for added in commands.choices.values():
        added.add_argument("--debug", action="store_true", help="show where in the program an error arose")
    return top
