"""What is sent as base64: photos and embedding files, measured before they are used."""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from celebbasis_ext.api.errors import InvalidRequest, TooLarge
from celebbasis_ext.errors import InvalidEmbedding
from celebbasis_ext.files.embedding import load_embedding
from celebbasis_ext.files.name_rules import check_name
from celebbasis_ext.files.photo import MAX_PIXELS, read_photo
from celebbasis_ext.types import Embedding, Image

MOST_PHOTOS = 4
SUFFIXES = (".safetensors", ".pt", ".bin")
MOST_PHRASES, LONGEST_TEXT = 50, 1000

_DATA_URL = re.compile(r"data:[\w.+/-]*;base64,")


def decoded(text: str, what: str) -> bytes:
    """Base64, or a data URL of it, without anything else in between.

    Raises:
        InvalidRequest: It is none.
    """
    prefix = _DATA_URL.match(text[:100])
    try:
        return base64.b64decode(text[prefix.end() if prefix else 0 :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{what} is no base64.", "Encode the file's bytes, without line breaks.") from error


def photos_from(texts: Sequence[str]) -> tuple[Image, ...]:
    """[h, w, 3] each, in their order.

    Raises:
        InvalidRequest, UnreadableImage: One is no base64, or no image.
        TooLarge: There are too many, or they have too many pixels together. They wait in memory for their turn.
    """
    if len(texts) > MOST_PHOTOS:
        raise TooLarge(f"Got {len(texts)} photos, at most {MOST_PHOTOS} are allowed.", "Send several requests.")
    photos: list[Image] = []
    for text in texts:
        photos.append(read_photo(decoded(text, "The photo")))
        if sum(photo.shape[0] * photo.shape[1] for photo in photos) > MAX_PIXELS:
            raise TooLarge(
                f"The photos have more than {MAX_PIXELS // 1_000_000} megapixels together.", "Send smaller photos."
            )
    return tuple(photos)


def embedding_from(text: str, name: str, suffix: str) -> Embedding:
    """An embedding file of anybody's.

    Raises:
        InvalidRequest, InvalidName, InvalidEmbedding: See there.
    """
    if suffix not in SUFFIXES:
        raise InvalidEmbedding(
            f"The suffix is {suffix[:20]!r}, expected one of {', '.join(SUFFIXES)}.", "Name another."
        )
    content = decoded(text, "The embedding")
    with tempfile.TemporaryDirectory(prefix="celebbasis-") as folder:
        path = Path(folder) / f"{check_name(name)}{suffix}"
        path.write_bytes(content)
        return load_embedding(path)


def checked_text(text: str, what: str) -> str:
    """A prompt or a phrase.

    Raises:
        InvalidRequest: It is too long, or has half characters in it, which no file can hold.
    """
    if len(text) > LONGEST_TEXT:
        raise InvalidRequest(f"{what} has {len(text)} characters, at most {LONGEST_TEXT} are allowed.", "Shorten it.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{what} is no valid Unicode.", "Send whole characters.") from error
    return text


def phrases_from(phrases: Sequence[str] | None) -> tuple[str, ...] | None:
    """A description; None where the describer is to be asked."""
    if phrases is None:
        return None
    if len(phrases) > MOST_PHRASES:
        raise InvalidRequest(f"Got {len(phrases)} phrases, at most {MOST_PHRASES} are allowed.", "Say less.")
    return tuple(checked_text(phrase.strip(), "A phrase of the description") for phrase in phrases if phrase.strip())
