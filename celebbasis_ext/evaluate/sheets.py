"""Contact sheets: pictures side by side, people as rows, prompts as columns, scores below.

All lengths are in pixels and grow with the cells, so that a sheet with larger cells looks the same.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from celebbasis_ext.errors import InvalidSettings
from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.types import Image

if TYPE_CHECKING:
    from PIL import Image as pillow
    from PIL import ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

Colour = tuple[int, int, int]

PAPER: Final[Colour] = (255, 255, 255)
GROUND: Final[Colour] = (244, 244, 242)
INK: Final[Colour] = (28, 29, 32)
QUIET: Final[Colour] = (112, 114, 120)
RULE: Final[Colour] = (222, 222, 220)

CELL: Final = 160
SMALLEST_CELL: Final = 16
_CAPTION_LINES: Final = 3
_FINE: Final = 4
"""Text and frames are drawn this many times larger, then averaged down: letters keep their distances."""
_SPELLED: Final = {
    "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{MINUS SIGN}": "-", "\N{MULTIPLICATION SIGN}": "x",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{LEFT SINGLE QUOTATION MARK}": "'", "“": '"', "”": '"',
    "≥": ">=", "≤": "<=", "≈": "~", "→": "->", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE",
    "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "đ": "d", "\N{LATIN SMALL LETTER DOTLESS I}": "i",
}  # fmt: skip


@dataclass(frozen=True)
class SheetRow:
    """One row of a contact sheet.

    Attributes:
        title: Whose pictures they are.
        subtitle: What else is to be said, in grey below the title.
        images: [h, w, 3] uint8 RGB each, of any sizes; fewer than columns will do, None is a gap.
    """

    title: str
    subtitle: str
    images: tuple[Image | None, ...]


def contact_sheet(
    rows: Sequence[SheetRow],
    columns: Sequence[str],
    title: str = "",
    footer: Sequence[str] = (),
    cell: int = CELL,
) -> Image:
    """Draw a contact sheet.

    Pictures are scaled to fit their cells, proportions kept; one that has a cell's size keeps its pixels.

    Args:
        rows: From top to bottom.
        columns: A caption over each column; a row may have more pictures than there are captions.
        title: Over everything.
        footer: Short phrases below the pictures; in "likeness: 0.97" the label is set in grey.
        cell: Side of a cell in pixels.

    Returns:
        [h, w, 3] uint8, RGB, on white.

    Raises:
        InvalidSettings: There is nothing to show, or the cells are too small.
    """
    count = max([len(columns), *(len(row.images) for row in rows)])
    if not rows or not count:
        raise InvalidSettings("A contact sheet needs at least one row and one column, there is none.")
    if cell < SMALLEST_CELL:
        raise InvalidSettings(f"Cells need at least {SMALLEST_CELL} pixels, not {cell}.", "Make them larger.")
    return _Sheet(rows, columns, title, footer, cell, count).drawn()


def save_png(image: Image, path: Path) -> None:
    """Write a picture [h, w, 3] uint8 RGB as a PNG file, whole or not at all; folders are made.

    Raises:
        CannotWrite: The file cannot be written.
    """
    from PIL import Image as pillow

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        pillow.fromarray(image).save(unfinished, "PNG", optimize=True)


class _Sheet:
    """The measures of one sheet: everything is wrapped first, so that its size is known, then drawn."""

    def __init__(
        self,
        rows: Sequence[SheetRow],
        columns: Sequence[str],
        title: str,
        footer: Sequence[str],
        cell: int,
        count: int,
    ) -> None:
        self._cell, self._unit = cell, cell / CELL
        self._gap, self._margin = self._px(6), self._px(34)
        self._rows = rows
        self._labels = [self._label(row) for row in rows]
        label_width = max(text.width for label in self._labels for text in label)
        self._left = self._margin + (label_width + self._px(22) if label_width else 0)
        self._right = self._left + count * cell + (count - 1) * self._gap
        wide = self._right - self._margin
        self._title = self._text(title, 22, INK, wide, lines=3)
        self._captions = [self._text(caption, 13, QUIET, cell - self._px(6), _CAPTION_LINES) for caption in columns]
        caption_height = max((caption.height for caption in self._captions), default=0)
        self._captions_top = self._margin + _spaced(self._title.height, self._px(20))
        self._top = self._captions_top + _spaced(caption_height, self._px(9))
        self._bottom = self._top + len(rows) * (cell + self._gap) - self._gap
        self._footer = _flowed(self._phrases(footer, wide), wide, self._px(6), self._px(30))
        self._footer_height = _spaced(_bottom(self._footer), self._px(34))

    def _px(self, length: float) -> int:
        return max(1, round(length * self._unit))

    def _text(self, text: str, size: float, colour: Colour, width: int, lines: int) -> _Text:
        font, fine = _font(size * self._unit)
        wrapped = _wrapped(_spelled(text), font, width * fine, lines)
        return _Text(wrapped, font, fine, colour, self._px(size * 1.32))

    def _label(self, row: SheetRow) -> tuple[_Text, _Text]:
        width = self._px(158)
        return self._text(row.title, 16, INK, width, 3), self._text(row.subtitle, 13, QUIET, width, 5)

    def _phrases(self, footer: Sequence[str], width: int) -> Iterator[tuple[_Text, ...]]:
        """Each phrase as grey text, or as a grey label and its value."""
        for phrase in footer:
            label, colon, value = phrase.rpartition(": ")
            whole = self._text(phrase, 14, QUIET, width, 6)
            if colon and len(whole.lines) == 1:
                yield self._text(label, 14, QUIET, width, 1), self._text(value, 14, INK, width, 1)
            else:
                yield (whole,)

    def drawn(self) -> Image:
        from PIL import Image as pillow

        size = self._right + self._margin, self._bottom + self._footer_height + self._margin
        canvas = pillow.new("RGB", size, PAPER)
        self._title.write(canvas, self._margin, self._margin - self._px(4))
        self._write_captions(canvas)
        for index in range(len(self._rows)):
            self._draw_row(canvas, index)
        if self._footer:
            self._write_footer(canvas)
        return np.asarray(canvas, dtype=np.uint8).copy()

    def _write_captions(self, canvas: pillow.Image) -> None:
        """Centred, standing on the pictures."""
        for index, caption in enumerate(self._captions):
            x = self._left + index * (self._cell + self._gap)
            caption.write(canvas, x, self._top - self._px(7) - caption.height, self._cell)

    def _draw_row(self, canvas: pillow.Image, index: int) -> None:
        top = self._top + index * (self._cell + self._gap)
        title, subtitle = self._labels[index]
        space = self._px(3) if title.height and subtitle.height else 0
        y = top + (self._cell - title.height - space - subtitle.height) // 2
        title.write(canvas, self._margin, y)
        subtitle.write(canvas, self._margin, y + title.height + space)
        corners, edge = _frame(self._cell, self._px(5))
        for column, image in enumerate(self._rows[index].images):
            if image is None:
                continue
            x = self._left + column * (self._cell + self._gap)
            canvas.paste(_fitted(image, self._cell), (x, top), corners)
            canvas.paste((0, 0, 0), (x, top), edge)

    def _write_footer(self, canvas: pillow.Image) -> None:
        y = self._bottom + self._px(20)
        canvas.paste(RULE, (self._margin, y, self._right, y + self._px(1)))
        for text, dx, dy in self._footer:
            text.write(canvas, self._margin + dx, y + self._px(14) + dy)


@dataclass(frozen=True)
class _Text:
    """Wrapped text; `leading` is the distance of its lines in pixels, the font is `fine` times too large."""

    lines: tuple[str, ...]
    font: Font
    fine: int
    colour: Colour
    leading: int

    @property
    def width(self) -> int:
        return math.ceil(max((self.font.getlength(line) for line in self.lines), default=0.0) / self.fine)

    @property
    def height(self) -> int:
        return len(self.lines) * self.leading

    def write(self, canvas: pillow.Image, x: int, y: int, centred_in: int = 0) -> None:
        for index, line in enumerate(self.lines):
            mask = self._mask(line)
            indent = (centred_in - mask.width) // 2 if centred_in else 0
            canvas.paste(self.colour, (x + indent, y + index * self.leading), mask)

    def _mask(self, line: str) -> pillow.Image:
        from PIL import Image as pillow
        from PIL import ImageDraw

        width = math.ceil(self.font.getlength(line) / self.fine)
        mask = pillow.new("L", (max(1, width) * self.fine, 2 * self.leading * self.fine))
        ImageDraw.Draw(mask).text((0, 0), line, 255, self.font)
        return mask.reduce(self.fine)


def _font(size: float) -> tuple[Font, int]:
    """Pillow's own font, and how many times too large it is.

    Before Pillow 10.1, or without FreeType, that is a small bitmap font of one size.
    """
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size * _FINE), _FINE
    except (TypeError, ImportError):
        return ImageFont.load_default(), 1


def _spelled(text: str) -> str:
    """The text in the characters that Pillow's font has: no accents, no dashes, "?" for what is left."""
    text = "".join(_SPELLED.get(character, character) for character in text)
    decomposed = unicodedata.normalize("NFKD", text)
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() or letter in "±·" else "?" for letter in letters)


def _wrapped(text: str, font: Font, width: int, most: int) -> tuple[str, ...]:
    """Lines that fit a width in pixels; what is beyond the last line, or wider, is cut off with dots."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > most:
        lines[most - 1] += "..."
    return tuple(_cut(line, font, width) for line in lines[:most])


def _cut(line: str, font: Font, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    kept = line.removesuffix("...")
    while kept and font.getlength(kept + "...") > width:
        kept = kept[:-1]
    return f"{kept.rstrip()}..."


def _spaced(height: int, space: int) -> int:
    return height + space if height else 0


def _flowed(
    phrases: Iterator[tuple[_Text, ...]], width: int, word_space: int, space: int
) -> tuple[tuple[_Text, int, int], ...]:
    """Phrases side by side, as many as a line holds: texts with their x and y."""
    placed: list[tuple[_Text, int, int]] = []
    x = y = 0
    for phrase in phrases:
        if x and x + sum(text.width + word_space for text in phrase) > width:
            x, y = 0, _bottom(placed) + 4
        for text in phrase:
            placed.append((text, x, y))
            x += text.width + word_space
        x += space - word_space
    return tuple(placed)


def _bottom(placed: Sequence[tuple[_Text, int, int]]) -> int:
    return max((y + text.height for text, _, y in placed), default=0)


def _fitted(image: Image, cell: int) -> pillow.Image:
    """A picture in the middle of its cell, as large as fits; the few pixels of an icon stay squares."""
    from PIL import Image as pillow

    picture = pillow.fromarray(image)
    scale = cell / max(picture.size)
    if scale != 1:
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        kind = pillow.Resampling.NEAREST if scale >= 8 else pillow.Resampling.LANCZOS
        picture = picture.resize(size, kind)
    tile = pillow.new("RGB", (cell, cell), GROUND)
    tile.paste(picture, ((cell - picture.width) // 2, (cell - picture.height) // 2))
    return tile


def _frame(cell: int, radius: int) -> tuple[pillow.Image, pillow.Image]:
    """Two masks: a cell with round corners, and its edge, thin and light, to hold white pictures together."""
    from PIL import Image as pillow
    from PIL import ImageDraw

    side = _FINE * cell
    corners, edge = (pillow.new("L", (side, side)) for _ in range(2))
    box, round_by = (0, 0, side - 1, side - 1), _FINE * radius
    ImageDraw.Draw(corners).rounded_rectangle(box, round_by, fill=255)
    ImageDraw.Draw(edge).rounded_rectangle(box, round_by, outline=34, width=_FINE)
    return corners.reduce(_FINE), edge.reduce(_FINE)
