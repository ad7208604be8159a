"""People of the lab, learned by hand in the tab of a running WebUI: are they as good as in the lab?

    python benchmarks/webui_tab.py http://127.0.0.1:7860 v1.10.1

The WebUI has the extension and `--api`, and the miniature as its checkpoint. Chromium uploads each stranger's portrait,
ticks the consent, presses the button, and waits; the new word's pictures are drawn by the WebUI's own text-to-image.
Strangers, prompts, judge and scales are the lab's (`celebbasis lab`), and the same strangers are inserted by the lab's
method through the standalone host. Celebrities, who are 1 on the scale of likeness, are drawn by either host itself.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.webui_client import RunningWebUI
from celebbasis_ext.evaluate.baselines import METHODS
from celebbasis_ext.evaluate.lab import PROMPTS, SAMPLER_STEPS, Case, Lab, leaks, mean_and_error, measure
from celebbasis_ext.evaluate.sheets import SheetRow, contact_sheet, save_png
from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.types import Embedding, Floats, Image
from tests.browser.page import TabPage, open_browser

RESULTS = Path(__file__).resolve().parent / "results"
BUTTONS = {"train": "warm", "instant": "instant"}
"""Buttons of the tab, and the lab's methods that do the same."""
SHOWN = (0, 6, 8, 13, 17)
"""Which of the lab's prompts are on the sheet."""


class WebUIPictures(RunningWebUI):
    """The WebUI's text-to-image in place of a host, for the lab to draw with."""

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], embeddings: Sequence[Embedding] = (), steps: int = 20
    ) -> list[Image]:
        return [self.draw(prompt, seed, steps) for prompt, seed in zip(prompts, seeds, strict=True)]


def learn(tab: TabPage, case: Case, name: str, button: str, folder: Path) -> float:
    """One stranger, as somebody at the tab does it; returns seconds from the button to the scores."""
    save_png(case.portrait, folder / f"{name}.png")
    tab.open()
    tab.give([folder / f"{name}.png"], [name])
    tab.click("#celebbasis_consent input")
    started = time.monotonic()
    tab.start(button)
    assert tab.until_over() == "done", tab.text("#celebbasis_outcome")
    tab.until(lambda: tab.text("#celebbasis_outcome .cb-word code") == name, "the trigger word")
    return time.monotonic() - started


def by_hand(lab: Lab, tab: TabPage, button: str, scratch: Path) -> tuple[dict[str, Floats], list[list[Image]]]:
    """Everybody through the tab, judged by the lab; the people are deleted afterwards."""
    names = [f"{button}{i}-cb" for i in range(len(lab.cases))]
    webui = WebUIPictures(tab.url)
    seconds, images = [], []
    for i, (case, name) in enumerate(zip(lab.cases, names, strict=True)):
        seconds.append(learn(tab, case, name, button, scratch))
        images.append(lab.pictures(i, name))
        webui.ask("DELETE", f"/celebbasis/v1/people/{name}")
        print(f"{name}: {seconds[-1]:.1f} s", flush=True)
    seen = [lab.look_at(own) for own in images]
    impostor, known, obedience = lab.scale()
    likeness = [s.likeness(c.reference) for s, c in zip(seen, lab.cases, strict=True)]
    figures = {
        "likeness": (np.array(likeness) - impostor) / (known - impostor),
        "obedience": np.array([s.obeyed().mean() for s in seen]) / obedience,
        "leak": leaks(lab.cases, seen)["leak"],
        "seconds": np.array(seconds),
    }
    return {name: np.asarray(values, np.float32) for name, values in figures.items()}, images


def summary(tab: dict[str, Floats], lab: dict[str, Floats]) -> dict[str, Any]:
    """Means with standard errors of both, and of their differences person by person."""
    asked = ("likeness", "obedience", "leak")
    return {
        "tab": {name: mean_and_error(values) for name, values in tab.items()},
        "lab": {name: mean_and_error(lab[name]) for name in asked},
        "tab_minus_lab": {name: mean_and_error(tab[name] - lab[name]) for name in asked},
        "likeness_of_each": {
            where: [round(float(value), 3) for value in figures["likeness"]]
            for where, figures in {"tab": tab, "lab": lab}.items()
        },
    }


def compare(address: str, lab: Lab, scratch: Path) -> tuple[dict[str, Any], Image]:
    browser = open_browser()
    there = copy.copy(lab)  # without the scale, which is the host's own
    there.workshop = dataclasses.replace(lab.workshop, host=WebUIPictures(address))  # type: ignore[arg-type]
    found, rows = {}, []
    try:
        tab = TabPage(browser, address, in_webui=True)
        for button, method in BUTTONS.items():
            figures, images = by_hand(there, tab, button, scratch)
            (own,) = (m for name, m in measure(lab, METHODS[method]).items() if name in ("", "instant"))
            found[button] = summary(figures, own.figures)
            rows += _rows(lab, button, figures["likeness"], images)
    finally:
        browser.quit()
    return found, contact_sheet(rows, ["photo", *(PROMPTS[k].replace("{}", "…") for k in SHOWN)])


def _rows(lab: Lab, button: str, likeness: Floats, images: Sequence[Sequence[Image]]) -> list[SheetRow]:
    return [
        SheetRow(button, f"likeness {likeness[i]:.2f}", (case.portrait, *(images[i][k] for k in SHOWN)))
        for i, case in enumerate(lab.cases)
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("address", help="of the running WebUI")
    options.add_argument("version", help="of it, for the result's name")
    options.add_argument("--people", type=int, default=6)
    options.add_argument("--seed", type=int, default=3007, help="of the strangers")
    options.add_argument("--out", type=Path, help="folder (default: benchmarks/results)", default=RESULTS)
    options.add_argument("--sheet", type=Path, metavar="FILE", help="where to put the pictures as a PNG")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(chosen.people, chosen.seed, Path(folder))
        found, sheet = compare(chosen.address, lab, Path(folder))
    report = {
        "webui": chosen.version, "date": time.strftime("%Y-%m-%d"), "people": chosen.people, "seed": chosen.seed,
        "sampler_steps": SAMPLER_STEPS, "buttons": found,
    }  # fmt: skip
    print(json.dumps(report, indent=1))
    target = chosen.out / f"webui_tab_{chosen.version}.json"
    with replacing(target) as unfinished:
        unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if chosen.sheet is not None:
        save_png(sheet, chosen.sheet)


if __name__ == "__main__":
    main()
