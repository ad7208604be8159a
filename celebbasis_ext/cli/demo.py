"""`celebbasis demo`: the main job in the miniature."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    demo = commands.add_parser("demo", help="learn a drawn stranger in the miniature and show the result")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for the files (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=1, help="which stranger (default: %(default)s)")
    demo.set_defaults(command=_demo)


def _demo(options: argparse.Namespace) -> int:
    from celebbasis_ext.cli.progress import run
    from celebbasis_ext.miniature.demo import run_demo

    run_demo(options.out, options.seed, run)
    return 0
