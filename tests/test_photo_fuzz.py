"""Damaged files by the thousand: a photo [h, w, 3] comes out, or one error that people understand; nothing else."""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image as pillow

from celebbasis_ext.errors import UnreadableImage
from celebbasis_ext.files.photo import FORMATS, read_photo, readable_formats

CASES = 1200
"""For each format, and as many without any; together well over ten thousand."""

QUICK = settings(max_examples=CASES, deadline=None, derandomize=True, database=None, phases=[Phase.generate])

Damage = Callable[[bytearray, random.Random, bytes], None]


def flip(content: bytearray, chance: random.Random, other: bytes) -> None:
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def overwrite(content: bytearray, chance: random.Random, other: bytes) -> None:
    """Extreme values, above all in the head, where sizes and offsets stand."""
    at = chance.randrange(min(len(content), chance.choice((64, len(content)))))
    content[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))


def cut(content: bytearray, chance: random.Random, other: bytes) -> None:
    del content[chance.randrange(len(content)) :]


def drop(content: bytearray, chance: random.Random, other: bytes) -> None:
    at = chance.randrange(len(content))
    del content[at : at + chance.randrange(1, 40)]


def repeat(content: bytearray, chance: random.Random, other: bytes) -> None:
    at = chance.randrange(len(content))
    content[at:at] = content[at : at + chance.randrange(1, 200)]


def splice(content: bytearray, chance: random.Random, other: bytes) -> None:
    """The head of one format on the body of another."""
    content[chance.randrange(len(content)) :] = other[chance.randrange(len(other)) :]


DAMAGES: tuple[Damage, ...] = (flip, overwrite, cut, drop, repeat, splice)


def seeds() -> dict[str, tuple[bytes, ...]]:
    """Small valid files of each format that Pillow can write here, in the modes that it can."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 9, 4), dtype=np.uint8)
    exif = pillow.Exif()
    exif[0x0112] = 6
    readable = readable_formats()
    found: dict[str, list[bytes]] = {kind: [] for kind in FORMATS if kind in readable and kind in pillow.SAVE}
    for kind, contents in found.items():
        for mode in ("RGB", "RGBA", "P", "L", "1", "CMYK", "I;16"):
            image = pillow.fromarray(noise).convert("RGB" if mode in ("P", "CMYK") else "RGBA")
            memory = io.BytesIO()
            try:
                (image if mode != "I;16" else image.convert("I")).convert(mode).save(memory, kind, exif=exif.tobytes())
            except (OSError, KeyError, ValueError):
                continue
            contents.append(memory.getvalue())
    return {kind: tuple(contents) for kind, contents in found.items()}


SEEDS = seeds()
EVERY_SEED = tuple(content for contents in SEEDS.values() for content in contents)


def damaged(kind: str, seed: int) -> bytes:
    """A file of a format, damaged in one to three ways."""
    chance = random.Random(seed)
    content = bytearray(chance.choice(SEEDS[kind]))
    for damage in chance.choices(DAMAGES, k=chance.randint(1, 3)):
        if content:
            damage(content, chance, chance.choice(EVERY_SEED))
    return bytes(content)


def reads_or_refuses(content: bytes) -> bool:
    """Whether a photo came out; any other end than a photo or `UnreadableImage` fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            photo = read_photo(content)
        except UnreadableImage as error:
            assert error.message and error.hint and len(error.message) < 1000
            return False
    assert photo.ndim == 3 and photo.shape[2] == 3 and min(photo.shape) > 0
    assert photo.dtype == np.uint8 and photo.flags.writeable
    return True


def test_every_format_has_seeds_that_are_read() -> None:
    assert {"JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM"} <= SEEDS.keys()
    for kind, contents in SEEDS.items():
        assert contents and all(reads_or_refuses(content) for content in contents), kind


@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_files(kind: str) -> None:
    outcomes = {True: 0, False: 0}

    @QUICK
    @given(seed=st.integers(0, 2**63))
    def check(seed: int) -> None:
        outcomes[reads_or_refuses(damaged(kind, seed))] += 1

    check()
    assert sum(outcomes.values()) >= CASES and min(outcomes.values()) > CASES // 50, outcomes


@QUICK
@given(head=st.sampled_from([b"", *(content[:12] for content in EVERY_SEED)]), rest=st.binary(max_size=300))
def test_random_bytes(head: bytes, rest: bytes) -> None:
    reads_or_refuses(head + rest)
