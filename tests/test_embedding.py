"""The file: names, atomic writing, what is in it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from celebbasis_ext.errors import InvalidEmbedding, InvalidName, NameTaken
from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.files.embedding import (
    check_free,
    check_name,
    load_embedding,
    pack_metadata,
    save_embedding,
    stored_coefficients,
)
from celebbasis_ext.types import Embedding

VECTORS = np.random.default_rng(0).standard_normal((2, 96)).astype(np.float32)
COEFFICIENTS = np.random.default_rng(1).standard_normal((2, 9)).astype(np.float32)


def anna(**facts: object) -> Embedding:
    return Embedding("anna-cb", {"clip_l": VECTORS}, pack_metadata(COEFFICIENTS, version="0", **facts))


def test_what_is_saved_can_be_loaded(tmp_path: Path) -> None:
    path = save_embedding(anna(steps=7), tmp_path, preview=np.zeros((8, 8, 3), np.uint8))
    loaded = load_embedding(path)
    assert loaded.name == "anna-cb"
    assert np.array_equal(loaded.vectors["clip_l"], VECTORS)
    assert loaded.metadata["celebbasis.steps"] == "7"
    assert "made_by" in " ".join(loaded.metadata)
    coefficients = stored_coefficients(loaded)
    assert coefficients is not None
    assert np.allclose(coefficients, COEFFICIENTS, rtol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["anna-cb.preview.png", "anna-cb.safetensors"]


def test_hosts_find_exactly_one_tensor_under_the_agreed_key(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(save_embedding(anna(), tmp_path))
    assert list(tensors) == ["emb_params"]
    assert tensors["emb_params"].shape == (2, 96)
    both = Embedding("x-cb", {"clip_l": VECTORS, "clip_g": VECTORS})
    assert set(load_file(save_embedding(both, tmp_path))) == {"clip_l", "clip_g"}


def test_an_existing_embedding_is_never_overwritten_unasked(tmp_path: Path) -> None:
    path = save_embedding(anna(), tmp_path)
    before = path.read_bytes()
    with pytest.raises(NameTaken, match="exists already"):
        save_embedding(anna(steps=99), tmp_path)
    assert path.read_bytes() == before
    (tmp_path / "Ben-CB.pt").write_bytes(b"somebody else's")
    with pytest.raises(NameTaken, match="Ben-CB"):
        check_free(tmp_path, "ben-cb")
    assert load_embedding(save_embedding(anna(steps=99), tmp_path, overwrite=True)).metadata["celebbasis.steps"] == "99"


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "../up", "a/b", "a\\b", "con", "COM1", "x" * 300, "a\n", "a:1.2", "(a)", "a,b", "-a", "a.", "<a>"],
)
def test_bad_names_are_refused_with_a_proposal(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidName) as caught:
        save_embedding(Embedding(name, {"clip_l": VECTORS}), tmp_path)
    proposal = caught.value.hint.removesuffix(".").split()[-1]
    assert check_name(proposal).endswith("-cb")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["anna-cb", "anna_2", "anna.v2", "Äönna", "7"])
def test_good_names_pass(name: str) -> None:
    assert check_name(name) == name


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_embedding_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"not a file of that kind")
    two = tmp_path / "two.safetensors"
    save_file({"a": VECTORS, "b": VECTORS}, two)
    deep = tmp_path / "deep.safetensors"
    save_file({"a": VECTORS[None]}, deep)
    for path in (garbage, two, deep, tmp_path / "missing.safetensors"):
        with pytest.raises(InvalidEmbedding, match=path.name):
            load_embedding(path)
