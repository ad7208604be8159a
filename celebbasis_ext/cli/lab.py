"""`celebbasis lab`: measured on drawn strangers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from celebbasis_ext.cli.command import add_command

METHODS = ("celeb_basis", "instant", "warm", "warm_4", "lora", "paper", "textual_inversion")
"""Those of `evaluate.baselines`, which is too heavy to be asked for its keys here."""


def add(commands: Any) -> None:
    lab = add_command(
        commands, "lab", "measure likeness, obedience and leak on drawn strangers",
        example="celebbasis lab --people 50 --seed 7 --json lab.json",
    )  # fmt: skip
    lab.add_argument("--people", type=int, default=8, metavar="N", help="how many strangers (default: %(default)s)")
    lab.add_argument(
        "--seed", type=int, default=0, metavar="N", help="another number draws other strangers (default: %(default)s)"
    )
    lab.add_argument(
        "--methods", nargs="+", choices=METHODS, metavar="METHOD",
        help=f"some of {', '.join(METHODS)} (default: all)",
    )  # fmt: skip
    lab.add_argument(
        "--precision", choices=("fp32", "bf16"), default="fp32",
        help="of training and generating; bf16 is quicker on new processors (default: %(default)s)",
    )  # fmt: skip
    lab.add_argument("--pairs", action="store_true", help="draw people two by two too, and look who is who")
    lab.add_argument("--reconstruction", action="store_true", help="redraw everybody in their photo's own scene too")
    files = lab.add_argument_group("files")
    files.add_argument(
        "--out", type=Path, default=Path("lab"), metavar="FOLDER",
        help="where page and contact sheets go (default: %(default)s)",
    )  # fmt: skip
    files.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, for programs")
    lab.set_defaults(command=_lab)


def _lab(options: argparse.Namespace) -> int:
    from celebbasis_ext.evaluate.lab_report import run_lab

    run_lab(
        options.people, options.seed, options.out, options.json, options.methods, options.precision,
        options.reconstruction, options.pairs,
    )  # fmt: skip
    return 0
