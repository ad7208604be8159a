"""`celebbasis demo`: the main job in the miniature."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from celebbasis_ext.cli.command import add_command


def add(commands: Any) -> None:
    demo = add_command(commands, "demo", "learn a drawn stranger in the miniature and show the result")
    demo.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="FOLDER",
        help="where portrait, embedding and contact sheet go (default: %(default)s)",
    )  # fmt: skip
    demo.add_argument(
        "--seed", type=int, default=1, metavar="N", help="another number draws another stranger (default: %(default)s)"
    )
    demo.set_defaults(command=_demo)


def _demo(options: argparse.Namespace) -> int:
    from celebbasis_ext.cli.progress import run
    from celebbasis_ext.miniature.demo import run_demo

    run_demo(options.out, options.seed, run)
    return 0
