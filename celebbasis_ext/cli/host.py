"""Which checkpoint a command works with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop


def add_checkpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="the checkpoint to work with (default: the miniature)"
    )


def open_host(checkpoint: Path | None, embeddings_dir: Path) -> Workshop:
    """The workshop of a checkpoint, or of the miniature; raises UnsupportedCheckpoint or MissingModel."""
    import dataclasses

    from celebbasis_ext.hosts.standalone import StandaloneHost
    from celebbasis_ext.miniature.workshop import open_workshop

    workshop = open_workshop(embeddings_dir)
    if checkpoint is None:
        return workshop
    return dataclasses.replace(workshop, host=StandaloneHost.load(checkpoint, embeddings_dir))
