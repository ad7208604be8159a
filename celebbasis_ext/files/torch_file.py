"""Tensors out of torch's own files (.pt, .bin) without running anything that stands in them.

This is stricter than `torch.load(weights_only=True)`, which before torch 2.6 can be made to run code
(CVE-2025-32434), believes the sizes that a file claims, and cannot read the `ParameterDict` of early
Textual-Inversion files. Here a pickle may use a closed list of opcodes and names, every name stands for a record that
does nothing, and no size is believed before it is compared with the bytes that are there.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from celebbasis_ext.types import Floats

LARGEST_FILE = 64 << 20
_LARGEST_PICKLE = 1 << 20
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_OPCODES = (
    b"\x80", b".", b"(", b"}", b"]", b")", b"\x85", b"\x86", b"\x87", b"t", b"l", b"d", b"a", b"e", b"s", b"u", b"N",
    b"\x88", b"\x89", b"J", b"K", b"M", b"\x8a", b"G", b"X", b"U", b"q", b"r", b"h", b"j", b"c", b"R", b"b", b"\x81",
    b"Q", b"\x95", b"\x8c", b"\x94", b"\x93",
)  # fmt: skip
"""What `torch.save` writes: structure, constants, memo, and names with what is made of them, which `_KNOWN` tames. The
last four come from protocol 4, in which torch does not write, but whoever hides code may."""


class ForeignCode(ValueError):
    """The file names something that is neither a tensor nor a container; `args[0]` is its dotted name."""


class _Mapping(dict[Any, Any]):
    """A dict whose keys are plain; a deeply nested tuple as key could exhaust the stack."""

    def __init__(self, pairs: Iterable[tuple[Any, Any]] = ()) -> None:
        super().__init__()
        for key, value in pairs:
            self[key] = value

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, str | int):
            raise ValueError("a key is neither text nor number")
        super().__setitem__(key, value)


class _ParameterDict:
    """torch.nn.ParameterDict; its tensors stand in `_parameters`."""


@dataclass(frozen=True)
class _Storage:
    """Where numbers are kept: a key, their dtype ("bf16" is numpy's gap), and how many are claimed to be there."""

    key: str
    dtype: str
    numel: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor before its numbers are read."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self, raw: bytes) -> Floats:
        """[*size] float32 out of the storage's bytes; raises ValueError where they do not reach."""
        dtype = np.dtype("<u2" if self.storage.dtype == "bf16" else self.storage.dtype)
        reach = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True)) + 1
        if min((*self.size, *self.stride, self.offset, self.storage.numel), default=0) < 0:
            raise ValueError("a tensor has a negative size")
        if max(self.storage.numel, reach) * dtype.itemsize > len(raw) or len(self.size) > 8:
            raise ValueError("a tensor claims more numbers than there are")
        if 0 in self.size:
            return np.zeros([min(n, 1) for n in self.size], np.float32)
        if int(np.prod(self.size, dtype=np.float64)) > len(raw) // dtype.itemsize:
            raise ValueError("a tensor repeats its numbers")
        numbers = np.frombuffer(raw, dtype, len(raw) // dtype.itemsize)[self.offset :]
        strides = [step * dtype.itemsize for step in self.stride]
        return _as_float32(np.lib.stride_tricks.as_strided(numbers, self.size, strides), self.storage.dtype)


def _as_float32(numbers: np.ndarray, dtype: str) -> Floats:
    if dtype == "bf16":
        return np.array((numbers.astype(np.uint32) << 16).view(np.float32))
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which whoever asked will refuse
        return np.array(numbers, np.float32)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> StoredTensor:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, _Storage) or not all(type(n) is int and abs(n) < 1 << 40 for n in numbers):
        raise ValueError("a tensor is not described by numbers")
    return StoredTensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _nothing(*_: Any) -> None:
    """For what a ParameterDict carries along and nobody asks for."""


_DTYPES = {
    "Float": "<f4", "Half": "<f2", "Double": "<f8", "BFloat16": "bf16",
    "Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1", "Bool": "u1",
}  # fmt: skip
_KNOWN: Mapping[str, Any] = {
    "collections.OrderedDict": _Mapping,
    "torch.nn.modules.container.ParameterDict": _ParameterDict,
    "__builtin__.set": _nothing,
    "builtins.set": _nothing,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    **{f"torch.{kind}Storage": dtype for kind, dtype in _DTYPES.items()},
}


class _Unpickler(pickle._Unpickler):
    """Knows the opcodes of `_OPCODES` and the names of `_KNOWN`. The Python one: C's memo believes any index."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        opcode[0]: pickle._Unpickler.dispatch[opcode[0]] for opcode in _OPCODES
    }

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get(f"{module}.{name}")
        if known is None:
            raise ForeignCode(f"{module}.{name}")
        return known

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":  # a class with its source, before torch 1.6; `find_class` has looked at it already
            return pid[1]
        kind, dtype, key, _, numel, *view = pid
        if kind != "storage" or dtype not in _DTYPES.values() or any(v is not None for v in view):
            raise ValueError("a storage of an unknown kind")
        if type(key) is not str or type(numel) is not int or not 0 <= numel <= LARGEST_FILE:
            raise ValueError("a storage is not described by numbers")
        return self.storages.setdefault(key, _Storage(key, dtype, numel))

    def load_plain_dict(self) -> None:
        self.append(_Mapping())  # type: ignore[attr-defined]

    dispatch[pickle.EMPTY_DICT[0]] = load_plain_dict


@dataclass(frozen=True)
class TorchFile:
    """What stands in a file: containers, text, numbers, and tensors that are not read yet.

    Attributes:
        content: The pickled object.
        storage: Gives a storage's bytes.
    """

    content: Any
    storage: Callable[[_Storage], bytes]

    def array(self, tensor: StoredTensor) -> Floats:
        """[*size] float32; raises ValueError where the file is damaged."""
        try:
            return tensor.read(self.storage(tensor.storage))
        except Exception as error:  # zip and zlib raise their own
            raise ValueError(f"its numbers are damaged ({error or type(error).__name__})") from error


def entries_of(container: object) -> Mapping[Any, Any]:
    """The entries of a mapping, or of a ParameterDict; none of anything else."""
    if isinstance(container, _ParameterDict):
        container = vars(container).get("_parameters")
    return container if isinstance(container, dict) else {}


def read_torch_file(path: Path) -> TorchFile:
    """Reads a file that `torch.save` has written, in its zip format or in the one before torch 1.6.

    Raises:
        ForeignCode: If it names anything that is no tensor; nothing was run.
        ValueError: If it is damaged, too large, or of another kind.
        OSError: If it cannot be read.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"it has more than {LARGEST_FILE >> 20} MiB")
    raw = path.read_bytes()
    try:
        return _from_zip(raw) if zipfile.is_zipfile(io.BytesIO(raw)) else _from_legacy(raw)
    except ForeignCode:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"it is damaged or no file of torch ({error or type(error).__name__})") from error


def _from_zip(raw: bytes) -> TorchFile:
    archive = zipfile.ZipFile(io.BytesIO(raw))
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    (described,) = [name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl")]
    if sizes[described] > _LARGEST_PICKLE or sum(sizes.values()) > 2 * LARGEST_FILE:
        raise ValueError("it unpacks to too much")
    folder = described.removesuffix("data.pkl")
    if f"{folder}byteorder" in sizes and archive.read(f"{folder}byteorder") != b"little":
        raise ValueError("its bytes are in the order of another machine")
    content = _Unpickler(io.BytesIO(archive.read(described))).load()
    return TorchFile(content, lambda storage: archive.read(f"{folder}data/{storage.key}"))


def _from_legacy(raw: bytes) -> TorchFile:
    """Five pickles (magic, version, machine, object, storage keys), then each storage: its length and its numbers."""
    file = io.BytesIO(raw)
    unpicklers = [_Unpickler(file) for _ in range(5)]
    magic, version = (unpickler.load() for unpickler in unpicklers[:2])
    if magic != _LEGACY_MAGIC or version != _LEGACY_PROTOCOL:
        raise ValueError("its beginning is another's")
    machine, content, keys = (unpickler.load() for unpickler in unpicklers[2:])
    if not machine["little_endian"]:
        raise ValueError("its bytes are in the order of another machine")
    places = _legacy_storages(raw, file.tell(), [unpicklers[3].storages[key] for key in keys])
    return TorchFile(content, lambda storage: raw[places[storage.key]])


def _legacy_storages(raw: bytes, start: int, storages: list[_Storage]) -> dict[str, slice]:
    """Where each storage's bytes are: one after the other, each behind its number of items."""
    places = {}
    for storage in storages:
        (numel,) = struct.unpack_from("<q", raw, start)
        end = start + 8 + numel * _item_size(storage.dtype)
        if not start + 8 <= end <= len(raw):
            raise ValueError("a storage is longer than the file")
        places[storage.key] = slice(start + 8, end)
        start = end
    return places


def _item_size(dtype: str) -> int:
    return 2 if dtype == "bf16" else np.dtype(dtype).itemsize


def legacy_torch_bytes(content: object) -> bytes:
    """What `torch.save` wrote before torch 1.6. The WebUI's check up to 1.9 refuses newer files for what today's
    torch adds to the zip."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()
