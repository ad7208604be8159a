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
import time
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import strangers

RESULTS = Path(__file__).resolve().parent / "results"
NAME = "soak-cb"


class WebUI:
    """The API at an address, and the process behind it."""

    def __init__(self, address: str, pid: int) -> None:
        self.address, self.process = address.rstrip("/"), Path(f"/proc/{pid}")

    def ask(self, method: str, path: str, form: dict[str, Any] | None = None) -> Any:
        body = None if form is None else json.dumps(form).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=600) as reply:
            content = reply.read()
        return json.loads(content) if content else None

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

    def draw(self, seed: int) -> None:
        form = {
            "prompt": f"a photo of {NAME}", "seed": seed, "steps": 20, "width": 96, "height": 96, "cfg_scale": 4,
            "sampler_name": "DPM++ 2M",
        }  # fmt: skip
        assert self.ask("POST", "/sdapi/v1/txt2img", form)["images"]

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
            webui.draw(seed)
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
