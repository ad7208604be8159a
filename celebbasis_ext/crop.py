"""photo + face -> the square that is trained on, and the mask of the head in it."""

from __future__ import annotations

import numpy as np

from celebbasis_ext.types import Face, Floats, Image

HEAD_AND_SHOULDERS = 2.2
"""Side of the square in heights of the face's box."""


def square_around(image: Image, face: Face, size: int) -> tuple[Image, Face]:
    """Cuts a square with head and shoulders out of a photo and scales it.

    The square stays inside the photo, so that no border has to be made up; a close-up stays a close-up.

    Returns:
        [size, size, 3], and the face in its coordinates.
    """
    import cv2

    height, width = image.shape[:2]
    left, top, right, bottom = (float(v) for v in face.box)
    side = min(height, width, max(HEAD_AND_SHOULDERS * (bottom - top), 1.5 * (right - left)))
    x = np.clip((left + right) / 2 - side / 2, 0, width - side)
    y = np.clip((top + bottom) / 2 - 0.5 * side, 0, height - side)
    x0, y0, pixels = round(float(x)), round(float(y)), round(float(side))
    cut = image[y0 : y0 + pixels, x0 : x0 + pixels]
    method = cv2.INTER_AREA if pixels > size else cv2.INTER_CUBIC
    scale = size / pixels
    origin = np.array([x0, y0], np.float32)
    moved = Face(
        ((face.box - np.tile(origin, 2)) * scale).astype(np.float32),
        ((face.landmarks - origin) * scale).astype(np.float32),
        face.score,
    )
    scaled = cut if pixels == size else cv2.resize(cut, (size, size), interpolation=method)
    return np.ascontiguousarray(scaled, dtype=np.uint8), moved


def head_mask(face: Face, size: int, softness: float = 0.06) -> Floats:
    """[size, size] in [0, 1]: an ellipse over face, hair and ears, softly bounded; `softness` in face heights."""
    left, top, right, bottom = (float(v) for v in face.box)
    width, height = right - left, bottom - top
    y, x = np.mgrid[:size, :size].astype(np.float32) + 0.5
    dx = (x - (left + right) / 2) / (0.72 * width)
    dy = (y - (top + 0.45 * height)) / (0.68 * height)
    outside = (np.sqrt(dx**2 + dy**2) - 1) / (2 * softness)
    return np.asarray(np.clip(0.5 - outside, 0, 1), dtype=np.float32)
