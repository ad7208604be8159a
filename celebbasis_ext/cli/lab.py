"""`celebbasis lab`: measured on drawn strangers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    lab = commands.add_parser("lab", help="measure likeness, obedience and leak on drawn strangers")
    lab.add_argument("--people", type=int, default=8, help="how many strangers (default: %(default)s)")
    lab.add_argument("--seed", type=int, default=0, help="which strangers (default: %(default)s)")
    lab.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    lab.add_argument("--out", type=Path, default=Path("lab"), help="folder for the page (default: %(default)s)")
    lab.add_argument("--methods", nargs="+", metavar="METHOD", help="only these methods")
    lab.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: %(default)s")
    lab.set_defaults(command=_lab)


def _lab(options: argparse.Namespace) -> int:
    from celebbasis_ext.evaluate.lab_report import run_lab

    run_lab(options.people, options.seed, options.out, options.json, options.methods, options.precision)
    return 0
