"""Drawn portraits of strangers with their truth, for the networks that look at pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from celebbasis_ext.miniature.drawing import BACKGROUNDS, EXPRESSIONS, HATS, SHIRTS, STYLES, Look, draw, random_look
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.types import Floats, Image

# What can be read from a picture: field of `Look` -> its values.
READABLE: dict[str, tuple[object, ...]] = {
    "background": BACKGROUNDS, "hat": HATS, "shirt": SHIRTS, "expression": EXPRESSIONS,
    "glasses": (False, True), "style": STYLES,
}  # fmt: skip


@dataclass(frozen=True)
class Portraits:
    """2n portraits of n strangers; portraits i and n + i show the same person.

    Attributes:
        images: [2n, 96, 96, 3] uint8.
        identities: [2n, 16] in [-1, 1].
        classes: [2n, 6] int64, in the order of `READABLE`.
        boxes: [2n, 4] in pixels.
        landmarks: [2n, 5, 2] in pixels.
    """

    images: Image
    identities: Floats
    classes: np.ndarray
    boxes: Floats
    landmarks: Floats


def classes_of(look: Look) -> list[int]:
    return [values.index(getattr(look, field)) for field, values in READABLE.items()]


def draw_portraits(people: int, seed: int) -> Portraits:
    """Two looks each of strangers whom only this seed makes."""
    rng = np.random.default_rng((5, seed))
    drawings = [draw(person, random_look(rng)) for person in strangers(people, 900_000 + seed) * 2]
    return Portraits(
        images=np.stack([d.image for d in drawings]),
        identities=np.stack([d.people[0].identity for d in drawings]),
        classes=np.array([classes_of(d.look) for d in drawings]),
        boxes=np.stack([d.faces[0].box for d in drawings]),
        landmarks=np.stack([d.faces[0].landmarks for d in drawings]),
    )


def draw_stranger(seed: int) -> Image:
    """Somebody whom the miniature has never seen, as people take photos: any background, clothes and mood."""
    look = random_look(np.random.default_rng((7, seed)))
    return draw(strangers(1, seed)[0], look).image if look.style == "photo" else draw_stranger(seed + 1000)


def load_portraits(folder: Path, people: int, seed: int) -> Portraits:
    """As `draw_portraits`, kept on disk."""
    arrays = _kept(folder / f"portraits-{seed}-{people}.npz", lambda: vars(draw_portraits(people, seed)))
    return Portraits(**arrays)


def load_restored(
    folder: Path, portraits: Portraits, count: int, seed: int, restore: Callable[[Image], Image]
) -> Image:
    """[count, 96, 96, 3] the first portraits as they come back from the autoencoder, kept on disk."""

    def restored() -> dict[str, Image]:
        parts = np.array_split(portraits.images[:count], max(1, count // 50))
        return {"images": np.concatenate([restore(part) for part in parts])}

    return _kept(folder / f"restored-{seed}-{count}.npz", restored)["images"]


def _kept(path: Path, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if not path.exists():
        unfinished = path.with_suffix(".part.npz")
        np.savez(unfinished, **make())  # type: ignore[arg-type]  # numpy's stub takes any name for allow_pickle
        unfinished.replace(path)
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def worn(rng: np.random.Generator, image: Image) -> Image:
    """What decoders, cameras and scalers do to a picture: blur, noise, another size, another exposure."""
    out = image.astype(np.float32)
    side = image.shape[0]
    if rng.random() < 0.5:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.3, 1.2)) * side / 96), np.float32)
    if rng.random() < 0.3:
        small = max(24, int(side * rng.uniform(0.4, 0.9)))
        shrunk = cv2.resize(out, (small, small), interpolation=cv2.INTER_AREA)
        out = np.asarray(cv2.resize(shrunk, (side, side)), np.float32)
    out = out * rng.uniform(0.9, 1.1) + rng.uniform(-10, 10)
    if rng.random() < 0.5:
        out += rng.normal(0, rng.uniform(0, 8), out.shape)
    return np.clip(out, 0, 255).astype(np.uint8)
