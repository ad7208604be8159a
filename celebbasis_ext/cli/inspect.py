"""`celebbasis inspect`: what an embedding is."""

from __future__ import annotations

import argparse
import dataclasses
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.command import add_command
from celebbasis_ext.cli.host import add_checkpoint, open_host

if TYPE_CHECKING:
    from celebbasis_ext.inspection import Inspection
    from celebbasis_ext.jobs import Workshop
    from celebbasis_ext.types import Embedding

_COLUMNS = 80
_MINIATURE = {"clip_l": 96}


def add(commands: Any) -> None:
    inspect = add_command(
        commands, "inspect", "say what embeddings are, ours and anybody's",
        "FILE [FILE ...]", "celebbasis inspect embeddings/anna-cb.safetensors",
    )  # fmt: skip
    inspect.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="Textual-Inversion files: .safetensors, .pt or .bin"
    )
    inspect.add_argument("--json", action="store_true", help="print everything for programs, as JSON")
    add_checkpoint(inspect)
    inspect.set_defaults(command=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from celebbasis_ext.files.embedding import load_embedding
    from celebbasis_ext.tools import inspect

    embeddings = [load_embedding(path) for path in options.files]
    workshop = _workshop(options.checkpoint, embeddings)
    inspections = [inspect(workshop, embedding) for embedding in embeddings]
    if options.json:
        entries = [dataclasses.asdict(i) | {"file": str(f)} for i, f in zip(inspections, options.files, strict=True)]
        print(json.dumps(entries, indent=2, ensure_ascii=False))
        return 0
    print("\n\n".join("\n".join(_lines(inspection)) for inspection in inspections))
    return 0


def _workshop(checkpoint: Path | None, embeddings: list[Embedding]) -> Workshop | None:
    """Something to compare with: what was asked for, or the miniature if a file is of its making."""
    for embedding in embeddings:
        widths = {encoder: vectors.shape[-1] for encoder, vectors in embedding.vectors.items()}
        if checkpoint is not None or widths == _MINIATURE:
            return open_host(checkpoint, Path("embeddings"))
    return None


def _lines(inspection: Inspection) -> Iterator[str]:
    shapes = " and ".join(f"{count} x {width} ({encoder})" for encoder, (count, width) in inspection.shape.items())
    yield inspection.name
    yield from _entry(
        "what",
        inspection.facts.get("made_by", "Celeb Basis") if inspection.ours else "an embedding of another's making",
    )
    yield from _entry("fits", f"{inspection.fits}: word vectors {shapes}")
    yield from _made(inspection)
    yield from _compared(inspection)


def _made(inspection: Inspection) -> Iterator[str]:
    """How it came about, from the header."""
    facts = inspection.facts
    if not inspection.ours:
        if facts:
            yield from _entry("header", ", ".join(f"{key} {value}" for key, value in facts.items()))
        return
    checkpoint = facts.get("checkpoint") or {}
    if checkpoint:
        yield from _entry("checkpoint", f"{checkpoint.get('name')} ({checkpoint.get('sha256', '')[:10] or 'no hash'})")
    if facts.get("settings"):
        yield from _entry("training", f"{facts.get('steps')} steps; " + _settings(facts["settings"]))
    if facts.get("description"):
        yield from _entry("said", ", ".join(facts["description"]))
    if facts.get("mix"):
        parents = facts["mix"]["parents"]
        yield from _entry(
            "mixed", f"{facts['mix']['route']}: " + ", ".join(f"{p['who']} x {p['weight']:g}" for p in parents)
        )
    if facts.get("sample"):
        yield from _entry("made up", f"seed {facts['sample']['seed']}")
    if facts.get("moved"):
        yield from _entry("moved", f"{facts['moved']['of']} from {(facts['moved']['from'] or {}).get('name')}")
    if facts.get("scores"):
        yield from _entry("scores", _scores(facts["scores"]))


def _scores(scores: dict[str, float | None]) -> str:
    """Those that somebody judged; obedience is known in the miniature only."""
    return ", ".join(f"{key.replace('_', ' ')} {value:.2f}" for key, value in scores.items() if value is not None)


def _settings(settings: dict[str, Any]) -> str:
    shown = ("learn", "radius", "learning_rate", "batch", "explain", "face_mask", "seed")
    return ", ".join(f"{key.replace('_', ' ')} {settings[key]}" for key in shown if key in settings)


def _compared(inspection: Inspection) -> Iterator[str]:
    """Figures; those that need a checkpoint only where there was one."""
    for norms in inspection.norms:
        beside = [f"{mean:.2f} ({low:.2f} to {high:.2f})" for low, mean, high in norms.names]
        names = f"; real names {', '.join(beside)}" if beside else ""
        own = ", ".join(f"{length:.2f}" for length in norms.own[:8]) + (" …" if len(norms.own) > 8 else "")
        yield from _entry("lengths", f"{norms.encoder}: {own}{names}")
    if inspection.distances:
        yield from _entry(
            "distance",
            ", ".join(f"{d:.2f}" for d in inspection.distances) + " from the centre; celebrities 1 on average",
        )
    if inspection.outside is not None:
        yield from _entry("outside", f"{inspection.outside:.0%} of it lies beyond what celebrities can be combined to")
    if inspection.nearest:
        yield from _entry("nearest", ", ".join(f"{name} {cosine:.2f}" for name, cosine in inspection.nearest))
    if not inspection.compared_with:
        yield from _entry("", "Give --checkpoint to compare it with real names.")


def _entry(label: str, text: str) -> list[str]:
    """A label and its text, folded to the width of a terminal."""
    return textwrap.wrap(text, _COLUMNS, initial_indent=f"  {label:<11}", subsequent_indent=" " * 13)
