"""Does a WebUI that learns and draws all day grow? Trainings and pictures in turns, through the API of a running one.

    python benchmarks/webui_soak.py http://127.0.0.1:7860 PID

The WebUI has the extension and `--api`, the miniature as its checkpoint, and runs on this computer under Linux: what
its process holds is read from /proc. Rounds of the same kind come first as a warm-up, since PyTorch and the WebUI keep
what they have once allocated.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
import time
from pathlib import Path

from PIL import Image as Pillow

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.webui_client import RunningWebUI
from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import strangers

RESULTS = Path(__file__).resolve().parent / "results"
NAME = "soak-cb"


class WebUI(RunningWebUI):
    """The API at an address, and the process behind it."""

    def __init__(self, address: str, pid: int) -> None:
        super().__init__(address)
        self.process = Path(f"/proc/{pid}")

    def learn(self, photo: str, steps: int) -> None:
        """One person, from photo to scores; replaces the one before."""
        form = {
            "people": [{"name": NAME, "photo": photo}], "consent": True, "overwrite": True,
            "config": {"steps": steps}, "preview": {"every": max(1, steps // 2)},
        }  # fmt: skip
        job = self.ask("POST", "/celebbasis/v1/train", form)
        while job["state"] in ("queued", "running"):
            time.sleep(0.5)
            job = self.ask("GET", f"/celebbasis/v1/jobs/{job['id']}")
        assert job["state"] == "done", job["error"]

    def holds(self) -> dict[str, int]:
        """What the process holds: resident memory in MiB, open handles, threads."""
        status = dict(line.split(":", 1) for line in (self.process / "status").read_text().splitlines())
        return {
            "memory_mib": int(status["VmRSS"].split()[0]) >> 10,
            "handles": len(list((self.process / "fd").iterdir())),
            "threads": int(status["Threads"]),
        }


def portrait() -> str:
    """A drawn stranger, PNG in base64."""
    file = io.BytesIO()
    Pillow.fromarray(draw(strangers(1, 4242)[0], Look(background="green", shirt="red"), 256).image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("address")
    options.add_argument("pid", type=int)
    options.add_argument("--warm-up", type=int, default=3, help="rounds that do not count (default: 3)")
    options.add_argument("--trainings", type=int, default=10)
    options.add_argument("--pictures", type=int, default=10, help="after each training (default: 10)")
    options.add_argument("--steps", type=int, default=10, help="of each training (default: 10)")
    options.add_argument("--out", type=Path, default=RESULTS / "webui_soak.json")
    chosen = options.parse_args()
    webui, photo = WebUI(chosen.address, chosen.pid), portrait()
    held = []
    for count in range(chosen.warm_up + chosen.trainings):
        webui.learn(photo, chosen.steps)
        for seed in range(chosen.pictures):
            webui.draw(f"a photo of {NAME}", seed)
        held.append(webui.holds())
        print(count + 1 - chosen.warm_up, held[-1], flush=True)
    webui.ask("DELETE", f"/celebbasis/v1/people/{NAME}")
    report = {
        "trainings": chosen.trainings, "pictures": chosen.trainings * chosen.pictures, "steps": chosen.steps,
        "after_warm_up": held[chosen.warm_up - 1], "at_the_end": held[-1],
        "memory_mib_after_each": [entry["memory_mib"] for entry in held],
    }  # fmt: skip
    print(json.dumps(report, indent=1))
    chosen.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
