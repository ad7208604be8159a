"""Is a step through the WebUI as fast as through the standalone host, and do both learn the same person?

Both in one process and one run, in turns, on the miniature, with the default recipe, in processor time: each step runs
in one thread, and other programs do not count. Run it in the WebUI's Python, with diffusers beside it
(`pip install --no-deps --target FOLDER diffusers==0.31.0`, then FOLDER on PYTHONPATH), and with CELEBBASIS_WEBUI_ROOT
naming the WebUI. Without that, the tests' stand-in of the WebUI takes its place.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from step_time import LOOK, RESULTS, WARM_UP, figures, machine, our_steps

from celebbasis_ext.basis import word_vectors
from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.jobs import Workshop, basis_of
from celebbasis_ext.miniature.drawing import draw
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.miniature.workshop import open_workshop
from celebbasis_ext.types import StepDone
from tests.contract import webui
from tests.contract.webui import workshop_around


def workshops(folder: Path) -> tuple[dict[str, Workshop], str]:
    """Both hosts with the same faces and names, and what the WebUI is."""
    standalone = open_workshop(folder)
    if webui.real_is_here():
        version = webui.start_real()
    else:
        webui.start_stand_in(folder)
        version = "the tests' stand-in"
    return {"standalone": standalone, "webui": workshop_around(webui.open_host())}, version


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    photo = draw(strangers(1, 4711)[0], LOOK).image
    both, version = workshops(folder)
    total = WARM_UP + options.rounds * options.steps
    last: dict[str, StepDone] = {}

    def step_of(name: str, workshop: Workshop) -> Callable[[], object]:
        running = our_steps(workshop, photo, options.batch, total, folder / name)

        def step() -> None:
            last[name] = next(running)  # type: ignore[assignment]

        return step

    steps = {name: step_of(name, workshop) for name, workshop in both.items()}
    times = measure(steps, options)
    return report_of(times, last, both["standalone"], folder, version)


def measure(steps: dict[str, Callable[[], object]], options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """{host: [rounds][steps] milliseconds of the processor}; who comes first changes from round to round."""
    times: dict[str, list[list[float]]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(WARM_UP):
            step()
    for done in range(options.rounds):
        for name in list(steps)[:: 1 if done % 2 == 0 else -1]:
            times[name].append([processor_milliseconds(steps[name]) for _ in range(options.steps)])
    return times


def processor_milliseconds(step: Callable[[], object]) -> float:
    started = time.process_time()
    step()
    return (time.process_time() - started) * 1000


def report_of(
    times: dict[str, list[list[float]]], last: dict[str, StepDone], workshop: Workshop, folder: Path, version: str
) -> dict[str, Any]:
    medians = {name: [statistics.median(own) for own in rounds] for name, rounds in times.items()}
    ratios = [slow / fast for slow, fast in zip(medians["webui"], medians["standalone"], strict=True)]
    basis = basis_of(workshop, folder / "standalone")
    vectors = [word_vectors(basis, last[name].coefficients[0])["clip_l"].ravel() for name in ("standalone", "webui")]
    people = [vector - basis.mean["clip_l"].ravel() for vector in vectors]
    return {
        "webui": version,
        **machine("cpu"),
        "processor_milliseconds": {
            name: figures([ms for own in rounds for ms in own]) for name, rounds in times.items()
        },
        "webui_over_standalone": figures(ratios),
        "steps": last["webui"].step,
        "cosine_of_word_vectors": cosine(*vectors),
        "cosine_of_differences_from_the_mean": cosine(*people),
    }


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    return round(float(left @ right / np.linalg.norm(left) / np.linalg.norm(right)), 6)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=6, help="of both, in turns (default: 6)")
    options.add_argument("--steps", type=int, default=10, help="in a round (default: 10)")
    options.add_argument("--batch", type=int, default=4, help="noisy pictures per step (default: 4)")
    options.add_argument("--out", type=Path, default=RESULTS / "host_step.json")
    chosen = options.parse_args()
    out = chosen.out.resolve()  # the WebUI changes the working folder
    with tempfile.TemporaryDirectory() as folder:
        report = compare(chosen, Path(folder))
    print(json.dumps(report, indent=1))
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as unfinished:
        unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
