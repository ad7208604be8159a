"""Pictures that commands write, among them `--save-crop`: what a training sees of each photo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from celebbasis_ext.errors import InvalidSettings

if TYPE_CHECKING:
    from celebbasis_ext.types import Image, Subject

OUTSIDE: Final = 0.45
"""How much of the colour remains outside the head."""


def write_picture(image: Image, path: Path) -> None:
    """Write a picture [h, w, 3] uint8 RGB as a PNG file, whole or not at all; folders are made.

    Raises:
        InvalidSettings: It cannot be written there.
    """
    from celebbasis_ext.evaluate.sheets import save_png

    try:
        save_png(image, path)
    except OSError as error:
        raise InvalidSettings(
            f"The picture {path.name} cannot be written to the folder {path.parent}: {error.strerror or error}.",
            "Name another folder, or make room.",
        ) from error


def save_crops(subject: Subject, folder: Path) -> tuple[Path, ...]:
    """Write the aligned crop, and the training square in which all but the head is faint.

    Returns:
        `NAME.crop.png`, where the subject has a crop, and `NAME.square.png`.

    Raises:
        InvalidSettings: The folder cannot be written to.
    """
    pictures = (
        {"square": masked(subject)} if subject.crop is None else {"crop": subject.crop, "square": masked(subject)}
    )
    paths = tuple(folder / f"{subject.name}.{kind}.png" for kind in pictures)
    for path, picture in zip(paths, pictures.values(), strict=True):
        write_picture(picture, path)
    return paths


def masked(subject: Subject) -> Image:
    """[s, s, 3] the training square; it fades to white where the loss hardly looks."""
    share = OUTSIDE + (1 - OUTSIDE) * subject.mask[..., None]
    return np.asarray(subject.photo * share + 255 * (1 - share) + 0.5, dtype=np.uint8)
