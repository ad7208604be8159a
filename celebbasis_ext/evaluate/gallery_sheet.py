"""A gallery to look at: names down, their faces across, in several columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from celebbasis_ext.evaluate.sheets import PAPER, SheetRow, contact_sheet
from celebbasis_ext.types import Gallery, Image, Shot

MOST_NAMES: Final = 60
COLUMNS: Final = 3
_CELL: Final = 96


def gallery_sheet(gallery: Gallery, title: str = "") -> Image | None:
    """[h, w, 3] names that are spread over the whole list, sixty at most; None where nothing is drawn yet."""
    names = list(shots_by_name(gallery))
    if not names:
        return None
    places = np.linspace(0, len(names) - 1, min(MOST_NAMES, len(names))).round().astype(int)
    return names_sheet(gallery, [names[i] for i in places], title or f"{len(places)} of {len(names)} names")


def names_sheet(
    gallery: Gallery, names: Sequence[str], title: str = "", say: Callable[[str], str] = lambda name: ""
) -> Image:
    """[h, w, 3] these names, top to bottom and then left to right.

    Args:
        gallery: Where the faces are.
        names: At least one.
        title: Over everything.
        say: What stands below a name.
    """
    shots = shots_by_name(gallery)
    rows = [SheetRow(name, say(name), _faces(shots[name])) for name in names]
    high = math.ceil(len(rows) / COLUMNS)
    most = max(len(row.images) for row in rows)
    parts = [rows[at : at + high] for at in range(0, len(rows), high)]
    columns = [contact_sheet(part, [""] * most, cell=_CELL) for part in parts]
    titled = contact_sheet(parts[0], [""] * most, title, cell=_CELL)
    return _side_by_side([titled, *columns[1:]], len(titled) - len(columns[0]))


def shots_by_name(gallery: Gallery) -> Mapping[str, list[Shot]]:
    """In the gallery's order."""
    found: dict[str, list[Shot]] = {}
    for shot in gallery.shots:
        found.setdefault(shot.name, []).append(shot)
    return found


def _faces(shots: Sequence[Shot]) -> tuple[Image | None, ...]:
    return tuple(shot.crop for shot in shots)


def _side_by_side(sheets: Sequence[Image], title: int) -> Image:
    """Sheets as one, on white; all but the first begin below its title, so many pixels high."""
    height, width = max(len(sheet) for sheet in sheets) + title, sum(sheet.shape[1] for sheet in sheets)
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    left = 0
    for sheet in sheets:
        top = title if left else 0
        canvas[top : top + len(sheet), left : left + sheet.shape[1]] = sheet
        left += sheet.shape[1]
    return canvas[: len(sheets[0])]
