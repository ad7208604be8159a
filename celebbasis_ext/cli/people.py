"""What the commands that write people have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from celebbasis_ext.cli.host import add_checkpoint, add_names

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop
    from celebbasis_ext.types import Saved


def add_files(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The options that say where embeddings are written, and how."""
    group = command.add_argument_group("files")
    group.add_argument(
        "--out", type=Path, default=Path("embeddings"), metavar="FOLDER",
        help="where embeddings go (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--overwrite", action="store_true", help="replace existing embeddings of these names")
    group.add_argument(
        "--also", choices=("pt",), help="write the old .pt format beside it, for programs that read no other"
    )
    return group


def add_output(command: argparse.ArgumentParser) -> None:
    """The options of every command that writes embeddings without training."""
    add_checkpoint(command)
    add_names(command)
    add_files(command)


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
