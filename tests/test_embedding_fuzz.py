"""Whatever the bytes are: an embedding that is one, or InvalidEmbedding. More than 10,000 files."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from celebbasis_ext.errors import InvalidEmbedding
from celebbasis_ext.files.embedding import MOST_VECTORS, load_embedding, pack_metadata, stored_coefficients
from celebbasis_ext.files.torch_file import legacy_torch_bytes

FILES_PER_EXAMPLE = 16  # hypothesis chooses the kind of damage once, and its places several times
many = settings(max_examples=280, deadline=None, suppress_health_check=list(HealthCheck), database=None)

read = {"files": 0, "embeddings": 0}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """In memory where there is such a place: ten thousand files cost a disk more than they cost the reader."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as made:
        yield Path(made)


def must_be_safe(folder: Path, content: bytes, suffix: str) -> None:
    path = folder / f"fuzzed{suffix}"
    path.write_bytes(content)
    read["files"] += 1
    try:
        embedding = load_embedding(path)
        coefficients = stored_coefficients(embedding)
    except InvalidEmbedding as error:
        assert "\n" not in error.message.strip() or len(error.message) < 2000
        return
    read["embeddings"] += 1
    assert embedding.vectors
    for vectors in embedding.vectors.values():
        assert vectors.dtype == np.float32 and vectors.ndim == 2
        assert 1 <= len(vectors) <= MOST_VECTORS and np.isfinite(vectors).all()
    assert coefficients is None or np.isfinite(coefficients).all()


@cache
def good_files() -> dict[str, bytes]:
    """One valid file of each layout, small, so that damage meets structure more often than numbers."""
    vectors = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    tensor = torch.from_numpy(vectors)
    header = pack_metadata(np.ones((2, 3), np.float32), steps=3, basis="f" * 16)
    old = {"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": "x", "step": 9}
    zipped = io.BytesIO()
    torch.save(old, zipped)
    sdxl = io.BytesIO()
    torch.save({"clip_l": tensor.half(), "clip_g": tensor.bfloat16()}, sdxl)
    return {
        "one.safetensors": save({"emb_params": vectors}, header),
        "two.safetensors": save({"clip_l": vectors, "clip_g": vectors.astype(np.float16)}),
        "legacy.pt": legacy_torch_bytes(old),
        "zip.pt": zipped.getvalue(),
        "two.bin": sdxl.getvalue(),
    }


def damaged(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """One of the ways in which files go wrong."""
    at, length = int(rng.integers(len(content))), int(rng.integers(1, 9))
    noise = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
    if kind == "cut":
        return content[:at]
    if kind == "insert":
        return content[:at] + noise + content[at:]
    if kind == "remove":
        return content[:at] + content[at + length :]
    if kind == "extremes":
        return content[:at] + bytes(rng.choice([0, 1, 127, 128, 255], length).tolist()) + content[at + length :]
    if kind == "repeat":
        return content[:at] + content[at : at + length] * 3 + content[at + length :]
    return content[:at] + noise + content[at + length :]


@many
@given(
    st.sampled_from(sorted(good_files())),
    st.sampled_from(["cut", "insert", "remove", "extremes", "repeat", "overwrite"]),
    st.integers(0, 2**32),
    st.integers(1, 3),
)
def test_damaged_files(folder: Path, name: str, kind: str, seed: int, times: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(FILES_PER_EXAMPLE):
        content = good_files()[name]
        for _ in range(times):
            content = damaged(content, kind, rng) or b"x"
        must_be_safe(folder, content, Path(name).suffix)


@many
@given(st.lists(st.binary(max_size=200), min_size=4, max_size=4))
def test_any_bytes(folder: Path, contents: list[bytes]) -> None:
    for content in contents:
        for suffix in (".safetensors", ".pt"):
            must_be_safe(folder, content, suffix)


numbers = st.one_of(st.integers(-2, 100), st.sampled_from([2**31, 2**62, 2**64, -(2**63)]))
tensor_headers = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "F64", "I64", "BOOL", "F8_E4M3", "C64", "X"]),
        "shape": st.lists(numbers, max_size=4),
        "data_offsets": st.lists(numbers, min_size=2, max_size=2),
    }
)
json_values = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


@many
@given(
    st.dictionaries(st.sampled_from(["emb_params", "clip_l", "clip_g", "x"]), tensor_headers, max_size=3),
    json_values,
    st.sampled_from([0, 0, 0, 1, 2**20, 2**40, 2**63]),
)
def test_safetensors_headers_that_claim_anything(
    folder: Path, tensors: dict[str, object], value: object, more: int
) -> None:
    for honest in (True, False):
        entries = {key: dict(t) for key, t in tensors.items()}  # type: ignore[call-overload]
        size = 0
        if honest:  # sizes that fit, so that the header is believed and what it says of dtype and shape counts
            for entry in entries.values():
                entry["shape"] = [2, 4]
                width = {"F64": 8, "I64": 8, "C64": 8, "F32": 4, "F16": 2, "BF16": 2}.get(entry["dtype"], 1)
                entry["data_offsets"] = [size, size + 8 * width]
                size += 8 * width
        metadata = {"celebbasis.coefficients": json.dumps(value), "celebbasis.steps": "["}
        header = json.dumps({"__metadata__": metadata, **entries}).encode()
        for body in (bytes(size), np.resize(np.array([255, 127], np.uint8), size).tobytes()):
            length = struct.pack("<Q", min(len(header) + more, 2**64 - 1))
            must_be_safe(folder, length + header + body, ".safetensors")
            must_be_safe(folder, struct.pack("<Q", len(header)) + header + body, ".safetensors")


opcodes = st.sampled_from(
    [
        b"(", b"}", b"]", b")", b"t", b"l", b"d", b"s", b"u", b"a", b"e", b"R", b"b", b"Q", b"\x81", b"\x85", b"\x86",
        b"0", b"1", b"2", b"N", b"\x88", b"q\x00", b"h\x00", b"r\xff\xff\xff\x7f", b"j\xff\xff\xff\x7f",
        b"K\x02", b"J\xff\xff\xff\x7f", b"M\xff\xff", b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", b"G" + b"\x7f" * 8,
        b"X\x01\x00\x00\x00*", b"X\x07\x00\x00\x00storage", b"X\x01\x00\x00\x000", b"X\xff\xff\xff\x7f",
        b"\x96\x00\x00\x00\x00\xff\x00\x00\x00", b"\x8d\xff\xff\xff\xff\xff\x00\x00\x00", b"\x8b\xff\xff\xff\x7f",
        b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n",
        b"ctorch.nn.modules.container\nParameterDict\n", b"cos\nsystem\n", b"cbuiltins\neval\n", b"i os\nsystem\n",
        b"X\x0f\x00\x00\x00string_to_param", b"ctorch._utils\n_rebuild_parameter\n", b"\x93", b"\x82\x01", b"o",
    ]
)  # fmt: skip


@many
@given(st.lists(st.lists(opcodes, max_size=25), min_size=4, max_size=4), st.binary(max_size=40))
def test_pickles_of_any_opcodes(folder: Path, programs: list[list[bytes]], storage: bytes) -> None:
    legacy = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    for program in programs:
        code = b"\x80\x02" + b"".join(program) + b"."
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("x/data.pkl", code)
            archive.writestr("x/data/0", storage)
        must_be_safe(folder, packed.getvalue(), ".pt")
        must_be_safe(folder, legacy + code + pickle.dumps(["0"], 2) + storage, ".bin")


@many
@given(
    st.lists(numbers, max_size=3), st.lists(numbers, max_size=3), numbers, numbers, st.sampled_from(["Float", "Half"])
)
def test_tensors_that_claim_any_size(
    folder: Path, size: list[int], stride: list[int], offset: int, numel: int, kind: str
) -> None:
    """A pickle like torch's own, in which only the numbers are wrong."""
    for count, step in ((numel, stride), (8, [4, 1]), (8, stride), (numel, [1])):
        code = _tensor_pickle(size, step, offset, count, kind)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("x/data.pkl", code)
            archive.writestr("x/data/0", np.arange(8, dtype=np.float32).tobytes())
        must_be_safe(folder, packed.getvalue(), ".pt")
        must_be_safe(folder, packed.getvalue()[: -(abs(count) % 30) or None], ".pt")


def _tensor_pickle(size: list[int], stride: list[int], offset: int, numel: int, kind: str) -> bytes:
    def body(value: object) -> bytes:
        return pickle.dumps(value, 2)[2:-1].replace(b"q\x00", b"").replace(b"q\x01", b"")

    storage = (
        b"(" + body("storage") + f"ctorch\n{kind}Storage\n".encode() + body("0") + body("cpu") + body(numel) + b"tQ"
    )
    shape = b"(" + b"".join(map(body, size)) + b"t(" + b"".join(map(body, stride)) + b"t"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + body(offset) + shape + b"\x89)tR"
    return b"\x80\x02}" + body("emb_params") + rebuilt + b"s."


def test_the_fuzzing_was_worth_its_name() -> None:
    """Runs last: enough files, and some of them readable, else only the first check was fuzzed."""
    if read["files"] < 5000:
        pytest.skip("only some of the tests above were run")
    assert read["files"] > 10_000
    assert read["embeddings"] > 200
    print(read)
