"""Generated pictures as PNG files that say how they were made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.types import Image


def save_picture(image: Image, path: Path, text: Mapping[str, str]) -> Path:
    """Writes a picture [h, w, 3] with text in its header; raises CannotWrite."""
    from PIL import Image as Pillow
    from PIL.PngImagePlugin import PngInfo

    header = PngInfo()
    for key, value in text.items():
        header.add_itxt(key, value)
    with replacing(path) as unfinished:
        Pillow.fromarray(image).save(unfinished, format="PNG", pnginfo=header)
    return path


def next_number(folder: Path) -> int:
    """One more than the highest number that begins a picture's name, so that no picture is ever written over."""
    names = [path.name for path in folder.glob("*.png")] if folder.exists() else []
    return max((int(found.group(1)) for name in names if (found := re.match(r"(\d{1,9})-", name))), default=0) + 1
