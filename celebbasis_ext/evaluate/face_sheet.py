"""Faces numbered as `--face` counts them: the photo with frames, and each face from near below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from celebbasis_ext.crop import square_around
from celebbasis_ext.evaluate.sheets import PAPER, QUIET, Colour, SheetRow, contact_sheet
from celebbasis_ext.faces.base import numbered
from celebbasis_ext.types import Face, Floats, Image

LARGEST: Final = (1000, 700)
"""Width and height in pixels that the photo may have in the sheet."""

FRAME: Final[Colour] = (0, 158, 115)
_CELL: Final = 160


@dataclass(frozen=True)
class FaceNote:
    """What a sheet says of a face.

    Attributes:
        subtitle: Below its number.
        crop: [112, 112, 3] as the recogniser sees it; None leaves it out.
    """

    subtitle: str
    crop: Image | None = None


def face_sheet(photo: Image, faces: Sequence[Face], title: str, notes: Sequence[FaceNote] = ()) -> Image:
    """Draw a sheet that numbers the faces of a photo.

    Args:
        photo: [h, w, 3] uint8, RGB.
        faces: All that were found; those that are too small to be meant get a thin grey frame and no number.
        title: Over everything.
        notes: One for each numbered face, from left to right; none says how high they are.

    Returns:
        [h, w, 3] uint8, RGB, on white.
    """
    chosen = numbered(faces)
    picture = _framed(photo, chosen, [face for face in faces if all(face is not other for other in chosen)])
    if not chosen:
        return picture
    notes = notes or [FaceNote(f"{face.box[3] - face.box[1]:.0f} px high") for face in chosen]
    rows = [
        SheetRow(f"Face {number}", note.subtitle, (square_around(photo, face, _CELL)[0], note.crop))
        for number, (face, note) in enumerate(zip(chosen, notes, strict=True), start=1)
    ]
    columns = ("from near",) if all(note.crop is None for note in notes) else ("from near", "as recognised")
    return _stacked(picture, contact_sheet(rows, columns, title, cell=_CELL))


def _framed(photo: Image, chosen: Sequence[Face], others: Sequence[Face]) -> Image:
    """The photo, not larger than `LARGEST`, with frames and numbers."""
    import cv2

    height, width = photo.shape[:2]
    scale = min(LARGEST[0] / width, LARGEST[1] / height, 1.0)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    drawn = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA) if scale < 1 else photo.copy(), np.uint8)
    for face in others:
        left, top, right, bottom = (round(v) for v in (face.box * scale).tolist())
        cv2.rectangle(drawn, (left, top), (right, bottom), QUIET, 1, cv2.LINE_AA)
    for number, face in enumerate(chosen, start=1):
        _number(drawn, face.box * scale, number)
    return drawn


def _number(drawn: Image, box: Floats, number: int) -> None:
    """A frame with the number in its upper left corner, large enough to be read and not wider than the face."""
    import cv2

    left, top, right, bottom = (round(v) for v in box.tolist())
    side = int(np.clip((bottom - top) // 4, 18, 44))
    cv2.rectangle(drawn, (left, top), (right, bottom), PAPER, 4, cv2.LINE_AA)
    cv2.rectangle(drawn, (left, top), (right, bottom), FRAME, 2, cv2.LINE_AA)
    text, font, size = str(number), cv2.FONT_HERSHEY_SIMPLEX, side / 36
    (wide, high), _ = cv2.getTextSize(text, font, size, 2)
    badge = max(side, wide + 8)
    cv2.rectangle(drawn, (left, top), (left + badge, top + side), FRAME, -1)
    at = (left + (badge - wide) // 2, top + (side + high) // 2)
    cv2.putText(drawn, text, at, font, size, PAPER, 2, cv2.LINE_AA)


def _stacked(picture: Image, sheet: Image) -> Image:
    """One above the other, both in the middle, on white."""
    width = max(picture.shape[1] + 2 * 34, sheet.shape[1])
    canvas = np.full((34 + picture.shape[0] + sheet.shape[0], width, 3), 255, np.uint8)
    for part, top in ((picture, 34), (sheet, 34 + picture.shape[0])):
        left = (width - part.shape[1]) // 2
        canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return canvas
