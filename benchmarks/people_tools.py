"""Do mixes lie between their parents, and are samples people? Measured in the miniature, by its judge.

Writes `results/people-tools.json` and two contact sheets beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from celebbasis_ext import blend
from celebbasis_ext.evaluate.people import PROMPTS, Crowd, MixCurve, Portrayed, crowd, portray, walk
from celebbasis_ext.evaluate.sheets import SheetRow, contact_sheet, save_png
from celebbasis_ext.files.atomic import write_whole
from celebbasis_ext.jobs import basis_of
from celebbasis_ext.miniature.workshop import Assets, open_judge, open_workshop
from celebbasis_ext.types import CelebBasis

RESULTS = Path(__file__).resolve().parent / "results"
WEIGHTS = tuple(np.linspace(0, 1, 5).tolist())


def pairs_of(basis: CelebBasis, count: int, seed: int) -> list[tuple[str, np.ndarray]]:
    """Half of them two celebrities, half a celebrity and somebody who does not exist."""
    rng = np.random.default_rng((23, seed))
    pairs = []
    for i in range(count):
        first, second = rng.choice(len(basis.names), 2, replace=False)
        other = basis.coefficients[second] if i % 2 == 0 else blend.sample(basis, int(second))
        name = basis.names[second] if i % 2 == 0 else f"sample:{second}"
        pairs.append((f"{basis.names[first]} to {name}", np.stack([basis.coefficients[first], other])))
    return pairs


def summary(curves: list[MixCurve]) -> dict[str, Any]:
    position = np.array([curve.position for curve in curves])
    return {
        "weights": [round(w, 3) for w in curves[0].weights],
        "position": position.mean(axis=0).round(3).tolist(),
        "position_se": (position.std(axis=0, ddof=1) / np.sqrt(len(curves))).round(3).tolist(),
        "aside": np.mean([curve.aside for curve in curves], axis=0).round(3).tolist(),
        "monotone": float(np.mean([curve.smallest_step > 0 for curve in curves])),
        "between_at_half": float(np.mean([0 < curve.position[len(WEIGHTS) // 2] < 1 for curve in curves])),
    }


def rounded(crowd_: Crowd) -> dict[str, float]:
    return {key: round(value, 3) for key, value in dataclasses.asdict(crowd_).items()}


def main() -> None:
    options = _options()
    judge = open_judge(Assets())
    with tempfile.TemporaryDirectory() as folder:
        workshop = open_workshop(Path(folder))
    basis = basis_of(workshop)
    pairs = pairs_of(basis, options.pairs, options.seed)
    curves = {
        route: [
            walk(workshop, judge, basis, pair, WEIGHTS, options.seed + i, route) for i, (_, pair) in enumerate(pairs)
        ]
        for route in ("sphere", "straight")
    }
    samples = [portray(workshop, judge, basis, blend.sample(basis, s), 50) for s in range(options.samples)]
    chosen = np.random.default_rng((29, options.seed)).choice(len(basis.names), options.samples, replace=False)
    famous = [portray(workshop, judge, basis, basis.coefficients[i], 50) for i in chosen]
    report = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "pairs": options.pairs, "samples": options.samples, "seed": options.seed, "prompts": list(PROMPTS),
        "mix": {route: summary(walked) for route, walked in curves.items()},
        "sample": rounded(crowd(samples)), "celebrities": rounded(crowd(famous)),
    }  # fmt: skip
    text = json.dumps(report, indent=1)
    write_whole(options.out / "people-tools.json", text.encode())
    save_png(_mix_sheet([name for name, _ in pairs], curves["sphere"]), options.out / "people-tools-mix.png")
    save_png(_sample_sheet(samples), options.out / "people-tools-samples.png")
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def _mix_sheet(names: list[str], curves: list[MixCurve]) -> np.ndarray:
    rows = [
        SheetRow(name, f"smallest step {curve.smallest_step:+.2f}", tuple(pictures[0] for pictures in curve.pictures))
        for name, curve in zip(names, curves, strict=True)
    ]
    columns = [f"{w:.2f}" for w in curves[0].weights]
    return contact_sheet(rows, columns, "Mixing on the sphere: weight of the second person")


def _sample_sheet(people: list[Portrayed]) -> np.ndarray:
    rows = [SheetRow(f"sample:{seed}", "", person.pictures) for seed, person in enumerate(people)]
    return contact_sheet(rows, [prompt.replace("{}", "…") for prompt in PROMPTS], "People who do not exist")


if __name__ == "__main__":
    main()
