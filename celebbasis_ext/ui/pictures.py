"""Pictures in the tab, as HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celebbasis_ext.evaluate.sheets import SheetRow
    from celebbasis_ext.training_job import Outcome
    from celebbasis_ext.types import Image

LARGEST_SIDE = 640
"""Pixels of photos and previews in the page."""
CARD_SIDE = 320
"""Pixels of the picture on a card, of which a page may have hundreds."""


def picture_uri(image: Image, form: str = "PNG") -> str:
    """A picture [h, w, 3] as text that stands in a page; photos (JPEG) are made smaller."""
    from PIL import Image as Pillow

    picture = Pillow.fromarray(image)
    if form == "JPEG":
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return data_uri(buffer.getvalue(), f"image/{form.lower()}")


def data_uri(content: bytes, kind: str) -> str:
    """A file's content as text that stands in a page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def card_uri(path: Path) -> str:
    """A picture file, small, as text that stands in a page; empty where it cannot be read."""
    try:
        return _small_uri(path, path.stat().st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=1024)
def _small_uri(path: Path, mtime_ns: int) -> str:
    """Of the file as it is since then. Raises OSError."""
    from PIL import Image as Pillow

    with Pillow.open(path) as picture:
        picture.thumbnail((CARD_SIDE, CARD_SIDE))
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "JPEG")
    return data_uri(buffer.getvalue(), "image/jpeg")


def drawings(outcome: Outcome) -> str:
    """Everybody's pictures under the same prompts; those of "a person" are folded away."""
    if outcome.sheet is None:
        return ""
    *people, anybody = [_drawn_row(row, outcome.captions) for row in outcome.drawn]
    save = f'<a class="cb-button" href="{picture_uri(outcome.sheet)}" download="contact-sheet.png">'
    return (
        f"{''.join(people)}<details class='cb-anybody'><summary>The same prompts for “a person”</summary>{anybody}"
        f"</details><p>{save}Save as a contact sheet</a></p>"
    )


def _drawn_row(row: SheetRow, captions: Sequence[str]) -> str:
    shown = "".join(
        f'<figure><img src="{picture_uri(image, "JPEG")}" alt="{escape(f"{row.title}: {caption}", quote=True)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for image, caption in zip(row.images, captions, strict=True) if image is not None
    )  # fmt: skip
    return f'<h4>{escape(row.title)}</h4><div class="cb-gallery cb-drawn">{shown}</div>'


def sheet_link(sheet: Image, described: str) -> str:
    """A contact sheet that can be saved."""
    uri = picture_uri(sheet)
    return (
        f'<a class="cb-sheet" href="{uri}" download="contact-sheet.png" title="Save the contact sheet">'
        f'<img src="{uri}" alt="{escape(described, quote=True)}"></a>'
    )


def gallery(pictures: Sequence[Image], prompt: str) -> str:
    """Pictures side by side; each can be saved."""
    shown = "".join(
        f'<a href="{uri}" download="picture-{i}.png"><img src="{uri}" alt="{escape(prompt)}, number {i}"></a>'
        for i, uri in enumerate(map(picture_uri, pictures), start=1)
    )
    return f'<div class="cb-gallery">{shown}</div>'
