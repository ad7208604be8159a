"""The people in a folder: ours are renamed and deleted with what belongs to them; other files are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from celebbasis_ext.errors import InvalidEmbedding, InvalidName, NameTaken
from celebbasis_ext.files.embedding import load_embedding, pack_metadata, save_embedding
from celebbasis_ext.files.people import delete_person, find_person, list_people, rename_person, versions
from celebbasis_ext.types import Embedding

VECTORS = {"clip_l": np.ones((2, 96), np.float32)}
PREVIEW = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Anna and Ben are ours; "style" is somebody else's; "damaged" is nobody's."""
    for name in ("anna-cb", "ben-cb"):
        metadata = pack_metadata(np.ones((2, 3), np.float32), steps=7, scores={"likeness": 0.5, "impostors": 0.1})
        save_embedding(Embedding(name, VECTORS, metadata), tmp_path, preview=PREVIEW)
    (tmp_path / "anna-cb.txt").write_text("Anna, drawn")
    (tmp_path / "anna-cb.resume").write_bytes(b"state")
    save_embedding(Embedding("style", VECTORS, {"author": "somebody"}), tmp_path, preview=PREVIEW)
    (tmp_path / "damaged.safetensors").write_bytes(b"no tensors")
    (tmp_path / "anna-cb-2.preview.png").write_bytes(b"somebody else's picture")
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_only_ours_are_listed_with_what_is_known(folder: Path) -> None:
    people = {person.name: person for person in list_people(folder)}
    assert set(people) == {"anna-cb", "ben-cb"}
    anna, ben = people["anna-cb"], people["ben-cb"]
    assert (anna.resumable, ben.resumable) == (True, False)
    assert anna.preview == folder / "anna-cb.preview.png"
    assert anna.facts["steps"] == 7 and anna.facts["scores"]["likeness"] == 0.5
    assert list_people(folder / "nowhere") == ()


def test_a_file_that_changed_is_read_again_and_the_page_hears_of_ours_only(folder: Path) -> None:
    assert set(versions(folder)) == {"anna-cb", "ben-cb"}
    assert find_person(folder, "anna-cb").facts["steps"] == 7
    metadata = pack_metadata(np.ones((2, 3), np.float32), steps=77)
    save_embedding(Embedding("anna-cb", VECTORS, metadata), folder, overwrite=True)
    assert find_person(folder, "anna-cb").facts["steps"] == 77
    assert {person.name: person.facts["steps"] for person in list_people(folder)} == {"anna-cb": 77, "ben-cb": 7}


def test_renaming_moves_all_that_belongs_to_the_person(folder: Path) -> None:
    before = load_embedding(folder / "anna-cb.safetensors")
    others = names(folder) - {"anna-cb.safetensors", "anna-cb.preview.png", "anna-cb.txt", "anna-cb.resume"}
    rename_person(folder, "anna-cb", "maria-cb")
    moved = {"maria-cb.safetensors", "maria-cb.preview.png", "maria-cb.txt", "maria-cb.resume"}
    assert names(folder) == others | moved
    after = load_embedding(folder / "maria-cb.safetensors")
    assert np.array_equal(before.vectors["clip_l"], after.vectors["clip_l"])
    assert before.metadata == after.metadata


def test_renaming_may_change_the_case(folder: Path) -> None:
    rename_person(folder, "anna-cb", "Anna-cb")
    assert find_person(folder, "Anna-cb").name == "Anna-cb"


@pytest.mark.parametrize(
    ("name", "new_name", "error"),
    [
        ("anna-cb", "ben-cb", NameTaken),
        ("anna-cb", "STYLE", NameTaken),
        ("anna-cb", "../anna", InvalidName),
        ("style", "mine-cb", InvalidEmbedding),
        ("damaged", "mine-cb", InvalidEmbedding),
        ("nobody-cb", "mine-cb", InvalidEmbedding),
        ("../anna-cb", "mine-cb", InvalidName),
    ],
)
def test_bad_renamings_change_nothing(folder: Path, name: str, new_name: str, error: type[Exception]) -> None:
    before = names(folder)
    with pytest.raises(error):
        rename_person(folder, name, new_name)
    assert names(folder) == before


def test_a_picture_that_is_in_the_way_stays(folder: Path) -> None:
    rename_person(folder, "ben-cb", "anna-cb-2")
    assert (folder / "anna-cb-2.preview.png").read_bytes() == b"somebody else's picture"
    assert find_person(folder, "anna-cb-2").name == "anna-cb-2"


def test_deleting_removes_the_person_and_nothing_else(folder: Path) -> None:
    before = names(folder)
    removed = delete_person(folder, "anna-cb")
    assert {path.name for path in removed} == before - names(folder)
    assert names(folder) == before - {"anna-cb.safetensors", "anna-cb.preview.png", "anna-cb.txt", "anna-cb.resume"}


@pytest.mark.parametrize("name", ["style", "damaged", "nobody-cb", "../anna-cb", ""])
def test_what_is_not_ours_is_never_deleted(folder: Path, name: str) -> None:
    before = names(folder)
    with pytest.raises((InvalidEmbedding, InvalidName)):
        delete_person(folder, name)
    assert names(folder) == before
