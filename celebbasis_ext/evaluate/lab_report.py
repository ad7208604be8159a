"""Runs the lab and says what it found: a table, the JSON, and a page with plots and contact sheets."""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from celebbasis_ext.evaluate.baselines import METHODS
from celebbasis_ext.evaluate.lab import PLAIN, PROMPTS, Lab, Measured, measure
from celebbasis_ext.files.atomic import replacing


@contextmanager
def _precision(name: str) -> Iterator[None]:
    """bf16 halves the time on processors that multiply it natively; fp32 is the default everywhere else."""
    import torch

    with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16", cache_enabled=False):
        yield


def run_lab(
    people: int, seed: int, folder: Path, json_path: Path | None = None, methods: Sequence[str] | None = None,
    precision: str = "fp32", reconstruction: bool = False, pairs: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Measures all methods, prints them, writes the page and the JSON; returns the report.

    Args:
        people: How many strangers.
        seed: Which strangers.
        folder: For page and sheets.
        json_path: For the figures.
        methods: Of `METHODS`; all where none is given.
        precision: "fp32" or "bf16", for training and generating alike.
        reconstruction: Redraw everybody in their photo's scene too.
        pairs: Draw people two by two, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lab = Lab(people, seed, folder)
    with _precision(precision):
        measured = _measure_all(lab, methods or tuple(METHODS))
        report = report_of(lab, measured) | {"precision": precision}
        if reconstruction:
            report["reconstruction"] = _reconstruct_all(lab, measured, folder)
        if pairs:
            report["pairs"] = _pair_all(lab, measured, folder)
    _print(report)
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(json_path) as unfinished:
            unfinished.write_text(json.dumps(report, indent=1), encoding="utf-8")
    _write_page(lab, measured, report, folder)
    return report


def _measure_all(lab: Lab, methods: Sequence[str]) -> dict[str, Measured]:
    measured: dict[str, Measured] = {}
    for name in methods:
        for variant, result in measure(lab, METHODS[name], _printer(name)).items():
            measured[variant or name] = result
    return measured


def _reconstruct_all(lab: Lab, measured: Mapping[str, Measured], folder: Path) -> dict[str, Any]:
    """{method: {"scene": , "plain": }}, with a contact sheet of each: the portrait, and the pictures of its scene."""
    from celebbasis_ext.evaluate.reconstruction import PICTURES, reconstruct
    from celebbasis_ext.evaluate.sheets import SheetRow, contact_sheet, save_png

    found = {}
    for name, result in measured.items():
        redrawn = reconstruct(lab, result.inserted)
        found[name] = {"scene": redrawn.scene.summary(), "plain": redrawn.plain.summary()}
        rows = [
            SheetRow(case.subject.description[0] if case.subject.description else "", "", (case.portrait, *own))
            for case, own in list(zip(lab.cases, redrawn.images, strict=True))[:8]
        ]
        columns = ["portrait", *[""] * PICTURES]
        path = folder / f"reconstruction-{name.replace(' ', '-')}.png"
        save_png(contact_sheet(rows, columns, f"{name}: the portrait's own scene", cell=96), path)
        print(name, {kind: {k: v["mean"] for k, v in own.items()} for kind, own in found[name].items()})
    return found


def _pair_all(lab: Lab, measured: Mapping[str, Measured], folder: Path) -> dict[str, Any]:
    """{method: rates}, and those of celebrities by name, with a contact sheet of each method."""
    from celebbasis_ext.evaluate.pairs import PICTURES, celebrities_in_pairs, pairs_in_the_lab
    from celebbasis_ext.evaluate.sheets import SheetRow, contact_sheet, save_png

    found: dict[str, Any] = {"celebrities by name": celebrities_in_pairs(lab)}
    for name, result in measured.items():
        found[name], pictures = pairs_in_the_lab(lab, result.inserted)
        portraits = [(lab.cases[2 * i].portrait, lab.cases[2 * i + 1].portrait) for i in range(len(pictures))]
        rows = [SheetRow("", "", (*two, *own)) for two, own in list(zip(portraits, pictures, strict=True))[:8]]
        columns = ["left", "right", *[""] * PICTURES]
        save_png(
            contact_sheet(rows, columns, f"{name}: two people", cell=96), folder / f"pairs-{name.replace(' ', '-')}.png"
        )
    print("both found and distinct:", {name: rate["distinct"] for name, rate in found.items()})
    return found


def _printer(name: str) -> Callable[[int, int], None]:
    started = time.perf_counter()

    def show(done: int, total: int) -> None:
        left = (time.perf_counter() - started) / done * (total - done)
        print(f"{name}: {done}/{total} people inserted, {left:.0f} s left", flush=True)

    return show


def report_of(lab: Lab, measured: Mapping[str, Measured]) -> dict[str, Any]:
    """The lab's JSON. Textual Inversion stands for its best variant; all variants stand under "others"."""
    impostor, known, obedience = lab.scale()
    summaries = {name: result.summary() for name, result in measured.items()}
    inversions = [name for name in summaries if name.startswith("textual_inversion")]
    report: dict[str, Any] = {
        "settings": _settings(lab),
        "reference": {
            "celebrities": {"likeness_raw": round(known, 4), "obedience_raw": round(obedience, 4)},
            "impostors": {"likeness_raw": round(impostor, 4)},
        },
        **{name: summary for name, summary in summaries.items() if name not in inversions},
    }
    if inversions:
        best = max(inversions, key=lambda name: _merit(summaries[name]))
        report["textual_inversion"] = summaries[best]
        report["others"] = {name: summaries[name] for name in inversions}
        report["settings"]["textual_inversion_is"] = best
    report["sureness"] = {name: sure for name, result in measured.items() if (sure := _sureness(result)) is not None}
    report["by_person"] = {name: _by_person(result) for name, result in measured.items()}
    return report


def _sureness(result: Measured) -> float | None:
    """Rank correlation over people between the likeness that was foretold and the one that was drawn."""
    from scipy.stats import spearmanr

    if "expected" not in result.figures or len(result.images) < 3:
        return None
    return round(float(spearmanr(result.figures["expected"], result.figures["likeness"]).statistic), 4)


def _merit(summary: Mapping[str, Mapping[str, float]]) -> float:
    return summary["likeness"]["mean"] + summary["obedience"]["mean"] - summary["leak"]["mean"]


def _by_person(result: Measured) -> list[dict[str, float]]:
    names = [name for name in ("likeness", "obedience", "leak", "expected") if name in result.figures]
    return [{n: round(float(result.figures[n][i]), 4) for n in names} for i in range(len(result.images))]


def _settings(lab: Lab) -> dict[str, Any]:
    packages = ("torch", "diffusers", "transformers", "numpy", "scikit-learn")
    return {
        "people": len(lab.cases),
        "seed": lab.seed,
        "checkpoint": dataclasses.asdict(lab.workshop.host.checkpoint),
        "prompts": list(PROMPTS),
        "date": datetime.date.today().isoformat(),
        "versions": {name: version(name) for name in packages} | {"python": platform.python_version()},
    }


def _print(report: Mapping[str, Any]) -> None:
    print(f"\n{'':32}" + "".join(f"{name:>18}" for name in ("likeness", "obedience", "leak", "norm", "seconds")))
    rows = {k: v for k, v in report.items() if isinstance(v, dict) and "likeness" in v} | report.get("others", {})
    for name, row in rows.items():
        cells = (
            f"{row[n]['mean']:.3f} ± {row[n]['se']:.3f}" for n in ("likeness", "obedience", "leak", "norm", "seconds")
        )
        print(f"{name:32}" + "".join(f"{cell:>18}" for cell in cells))


def _write_page(lab: Lab, measured: Mapping[str, Measured], report: Mapping[str, Any], folder: Path) -> None:
    from celebbasis_ext.evaluate.page import write_page
    from celebbasis_ext.evaluate.sheets import SheetRow, contact_sheet, save_png

    columns = ["portrait", *(prompt.replace("{}", "…") for prompt in PROMPTS[len(PLAIN) - 1 :])]
    sheets = []
    for name, result in {**measured, "celebrities by name": None}.items():
        images = result.images if result else lab.known[2]
        rows = [
            SheetRow("", "", (case.portrait if result else None, *own[len(PLAIN) - 1 :]))
            for case, own in list(zip(lab.cases, images, strict=True))[:8]
        ]
        path = folder / f"sheet-{name.replace(' ', '-').replace('/', '-')}.png"
        save_png(contact_sheet(rows, columns, name, cell=96), path)
        sheets.append((name, path))
    print("Page:", write_page(report, sheets, folder))
