"""`celebbasis move`: a person over another checkpoint."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.command import add_command
from celebbasis_ext.cli.host import open_host
from celebbasis_ext.cli.people import add_output, print_saved

if TYPE_CHECKING:
    from celebbasis_ext.tools import Moved


def add(commands: Any) -> None:
    move = add_command(
        commands, "move", "write a person anew for another checkpoint, without training",
        "FILE --name NAME", "celebbasis move anna-cb.safetensors --name anna-b-cb --checkpoint b.ckpt",
    )  # fmt: skip
    move.add_argument("file", type=Path, metavar="FILE", help="an embedding that Celeb Basis wrote")
    move.add_argument("--name", required=True, metavar="NAME", help="the new trigger word, such as anna-b-cb")
    move.add_argument(
        "--force", action="store_true", help="even to another family, where the same numbers are somebody else"
    )
    add_output(move)
    move.set_defaults(command=_move)


def _move(options: argparse.Namespace) -> int:
    from celebbasis_ext.files.embedding import load_embedding
    from celebbasis_ext.tools import move_person

    embedding = load_embedding(options.file)
    workshop = open_host(options.checkpoint, options.out, options.names)
    moved = move_person(
        workshop, embedding, options.name,
        force=options.force, overwrite=options.overwrite, also_pt=options.also == "pt",
    )  # fmt: skip
    print_saved(workshop, moved.saved)
    for line in _meaning(moved):
        print(f"note: {line}", file=sys.stderr)
    return 0


def _meaning(moved: Moved) -> list[str]:
    how = (
        "The person is the same combination of celebrities as before, of those that this checkpoint knows."
        if moved.by_names
        else "The coefficients were taken as they are: the old checkpoint's basis is not in the cache to compare with."
    )
    if moved.agreement is None:
        return [how, "The two text encoders share no space: expect somebody else, and look before you use it."]
    likeness = f"Old and new word vectors agree with a cosine of {moved.agreement:.2f}"
    trust = "the same person." if moved.agreement > 0.9 else "look before you use it, or learn the photo again."
    return [how, f"{likeness}: {trust}"]
