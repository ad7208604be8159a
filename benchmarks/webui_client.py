"""The API of a running WebUI, for the benchmarks that ask one."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
from typing import Any

import numpy as np
from PIL import Image as Pillow

from celebbasis_ext.types import Image


class RunningWebUI:
    """The API at an address, such as http://127.0.0.1:7860."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def ask(self, method: str, path: str, form: dict[str, Any] | None = None) -> Any:
        """What it answers, read; None where it answers nothing. Raises OSError where it refuses."""
        body = None if form is None else json.dumps(form).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=600) as reply:
            content = reply.read()
        return json.loads(content) if content else None

    def draw(self, prompt: str, seed: int, steps: int = 20) -> Image:
        """One picture of the miniature's size, [96, 96, 3], by text-to-image."""
        form = {
            "prompt": prompt, "seed": seed, "steps": steps, "width": 96, "height": 96, "cfg_scale": 4,
            "sampler_name": "DPM++ 2M",
        }  # fmt: skip
        (picture,) = self.ask("POST", "/sdapi/v1/txt2img", form)["images"]
        return np.asarray(Pillow.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"))
