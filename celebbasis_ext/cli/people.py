"""What the commands that write people have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from celebbasis_ext.cli.host import add_checkpoint

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop
    from celebbasis_ext.types import Saved


def add_also(command: argparse.ArgumentParser) -> None:
    command.add_argument("--also", choices=("pt",), help="write the old .pt format too, for WebUIs up to 1.9")


def add_output(command: argparse.ArgumentParser) -> None:
    """The options of every command that writes embeddings."""
    add_checkpoint(command)
    command.add_argument(
        "--out", type=Path, default=Path("embeddings"), help="folder for the files (default: %(default)s)"
    )
    command.add_argument("--overwrite", action="store_true", help="replace existing embeddings of these names")
    add_also(command)


def print_saved(workshop: Workshop, saved: Saved) -> None:
    """The new trigger words, their files, and what is surprising about the names."""
    for embedding, path in zip(saved.embeddings, saved.paths, strict=True):
        print(f"{embedding.name}: {path}")
    print_surprises(workshop, [embedding.name for embedding in saved.embeddings])


def print_surprises(workshop: Workshop, names: Sequence[str]) -> None:
    from celebbasis_ext.person import surprises_of_name

    for name in names:
        for warning in surprises_of_name(workshop.host, name):
            print(f"note: {warning.sentence}", file=sys.stderr)
