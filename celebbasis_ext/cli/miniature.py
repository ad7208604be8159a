"""`celebbasis miniature`: the miniature's checkpoint for a WebUI."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from celebbasis_ext.cli.command import add_command


def add(commands: Any) -> None:
    miniature = add_command(
        commands, "miniature", "copy the miniature's checkpoint to where a WebUI loads it",
        "FOLDER", "celebbasis miniature ~/stable-diffusion-webui/models/Stable-diffusion",
    )  # fmt: skip
    miniature.add_argument(
        "folder", type=Path, metavar="FOLDER", help="the program's folder for checkpoints; it is made if need be"
    )
    miniature.set_defaults(command=_miniature)


def _miniature(options: argparse.Namespace) -> int:
    from celebbasis_ext.miniature.webui import install_miniature

    print(install_miniature(options.folder))
    return 0
