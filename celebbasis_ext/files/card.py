"""What WebUIs show of an embedding: a picture and a few words, in two files beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celebbasis_ext.files.atomic import replacing, write_whole
from celebbasis_ext.types import Image

OURS = "Celeb Basis, "
"""How our descriptions begin."""


def save_card(path: Path, picture: Image, metadata: Mapping[str, str]) -> None:
    """Writes `<name>.preview.png` and `<name>.txt`; a description that somebody else wrote stays.

    Args:
        path: The embedding.
        picture: [h, w, 3].
        metadata: The embedding's header, which the words are made of.

    Raises:
        CannotWrite: See `replacing`.
    """
    from PIL import Image as Pillow

    with replacing(path.with_suffix(".preview.png")) as unfinished:
        Pillow.fromarray(picture).save(unfinished, format="PNG")
    beside = path.with_suffix(".txt")
    if not beside.exists() or beside.read_text("utf-8", errors="replace").startswith(OURS):
        write_whole(beside, description(metadata).encode())


def description(metadata: Mapping[str, str]) -> str:
    """Who this is, on which checkpoint, and how like the photo: "Celeb Basis, learned from a photo ..." """
    origin = metadata.get("celebbasis.made_by", OURS.rstrip(", ")).partition(" (arXiv")[0]
    checkpoint, scores = (_read(metadata, key) for key in ("checkpoint", "scores"))
    parts = [origin, f"on {checkpoint['name']}" if checkpoint.get("name") else ""]
    if scores:
        parts.append(f"likeness {scores['likeness']:.2f}, anybody {scores['impostors']:.2f}")
    return "; ".join(part for part in parts if part)


def _read(metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    return dict(json.loads(metadata.get(f"celebbasis.{key}", "{}")))
