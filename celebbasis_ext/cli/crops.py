"""`--save-crop`: what a training sees of each photo, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from celebbasis_ext.errors import InvalidSettings

if TYPE_CHECKING:
    from celebbasis_ext.types import Image, Subject

OUTSIDE = 0.45
"""How much of the colour remains outside the head."""


def save_crops(subject: Subject, folder: Path) -> tuple[Path, ...]:
    """Write the aligned crop, and the training square in which all but the head is faint.

    Returns:
        `NAME.crop.png`, where the subject has a crop, and `NAME.square.png`.

    Raises:
        InvalidSettings: The folder cannot be written to.
    """
    from celebbasis_ext.evaluate.sheets import save_png

    pictures = {f"{subject.name}.square.png": masked(subject)}
    if subject.crop is not None:
        pictures = {f"{subject.name}.crop.png": subject.crop} | pictures
    try:
        for name, picture in pictures.items():
            save_png(picture, folder / name)
    except OSError as error:
        raise InvalidSettings(
            f"The crops of {subject.name} cannot be written to {folder}: {error.strerror}.", "Name another folder."
        ) from error
    return tuple(folder / name for name in pictures)


def masked(subject: Subject) -> Image:
    """[s, s, 3] the training square; it fades to white where the loss hardly looks."""
    share = OUTSIDE + (1 - OUTSIDE) * subject.mask[..., None]
    return np.asarray(subject.photo * share + 255 * (1 - share) + 0.5, dtype=np.uint8)
