"""`celebbasis names`: which celebrity names carry the basis, and which of them a checkpoint knows."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.command import add_command

if TYPE_CHECKING:
    from celebbasis_ext.name_filter import FilteredNames, Verdict
    from celebbasis_ext.types import Gallery

MOST_SHOWN = 60
_FEW = 8


def add(commands: Any) -> None:
    names = add_command(
        commands, "names", "show which celebrity names are used, and which of them a checkpoint knows",
        example="celebbasis names --checkpoint sd15.safetensors",
    )  # fmt: skip
    names.add_argument("--rejected", action="store_true", help="list every name that is not used (else the first 8)")
    group = names.add_argument_group("what a checkpoint knows, after `celebbasis gallery`")
    group.add_argument("--checkpoint", type=Path, metavar="PATH", help="judge the names by what this one drew for them")
    group.add_argument("--known", action="store_true", help="the same for the miniature")
    group.add_argument(
        "--out", type=Path, default=Path("names"), metavar="FOLDER",
        help="where two sheets go, and the list for --names of other commands (default: %(default)s)",
    )  # fmt: skip
    names.set_defaults(command=_names)


def _names(options: argparse.Namespace) -> int:
    return _known(options) if options.known or options.checkpoint else _usable(options)


def _usable(options: argparse.Namespace) -> int:
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
    for rejected in report.rejected if options.rejected else report.rejected[:_FEW]:
        print(f"  {rejected.name}: {rejected.reason}")
    return 0


def _known(options: argparse.Namespace) -> int:
    from celebbasis_ext.files.gallery import read_gallery, read_plan
    from celebbasis_ext.gallery import latest_gallery
    from celebbasis_ext.miniature.workshop import Assets
    from celebbasis_ext.name_filter import filter_names

    folder = latest_gallery(options.checkpoint or Assets().checked().checkpoint)
    plan, gallery = read_plan(folder), read_gallery(folder)
    filtered = filter_names(gallery)
    print(f"{len(gallery.shots)} of {len(plan.keys)} pictures of {len(plan.names)} names: gallery {plan.fingerprint}")
    print(f"{len(filtered.kept)} names are known: the same person each time means more than {filtered.threshold:.2f}.")
    _print_dropped(filtered, len(filtered.verdicts) if options.rejected else _FEW)
    for path in _write(filtered, gallery, options.out):
        print(path)
    return 0


def _print_dropped(filtered: FilteredNames, most: int) -> None:
    dropped = [verdict for verdict in filtered.verdicts if not verdict.kept]
    counts = Counter(verdict.reason for verdict in dropped)
    print(f"{len(dropped)} are not" + (": " if dropped else "") + ", ".join(f"{n} {r}" for r, n in counts.items()))
    for verdict in dropped[:most]:
        print(f"  {verdict.name}: {verdict.reason}, {_score(verdict)}")
    if len(dropped) > most:
        print("  ... (--rejected lists them all)")


def _score(verdict: Verdict) -> str:
    return f"{verdict.within:.2f} (others {verdict.nearest:.2f})" if verdict.within == verdict.within else "-"


def _write(filtered: FilteredNames, gallery: Gallery, out: Path) -> list[Path]:
    """The list of those that are kept, and a sheet each of those and of the others, the least sure first."""
    from celebbasis_ext.cli.pictures import write_picture
    from celebbasis_ext.evaluate.gallery_sheet import names_sheet
    from celebbasis_ext.files.atomic import write_whole

    kept = sorted((v for v in filtered.verdicts if v.kept), key=lambda v: v.within)
    dropped = sorted((v for v in filtered.verdicts if not v.kept), key=lambda v: (v.within != v.within, -v.within))
    paths = []
    for title, verdicts in (("kept", kept), ("dropped", dropped)):
        shown = verdicts[:MOST_SHOWN]
        if shown:
            said = {v.name: _said(v) for v in shown}
            heading = f"{len(shown)} of {len(verdicts)} names that are {title}, the least sure first"
            write_picture(names_sheet(gallery, list(said), heading, said.__getitem__), out / f"{title}.png")
            paths.append(out / f"{title}.png")
    if kept:
        write_whole(out / "kept.txt", _as_list(filtered.kept, gallery).encode())
        paths.append(out / "kept.txt")
    return paths


def _said(verdict: Verdict) -> str:
    return _score(verdict) if verdict.reason is None else f"{verdict.reason}, {_score(verdict)}"


def _as_list(names: Sequence[str], gallery: Gallery) -> str:
    return "\n".join([f"# Known by what was drawn for them: gallery {gallery.fingerprint}", *names, ""])
