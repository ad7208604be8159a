"""Renders the first pictures of the world once, into one array that every training reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from celebbasis_ext.miniature.drawing import SIZE
from celebbasis_ext.miniature.people import celebrities
from celebbasis_ext.miniature.world import scene
from celebbasis_ext.types import Image


def render_album(folder: Path, count: int, start: int = 0) -> Path:
    """Writes `album-START.npy`, [count, 96, 96, 3] uint8, unless it is there already."""
    path = folder / f"album-{start}.npy"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    pictures = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=(count, SIZE, SIZE, 3))
    known = celebrities()
    for i in range(count):
        pictures[i] = scene(start + i, known).drawn().image
    pictures.flush()
    unfinished.replace(path)
    return path


def open_album(path: Path) -> Image:
    """The album's pictures, read from disk as they are needed."""
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
