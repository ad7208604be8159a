"""What WebUIs show of an embedding."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from celebbasis_ext.files.card import description, save_card
from celebbasis_ext.files.embedding import pack_metadata, save_embedding
from celebbasis_ext.files.people import delete_person, rename_person, versions
from celebbasis_ext.types import Embedding

PICTURE = np.full((8, 8, 3), 90, np.uint8)
COEFFICIENTS = np.zeros((2, 4), np.float32)


def anna(**facts: object) -> Embedding:
    return Embedding("anna-cb", {"clip_l": np.ones((2, 96), np.float32)}, pack_metadata(COEFFICIENTS, **facts))


def test_the_description_says_whence_where_and_how_like() -> None:
    assert description({}) == "Celeb Basis"
    assert description(anna().metadata) == "Celeb Basis, learned from a photo of a face"
    scores = {"likeness": 0.714, "impostors": 0.04}
    facts = anna(checkpoint={"name": "miniature"}, scores=scores).metadata
    assert description(facts) == (
        "Celeb Basis, learned from a photo of a face; on miniature; likeness 0.71, anybody 0.04"
    )


def test_our_own_words_are_replaced_and_those_of_others_stay(tmp_path: Path) -> None:
    path = save_embedding(anna(), tmp_path, preview=PICTURE)
    before = path.with_suffix(".txt").read_text("utf-8")
    save_card(path, PICTURE + 9, anna(checkpoint={"name": "other"}).metadata)
    assert path.with_suffix(".txt").read_text("utf-8") == f"{before}; on other"
    assert np.asarray(Pillow.open(path.with_suffix(".preview.png"))).max() == 99
    path.with_suffix(".txt").write_text("my sister", "utf-8")
    save_card(path, PICTURE, anna().metadata)
    assert path.with_suffix(".txt").read_text("utf-8") == "my sister"


def test_a_folder_says_who_is_there_and_since_when(tmp_path: Path) -> None:
    folder = tmp_path / "embeddings"
    assert versions(folder) == {}
    path = save_embedding(anna(), folder)
    marks = [versions(folder)]
    assert versions(folder) == marks[0]
    for change in (
        lambda: save_card(path, PICTURE, anna().metadata),
        lambda: save_embedding(anna(steps=7), folder, overwrite=True),
        lambda: rename_person(folder, "anna-cb", "maria-cb"),
        lambda: rename_person(folder, "maria-cb", "anna-cb"),
        lambda: delete_person(folder, "anna-cb"),
    ):
        time.sleep(0.02)  # a file system's clock ticks every few milliseconds
        change()
        marks.append(versions(folder))
    assert all(before != after for before, after in pairwise(marks))
    assert [sorted(mark) for mark in marks[-3:]] == [["maria-cb"], ["anna-cb"], []]
