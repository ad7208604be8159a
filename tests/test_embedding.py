"""The file: names, atomic writing, what is in it, and what is refused."""

from __future__ import annotations

import errno
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file as save_torch_file

from celebbasis_ext.errors import CannotWrite, InvalidEmbedding, InvalidName, NameTaken
from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.files.embedding import (
    check_free,
    check_width,
    load_embedding,
    pack_metadata,
    save_embedding,
    stored_coefficients,
)
from celebbasis_ext.files.name_rules import check_name
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
    assert sorted(p.name for p in tmp_path.iterdir()) == ["anna-cb.preview.png", "anna-cb.safetensors", "anna-cb.txt"]


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


def saved_by_torch(tmp_path: Path, name: str, content: object, zipped: bool = True) -> Path:
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
    return tmp_path / name


def test_anybodys_safetensors_can_be_loaded(tmp_path: Path) -> None:
    tensor = torch.from_numpy(np.random.default_rng(2).standard_normal((3, 1024)).astype(np.float32))
    save_torch_file({"whatever": tensor.bfloat16()}, tmp_path / "b.safetensors")
    save_torch_file({"x": tensor[0, :768].half().contiguous()}, tmp_path / "one.safetensors")
    ((name, loaded),) = load_embedding(tmp_path / "b.safetensors").vectors.items()
    assert name == "clip_h"
    assert np.array_equal(loaded, tensor.bfloat16().float().numpy())
    assert load_embedding(tmp_path / "one.safetensors").vectors["clip_l"].shape == (1, 768)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_anybodys_old_files_can_be_loaded(zipped: bool, dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.from_numpy(np.random.default_rng(3).standard_normal((2, 768)).astype(np.float32)).to(dtype)
    webui = {"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "step": 500, "sd_checkpoint_name": "v1-5"}
    loaded = load_embedding(saved_by_torch(tmp_path, "webui.pt", webui, zipped))
    assert np.array_equal(loaded.vectors["clip_l"], tensor.float().numpy())
    assert loaded.metadata == {"step": "500", "sd_checkpoint_name": "v1-5"}
    concept = load_embedding(saved_by_torch(tmp_path, "learned_embeds.bin", {"<anna>": tensor[0]}, zipped))
    assert np.array_equal(concept.vectors["clip_l"], tensor[:1].float().numpy())
    both = {"clip_g": torch.ones(2, 1280, dtype=dtype), "clip_l": tensor}
    loaded = load_embedding(saved_by_torch(tmp_path, "sdxl.pt", both, zipped))
    assert {e: v.shape for e, v in loaded.vectors.items()} == {"clip_l": (2, 768), "clip_g": (2, 1280)}


@pytest.mark.parametrize("zipped", [True, False])
def test_the_first_textual_inversion_files_can_be_loaded(zipped: bool, tmp_path: Path) -> None:
    """rinongal's code kept a ParameterDict and a tensor as token, which torch.load(weights_only=True) refuses."""
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(torch.full((1, 768), 0.5))})
    path = saved_by_torch(
        tmp_path, "first.pt", {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": parameters}, zipped
    )
    assert np.array_equal(load_embedding(path).vectors["clip_l"], np.full((1, 768), 0.5, np.float32))


def test_views_of_a_storage_are_read_as_torch_reads_them(tmp_path: Path) -> None:
    whole = torch.arange(4 * 768, dtype=torch.float32).reshape(768, 4)
    path = saved_by_torch(tmp_path, "view.pt", {"*": whole.T[1:3], "a number": 3})
    assert np.array_equal(load_embedding(path).vectors["clip_l"], whole.T[1:3].numpy())


class Opens:
    """A pickle that writes a file when it is loaded the careless way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain", "in the vectors"])
def test_code_in_a_pickle_is_refused_and_does_not_run(kind: str, tmp_path: Path) -> None:
    trap, path = tmp_path / "ran", tmp_path / "evil.pt"
    if kind == "plain":
        path.write_bytes(pickle.dumps(Opens(trap)))
    else:
        content = {"string_to_param": {"*": Opens(trap)}} if kind == "in the vectors" else Opens(trap)
        saved_by_torch(tmp_path, path.name, content, zipped=kind != "legacy")
    with pytest.raises(InvalidEmbedding, match=r"carries code \(\w+\.open\), which was not run"):
        load_embedding(path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Opens(trap)))
    assert trap.exists(), "else the trap itself is broken"


BAD_TENSORS = {
    "three dimensions": {"emb_params": torch.zeros(1, 2, 768)},
    "no vectors": {"emb_params": torch.zeros(0, 768)},
    "no numbers": {},
    "too many vectors": {"emb_params": torch.zeros(76, 768)},
    "absurdly wide": {"emb_params": torch.zeros(1, 9000)},
    "a LoRA": {f"lora_{i}": torch.zeros(4, 4) for i in range(30)},
    "not a number": {"emb_params": torch.full((2, 768), torch.nan)},
    "unequal": {"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(3, 1280)},
}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("kind", BAD_TENSORS)
def test_what_cannot_be_an_embedding_is_refused_with_what_was_expected(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    if suffix == ".pt":
        torch.save(BAD_TENSORS[kind], path)
    else:
        save_torch_file(BAD_TENSORS[kind], path)
    with pytest.raises(InvalidEmbedding, match=r"bad\..* is no embedding: expected .*; got ") as caught:
        load_embedding(path)
    assert len(str(caught.value)) < 300


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.pt"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(7 << 30)  # sparse: it takes no room
        with pytest.raises(InvalidEmbedding, match="more than 64 MiB"):
            load_embedding(tmp_path / name)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}.")
        with archive.open("x/data/0", "w", force_zip64=True) as file:
            for _ in range(200):
                file.write(bytes(1 << 20))
    assert (tmp_path / "bomb.pt").stat().st_size < 1 << 20
    with pytest.raises(InvalidEmbedding, match="unpacks to too much"):
        load_embedding(tmp_path / "bomb.pt")


@pytest.mark.parametrize("text", ["[[NaN]]", "[]", "{}", "[[1], [2, 3]]", '"x"', "[[", "1e999", '[["a"]]'])
def test_a_damaged_header_is_refused(text: str) -> None:
    embedding = Embedding("anna-cb", {"clip_l": VECTORS}, {"celebbasis.coefficients": text})
    with pytest.raises(InvalidEmbedding, match="damaged"):
        stored_coefficients(embedding)


def test_the_width_must_be_the_checkpoints() -> None:
    check_width(anna(), {"clip_l": 96})
    with pytest.raises(InvalidEmbedding, match="expected vectors 768 wide for clip_l and vectors 1280 wide for clip_g"):
        check_width(anna(), {"clip_l": 768, "clip_g": 1280})


def test_a_twin_in_the_old_format_never_stays_behind(tmp_path: Path) -> None:
    """Of two files of one name hosts load whichever comes last, so that both have to say the same."""
    save_embedding(anna(), tmp_path, also_pt=True)
    newer = Embedding("anna-cb", {"clip_l": VECTORS + 1})
    save_embedding(newer, tmp_path, overwrite=True)
    for suffix in (".safetensors", ".pt"):
        assert np.array_equal(load_embedding(tmp_path / f"anna-cb{suffix}").vectors["clip_l"], VECTORS + 1)


@pytest.mark.parametrize("other", ["anna-cb.bin", "Anna-CB.safetensors", "people/anna-cb.safetensors"])
def test_what_overwriting_would_leave_in_the_way_is_refused(other: str, tmp_path: Path) -> None:
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).write_bytes(b"somebody else's")
    with pytest.raises(NameTaken, match="exists already"):
        check_free(tmp_path, "anna-cb")
    with pytest.raises(NameTaken, match="Move that file away"):
        check_free(tmp_path, "anna-cb", overwrite=True)


def test_what_a_killed_process_left_is_cleared_at_the_next_save(tmp_path: Path) -> None:
    old, young = (tmp_path / f".anna-cb.safetensors.{key}.unfinished" for key in ("01234567", "89abcdef"))
    foreign = tmp_path / "notes.unfinished"
    for path in (old, young, foreign):
        path.write_bytes(b"half")
        os.utime(path, (0, 0)) if path is not young else None
    save_embedding(anna(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([young.name, foreign.name, "anna-cb.safetensors"])


def test_a_failing_file_system_is_an_error_with_a_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_embedding(anna(), tmp_path)
    before = path.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CannotWrite, match=r"no space left on device\. Make room"):
        save_embedding(anna(steps=5), tmp_path, overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
