"""The WebUI's own Train tab and Celeb Basis on the same checkpoint, portraits and number of noisy pictures.

Run it in the WebUI's Python, with diffusers beside it (see `host_step.py`), the miniature as the only checkpoint, and
CELEBBASIS_WEBUI_ROOT naming the WebUI. Strangers, prompts, judge and scales are the lab's (`celebbasis lab`); pictures
are drawn by the host that trained. Both ways of Celeb Basis are measured: through the WebUI, and through the standalone
host. Seconds are the processor's.

The Train tab is called as its button does, with its own learning rate and template, two vectors, and "person" to start
from. Its batch is 1 whatever is asked for, since there is one photo.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from celebbasis_ext.evaluate.baselines import METHODS, Inserted, Task, budget
from celebbasis_ext.evaluate.lab import PROMPTS, Lab, Measured, measure
from celebbasis_ext.evaluate.sheets import SheetRow, contact_sheet
from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.hosts.a1111 import A1111Host
from tests.contract import webui

RESULTS = Path(__file__).resolve().parent / "results"
FIGURES = ("likeness", "obedience", "leak", "norm", "seconds")
SHOWN = (0, 6, 8, 13, 17)
"""Which of the lab's prompts are on the sheet."""
WAYS = ("standalone", "webui", "train-tab")
LEARNING_RATE = "0.005"
TEMPLATE = "subject.txt"


class UntouchedHost(A1111Host):
    """The WebUI as its own Train tab finds it: nothing is frozen."""

    @contextmanager
    def training(self) -> Iterator[Any]:
        yield None


def celeb_basis(task: Task) -> Iterator[Inserted]:
    """The default recipe."""
    started = time.process_time()
    for person in METHODS["celeb_basis"](task):
        yield dataclasses.replace(person, seconds=time.process_time() - started)


def train_tab(task: Task) -> Iterator[Inserted]:
    """`train_embedding` of the WebUI."""
    import torch
    from modules import sd_hijack, shared
    from modules.textual_inversion import textual_inversion

    name, photo = "train-tab-cb", task.subject.photo
    Path(shared.cmd_opts.embeddings_dir).mkdir(parents=True, exist_ok=True)
    torch.manual_seed(task.seed)
    random.seed(task.seed)
    textual_inversion.create_embedding(name, 2, True, init_text="person")
    sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)
    textual_inversion.list_textual_inversion_templates()
    shared.opts.data["save_training_settings_to_txt"] = False
    shared.state.begin()
    with tempfile.TemporaryDirectory() as folder:
        Pillow.fromarray(photo).save(Path(folder) / "portrait.png")
        started, (height, width) = time.process_time(), photo.shape[:2]
        embedding, file = textual_inversion.train_embedding(
            "task(train)", name, LEARNING_RATE, 1, 1, folder, folder, width, height, False, budget(), "disabled", "0.1",
            False, 0, "once", False, 0, 0, TEMPLATE, False, False, "", "", 20, "Euler a", 7, -1, width, height,
        )  # fmt: skip
        seconds = time.process_time() - started
    shared.state.end()
    assert embedding.step == budget(), "the Train tab gave up; its log says why"
    vectors = embedding.vec.detach().float().cpu().numpy().copy()
    Path(file).unlink()
    sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)
    yield Inserted("", {"clip_l": vectors}, seconds)


def compare(methods: Sequence[str], people: int, seed: int, folder: Path) -> tuple[dict[str, Measured], Lab, str]:
    lab = Lab(people, seed, folder)
    lab.scale()  # of the standalone host, for all
    version = webui.start_real()
    host = webui.open_host()
    ways: dict[str, tuple[Any, Any]] = {
        "standalone": (lab.workshop.host, celeb_basis),
        "webui": (host, celeb_basis),
        "train-tab": (UntouchedHost(host.loaded), train_tab),
    }
    found = {}
    for name in methods:
        own, method = ways[name]
        there = copy.copy(lab)  # with the scale that is known by now
        there.workshop = dataclasses.replace(lab.workshop, host=own)
        found[name] = measure(there, method)[""]
    return found, lab, version


def report_of(found: dict[str, Measured], lab: Lab, version: str) -> dict[str, Any]:
    return {
        "webui": version, "python": sys.version.split()[0], "people": len(lab.cases), "seed": lab.seed,
        "noisy_pictures": budget(),
        "methods": {
            name: {"mean": {f: measured.summary()[f] for f in FIGURES},
                   "each": {f: [round(float(v), 3) for v in measured.figures[f]] for f in FIGURES}}
            for name, measured in found.items()
        },
    }  # fmt: skip


def sheet(found: dict[str, Measured], lab: Lab) -> Any:
    rows = [
        SheetRow(name, f"likeness {measured.figures['likeness'][i]:.2f}",
                 (case.portrait, *(measured.images[i][k] for k in SHOWN)))
        for i, case in enumerate(lab.cases) for name, measured in found.items()
    ]  # fmt: skip
    return contact_sheet(rows, ["photo", *(PROMPTS[k].replace("{}", "…") for k in SHOWN)])


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("methods", nargs="*", default=WAYS, metavar="METHOD", help=f"of {', '.join(WAYS)}")
    options.add_argument("--people", type=int, default=3)
    options.add_argument("--seed", type=int, default=3001, help="of the strangers (default: the lab's in the README)")
    options.add_argument("--out", type=Path, default=RESULTS / "webui_train_tab.json")
    chosen = options.parse_args()
    out = chosen.out.resolve()  # the WebUI changes the working folder
    with tempfile.TemporaryDirectory() as folder:
        found, lab, version = compare(chosen.methods, chosen.people, chosen.seed, Path(folder))
    report = report_of(found, lab, version)
    print(json.dumps(report, indent=1))
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as unfinished:
        unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    Pillow.fromarray(sheet(found, lab)).save(out.with_suffix(".png"))


if __name__ == "__main__":
    main()
