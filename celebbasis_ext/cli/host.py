"""Which checkpoint a command works with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop


def add_checkpoint(command: argparse._ActionsContainer) -> None:
    command.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="the Stable Diffusion to work with (default: the miniature)"
    )


def add_names(command: argparse._ActionsContainer) -> None:
    command.add_argument(
        "--names", type=Path, metavar="FILE",
        help="the celebrities behind the basis, one on each line, such as `celebbasis names` writes (default: the "
        "shipped list, or the miniature's own)",
    )  # fmt: skip


def open_host(
    checkpoint: Path | None, embeddings_dir: Path, names: Path | None = None, faces: bool = False
) -> Workshop:
    """A workshop for words and pictures, where no photo is looked at unless `faces` are wanted.

    Raises:
        UnsupportedCheckpoint, MissingModel, OutOfMemory: What cannot be loaded.
    """
    from celebbasis_ext.miniature.workshop import Assets, open_faces
    from celebbasis_ext.workshops import Equipment, open_workshop

    equipment = Equipment(checkpoint, describer=None if checkpoint is None else "none", names=names)
    return open_workshop(embeddings_dir, equipment, None if faces else lambda: open_faces(Assets().checked()))
