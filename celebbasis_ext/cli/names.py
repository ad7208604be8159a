"""`celebbasis names`: which celebrity names carry the basis."""

from __future__ import annotations

import argparse
from typing import Any

from celebbasis_ext.cli.command import add_command


def add(commands: Any) -> None:
    names = add_command(commands, "names", "show which celebrity names are used, and why the rest is not")
    names.add_argument("--rejected", action="store_true", help="list every name that is not used (else the first 8)")
    names.set_defaults(command=_names)


def _names(options: argparse.Namespace) -> int:
    from celebbasis_ext.files.clip_tokenizer import clip_tokenizer
    from celebbasis_ext.names import load_names, select_names

    tokenizer = clip_tokenizer()
    report = select_names(
        load_names(),
        lambda text: tokenizer(text, add_special_tokens=False)["input_ids"],
        describe_token=lambda i: str(tokenizer.convert_ids_to_tokens(i)).removesuffix("</w>"),
    )
    print(
        f"{len(report.usable)} names are used: two tokens each, "
        f"{report.distinct(0)} first and {report.distinct(1)} last ones."
    )
    print(f"{len(report.rejected)} are not" + (":" if options.rejected else " (--rejected lists them):"))
    for rejected in report.rejected if options.rejected else report.rejected[:8]:
        print(f"  {rejected.name}: {rejected.reason}")
    return 0
