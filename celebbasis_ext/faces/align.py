"""Five landmarks -> an upright face of 112 x 112 pixels, where every recogniser of the ArcFace kind expects it."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from celebbasis_ext.errors import NoFaceFound
from celebbasis_ext.types import Floats, Image

CROP: Final = 112
"""Pixels on each side of an aligned crop."""

TEMPLATE: Final[npt.NDArray[np.float64]] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""[5, 2] where the landmarks lie in the crop: the points that ArcFace was trained with."""


def align_matrix(landmarks: Floats) -> npt.NDArray[np.float64]:
    """The similarity (turn, scale, shift; no mirror) that takes landmarks closest to the template.

    It is Umeyama's least-squares solution. In the plane a turn with a scale is one complex number, so the
    closed form is a quotient and needs no singular values.

    Args:
        landmarks: [5, 2] x and y in pixels, in the order that `Face` names.

    Returns:
        [2, 3] for `cv2.warpAffine`: photo pixels -> crop pixels. A mask of the photo is warped with the same.

    Raises:
        NoFaceFound: The landmarks lie all on one point, or are no numbers.
    """
    source = np.asarray(landmarks, dtype=np.float64).reshape(5, 2) @ np.array([1, 1j])
    target = TEMPLATE @ np.array([1, 1j])
    spread = source - source.mean()
    size = float(np.sum(np.abs(spread) ** 2))
    if not np.isfinite(size) or size == 0.0:
        raise NoFaceFound(
            "The face's landmarks lie all on one point or are no numbers, expected five points.",
            "Choose another photo.",
        )
    turn = complex(np.sum(np.conj(spread) * target) / size)
    shift = complex(target.mean() - turn * source.mean())
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def align(image: Image, landmarks: Floats) -> Image:
    """Cut a face out of its photo and turn it upright; equal to insightface's `norm_crop`.

    Args:
        image: [h, w, 3] uint8.
        landmarks: [5, 2] in pixels of `image`.

    Returns:
        [112, 112, 3] uint8; black where the crop reaches beyond the photo.

    Raises:
        NoFaceFound: The landmarks lie all on one point, or are no numbers.
    """
    import cv2

    crop = cv2.warpAffine(image, align_matrix(landmarks), (CROP, CROP), borderValue=0.0)
    return np.asarray(crop, dtype=np.uint8)
