"""Contact sheets: pictures stay what they are, words are seen, sizes add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as pillow
from PIL import ImageFont

from celebbasis_ext.errors import InvalidSettings
from celebbasis_ext.evaluate.sheets import CELL, PAPER, SheetRow, contact_sheet, save_png
from celebbasis_ext.types import Image

RED, GREEN, BLUE = (200, 30, 40), (20, 140, 60), (30, 60, 200)
PATIENCE = 12  # the edge and the round corners


def plain(colour: tuple[int, int, int], height: int = 96, width: int = 96) -> Image:
    return np.full((height, width, 3), colour, np.uint8)


def box_of(sheet: Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, width, height of all pixels of a colour."""
    y, x = np.nonzero((sheet == colour).all(axis=-1))
    assert len(x), f"no {colour} in the sheet"
    return int(x.min()), int(y.min()), int(x.max() - x.min() + 1), int(y.max() - y.min() + 1)


def one(image: Image | None = None, **options: Any) -> Image:
    picture = plain(RED) if image is None else image
    return contact_sheet([SheetRow("title", "", (picture,))], **{"columns": ["caption"], **options})


# --- pictures


def test_cells_are_filled_and_in_order() -> None:
    rows = [SheetRow("a", "", (plain(RED), plain(GREEN, 300, 300))), SheetRow("b", "", (plain(BLUE),))]
    sheet = contact_sheet(rows, ["one", "two"])
    red, green, blue = (box_of(sheet, colour) for colour in (RED, GREEN, BLUE))
    for _, _, width, height in (red, green, blue):
        assert CELL - 4 <= width <= CELL and CELL - 4 <= height <= CELL
    assert red[1] == green[1] and CELL < green[0] - red[0] < 1.1 * CELL
    assert red[0] == blue[0] and CELL < blue[1] - red[1] < 1.1 * CELL


def test_a_picture_of_the_cells_size_keeps_its_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    noise[20, 20:24] = marks = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]], np.uint8)
    sheet = one(noise, cell=64)
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (1, 4, 3))[:, :, 0, 0]
    ((y, x),) = np.argwhere((windows == marks).all(axis=(-2, -1)))
    inner = slice(3, -3)
    assert np.array_equal(sheet[y - 20 : y + 44, x - 20 : x + 44][inner, inner], noise[inner, inner])


@pytest.mark.parametrize("height,width", [(40, 160), (160, 40), (100, 400), (10, 40)])
def test_proportions_are_kept(height: int, width: int) -> None:
    _, _, drawn_width, drawn_height = box_of(one(plain(RED, height, width)), RED)
    assert drawn_width / drawn_height == pytest.approx(width / height, rel=0.08)


def test_small_drawings_are_smoothed_and_icons_are_not() -> None:
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, 48:] = 255
    icon = np.zeros((4, 4, 3), np.uint8)
    icon[:, 2:] = (0, 255, 0)

    def greens(sheet: Image) -> set[int]:
        left, top, _, height = box_of(sheet, (0, 0, 0))
        row = sheet[top + height // 2, left + PATIENCE : left + CELL - PATIENCE]
        return set(row[:, 1].tolist())

    assert greens(one(icon)) == {0, 255}
    assert len(greens(one(stripes))) > 2


def test_rows_may_be_short_long_and_have_gaps() -> None:
    full = SheetRow("a", "", (plain(GREEN), plain(GREEN)))
    short = contact_sheet([full, SheetRow("b", "", (plain(RED),))], ["one", "two"])
    gap = contact_sheet([full, SheetRow("b", "", (None, plain(RED)))], ["one", "two"])
    assert short.shape == gap.shape
    assert box_of(gap, RED)[0] - box_of(short, RED)[0] > CELL
    left, top, _, _ = box_of(short, RED)
    assert (short[top + 5 : top + CELL - 5, left + CELL + 8 :] == PAPER).all()
    longer = contact_sheet([SheetRow("a", "", (plain(RED), plain(GREEN), plain(BLUE)))], ["one"])
    assert box_of(longer, BLUE)[0] > box_of(longer, GREEN)[0] > box_of(longer, RED)[0]


def test_white_pictures_have_an_edge() -> None:
    sheet = one(plain((255, 255, 255)), columns=[""])
    assert ((sheet < 240) & (sheet > 200)).any()


def test_given_pictures_are_not_changed() -> None:
    picture = plain(RED)
    picture.flags.writeable = False
    sheet = one(picture)
    assert (picture == RED).all()
    sheet[0, 0] = 0  # the caller's own


# --- words


@pytest.mark.parametrize(
    "changed",
    [
        {"columns": ["another"]},
        {"title": "A title"},
        {"footer": ["leak: 0.03"]},
    ],
)
def test_words_are_seen(changed: dict[str, Any]) -> None:
    before, after = one(), one(**changed)
    assert before.shape != after.shape or (before != after).any()


def test_titles_and_subtitles_stand_left_of_their_row() -> None:
    def sheet(title: str, subtitle: str) -> Image:
        row = SheetRow(title, subtitle, (plain(RED),))
        return contact_sheet([row, SheetRow("as wide as can be", "", ())], [])

    bare, titled, both = sheet("", ""), sheet("anna", ""), sheet("anna", "in grey")
    assert bare.shape == titled.shape == both.shape
    left, top, _, height = box_of(bare, RED)
    for first, second in ((bare, titled), (titled, both)):
        y, x = np.nonzero((first != second).any(axis=-1))
        assert x.max() < left and top <= y.min() and y.max() < top + height


def test_captions_wrap_to_three_lines_and_stay_over_their_column() -> None:
    rows = [SheetRow("", "", (plain(RED), plain(GREEN)))]
    heights = [
        contact_sheet(rows, [caption, "x"]).shape[0] for caption in ("one", "words " * 6, "words " * 10, "words " * 40)
    ]
    assert heights[0] < heights[1] < heights[2] == heights[3]
    bare, full = contact_sheet(rows, [" ", "x"]), contact_sheet(rows, ["m" * 200, "x"])
    left, top, width, _ = box_of(full, RED)
    assert bare.shape == full.shape
    y, x = np.nonzero((bare != full).any(axis=-1))
    assert left - 2 <= x.min() and x.max() < left + width + 2 and y.max() < top


def test_footers_flow_and_labels_are_grey() -> None:
    short, long = one(footer=["a: 1"]), one(footer=["likeness: 0.97 ± 0.01"] * 9)
    assert long.shape[0] > short.shape[0] > one().shape[0] and long.shape[1] == short.shape[1]
    value, phrase = one(footer=["a: 1"]), one(footer=["a 1"])
    below = box_of(value, RED)[1] + CELL + 2
    assert value[below:].min() < phrase[below:].min()  # only the value is black


def test_words_that_the_font_lacks_are_spelled() -> None:
    assert np.array_equal(one(columns=["Łódź – é ≥ 1"]), one(columns=["Lodz - e >= 1"]))
    assert np.array_equal(one(columns=["顔"]), one(columns=["?"]))


def test_old_pillow_has_a_bitmap_font(monkeypatch: pytest.MonkeyPatch) -> None:
    def before_10_1() -> ImageFont.ImageFont:
        return ImageFont.load_default_imagefont()

    monkeypatch.setattr(ImageFont, "load_default", before_10_1)
    sheet = one(title="Ünal — ±", footer=["likeness: 0.97 ± 0.01"])
    assert box_of(sheet, RED)[2] >= CELL - 4
    assert (one(columns=["a"]) != one(columns=["b"])).any()


# --- sizes, errors, files


def test_everything_grows_with_the_cells() -> None:
    small, large = one(cell=160), one(cell=320)
    assert large.shape[0] / small.shape[0] == pytest.approx(2, rel=0.03)
    assert large.shape[1] / small.shape[1] == pytest.approx(2, rel=0.03)
    assert small.dtype == np.uint8 and (small[0] == PAPER).all() and (small[:, -1] == PAPER).all()


def test_nothing_to_show() -> None:
    with pytest.raises(InvalidSettings):
        contact_sheet([], ["a"])
    with pytest.raises(InvalidSettings):
        contact_sheet([SheetRow("a", "b", ())], [])
    with pytest.raises(InvalidSettings, match="pixels, not 4"):
        one(cell=4)


def test_save_png(tmp_path: Path) -> None:
    sheet, path = one(), tmp_path / "new" / "sheet.png"
    save_png(sheet, path)
    with pillow.open(path) as image:
        assert image.format == "PNG" and np.array_equal(np.asarray(image), sheet)
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]
