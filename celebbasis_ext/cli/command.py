"""How a command's help is laid out: what has to be given first, options in groups, an example last."""

from __future__ import annotations

import argparse
from typing import Any


def add_command(commands: Any, name: str, sentence: str, needs: str = "", example: str = "") -> argparse.ArgumentParser:
    """The parser of a new command.

    Args:
        commands: What `ArgumentParser.add_subparsers` returned.
        name: Of the command.
        sentence: What it does, in small letters; it stands in the list of commands and over the command's own help.
        needs: What has to be given, in the order that always works: an option that takes several values takes all
            that follows it, so that photos and prompts stand before the options.
        example: A whole line, shown at the end.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=sentence,
        usage=" ".join(["celebbasis", name, *needs.split(), "[options]"]),
        description=f"{sentence[0].upper()}{sentence[1:]}.",
        epilog=f"example:\n  {example}" if example else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser
