"""How good a photo of a face is: measured numbers, and warnings that say what to change.

Nothing is refused here. Every limit is where the recogniser begins to lose the person, or where the photo gives clearly
less than the checkpoint can draw. `benchmarks/photo_quality.py` measures it; the figures that are named here stand in
`benchmarks/results/photo_quality.json`, cosines being those of a worsened portrait and the same one untouched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from celebbasis_ext.faces.align import CROP
from celebbasis_ext.types import AlignedFace, Floats, PhotoWarning

DARK: Final = 40.0
"""Mean luma; the mean cosine is 0.93 at 54 and 0.87 at 27."""

OVEREXPOSED: Final = 0.12
"""Share of white; the mean cosine is 0.93 at 0.07 and 0.85 at 0.20."""

BLURRED: Final = 0.03
"""Sharpness; the mean cosine is 0.93 at 0.041 and 0.85 at 0.017."""

SMALL: Final = 0.5
"""Share of the height that a face has in a training square; at one half, that square shows a third of the detail."""

PROFILE: Final = 35.0
"""Degrees; the mean cosine is below 0.75 from there on, and half of the face is hardly seen."""

TILTED: Final = 20.0
"""Degrees, as measured; heads that are tilted more than 30 measure 20 to 25, then the landmarks break."""

FACE_IN_SQUARE: Final = 1 / 2.2
"""Height of the face's box in a training square that shows head and shoulders."""

_WHITE: Final = 250
_NOSE_DEPTH: Final = 0.45
"""How far the tip of the nose stands before the eyes, in distances between the eyes."""

_INNER: Final = (slice(32, 100), slice(24, 88))
"""Rows and columns of an aligned crop that show face and nothing else."""


@dataclass(frozen=True)
class Quality:
    """What is measured of a face in a photo.

    Attributes:
        brightness: Mean luma of the face, in [0, 255].
        overexposed: Share of the face, in [0, 1], that is as good as white.
        sharpness: Variance of the luma's Laplacian in units of the luma's own variance, at the smallest of three
            sizes: an aligned crop's, the photo's own, the training square's. So neither contrast nor the size of the
            photo count, nor blur that the checkpoint cannot show.
        size: Height of the face's box in pixels.
        yaw: Degrees by which the head is turned, towards the picture's right where positive; an estimate.
        tilt: Degrees by which the line of the eyes is turned, clockwise where positive.
        score: The detector's confidence in [0, 1].
    """

    brightness: float
    overexposed: float
    sharpness: float
    size: float
    yaw: float
    tilt: float
    score: float


def measure(found: AlignedFace, resolution: int) -> Quality:
    """Measure a face.

    Args:
        found: The face.
        resolution: Of the checkpoint, in pixels.
    """
    luma = (found.crop.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.float32)
    inner = luma[_INNER]
    size = float(found.face.box[3] - found.face.box[1])
    return Quality(
        brightness=float(inner.mean()),
        overexposed=float((inner >= _WHITE).mean()),
        sharpness=_sharpness(luma, min(CROP, size, resolution * FACE_IN_SQUARE)),
        size=size,
        yaw=_yaw(found.face.landmarks),
        tilt=_tilt(found.face.landmarks),
        score=found.face.score,
    )


def _sharpness(luma: Floats, side: float) -> float:
    """See `Quality`.

    Args:
        luma: [112, 112] of an aligned crop.
        side: Pixels to which it is shrunk before.
    """
    import cv2

    pixels = max(round(side), 8)
    shrunk = luma if pixels == CROP else cv2.resize(luma, (pixels, pixels), interpolation=cv2.INTER_AREA)
    rows, columns = (slice(s.start * pixels // CROP, s.stop * pixels // CROP) for s in _INNER)
    edges = cv2.Laplacian(shrunk, cv2.CV_32F)[rows, columns]
    return float(edges.var() / max(float(shrunk[rows, columns].var()), 1.0))


def _yaw(landmarks: Floats) -> float:
    """The nose stands before the eyes, so that a turn moves it away from their middle; seen from far away.

    Args:
        landmarks: [5, 2] as in `Face`.
    """
    eye, other, nose = landmarks[:3].astype(np.float64)
    across = other - eye
    aside = float((nose - (eye + other) / 2) @ across) / max(float(across @ across), 1e-9)
    return float(np.degrees(np.arctan(aside / _NOSE_DEPTH)))


def _tilt(landmarks: Floats) -> float:
    x, y = (landmarks[1] - landmarks[0]).tolist()
    return float(np.degrees(np.arctan2(y, x)))


def overall(quality: Quality, resolution: int, doubtful: float) -> float:
    """One figure for a face, in [0, 1]: what weighs a picture among several of the same person.

    min(1, score / doubtful) * cos(yaw), times one factor for each limit that a warning would name: 1 as long as the
    limit is kept, and where it is missed the ratio by which it is, so that half the sharpness that is wanted gives 0.5.

    Args:
        quality: As measured.
        resolution: Of the checkpoint, in pixels.
        doubtful: The detector's confidence below which something may be no face.
    """
    kept = (
        quality.score / doubtful,
        quality.brightness / DARK,
        OVEREXPOSED / max(quality.overexposed, 1e-9),
        quality.sharpness / BLURRED,
        quality.size / (SMALL * FACE_IN_SQUARE * resolution),
        TILTED / max(abs(quality.tilt), 1e-9),
    )
    facing = max(float(np.cos(np.radians(quality.yaw))), 0.0)
    return float(np.clip(np.prod(np.minimum(kept, 1.0)) * facing, 0.0, 1.0))


def photo_warnings(quality: Quality, resolution: int, doubtful: float) -> tuple[PhotoWarning, ...]:
    """What is wrong with a photo, and what to do about it; nothing where it is good.

    Args:
        quality: As measured.
        resolution: Of the checkpoint, in pixels.
        doubtful: The detector's confidence below which something may be no face, or lie on its side.
    """
    return _of_light(quality) + _of_detail(quality, resolution) + _of_pose(quality, doubtful)


def _of_light(quality: Quality) -> tuple[PhotoWarning, ...]:
    found = []
    if quality.brightness < DARK:
        text = (
            f"The face is dark (mean brightness {quality.brightness:.0f} of 255, at least {DARK:.0f} wanted): "
            "take the photo in more light, or brighten it."
        )
        found.append(PhotoWarning("dark", quality.brightness, DARK, text))
    if quality.overexposed > OVEREXPOSED:
        text = (
            f"The face is overexposed ({quality.overexposed:.0%} of it is white, at most {OVEREXPOSED:.0%} wanted): "
            "take the photo in softer light, or without flash."
        )
        found.append(PhotoWarning("bright", quality.overexposed, OVEREXPOSED, text))
    return tuple(found)


def _of_detail(quality: Quality, resolution: int) -> tuple[PhotoWarning, ...]:
    found = []
    if quality.sharpness < BLURRED:
        text = (
            f"The face is blurred (sharpness {quality.sharpness:.3f}, at least {BLURRED:.3f} wanted): "
            "choose a photo that is in focus and not shaken."
        )
        found.append(PhotoWarning("blurred", quality.sharpness, BLURRED, text))
    wanted = SMALL * FACE_IN_SQUARE * resolution
    if quality.size < wanted:
        text = (
            f"The face is small ({quality.size:.0f} pixels high, at least {wanted:.0f} wanted for a checkpoint of "
            f"{resolution} pixels): choose a photo from nearer, or the one with all its pixels."
        )
        found.append(PhotoWarning("small", quality.size, wanted, text))
    return tuple(found)


def _of_pose(quality: Quality, doubtful: float) -> tuple[PhotoWarning, ...]:
    found = []
    if abs(quality.yaw) > PROFILE:
        text = (
            f"The head is turned by about {abs(quality.yaw):.0f} degrees (at most {PROFILE:.0f} wanted): "
            "choose a photo seen more from the front."
        )
        found.append(PhotoWarning("profile", abs(quality.yaw), PROFILE, text))
    if abs(quality.tilt) > TILTED:
        text = (
            f"The head is tilted by {abs(quality.tilt):.0f} degrees (at most {TILTED:.0f} wanted): "
            "turn the photo until the eyes are level."
        )
        found.append(PhotoWarning("tilted", abs(quality.tilt), TILTED, text))
    if quality.score < doubtful:
        text = (
            f"It is not sure that this is a face (confidence {quality.score:.2f}, at least {doubtful:.2f} wanted): "
            "turn the photo if it lies on its side, or choose one in which the whole face is seen."
        )
        found.append(PhotoWarning("unsure", quality.score, doubtful, text))
    return tuple(found)
