"""`celebbasis miniature`: the miniature's checkpoint for a WebUI."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    miniature = commands.add_parser("miniature", help="copy the miniature's checkpoint to where a WebUI loads it")
    miniature.add_argument("folder", type=Path, metavar="FOLDER", help="such as models/Stable-diffusion")
    miniature.set_defaults(command=_miniature)


def _miniature(options: argparse.Namespace) -> int:
    from celebbasis_ext.miniature.webui import install_miniature

    print(install_miniature(options.folder))
    return 0
