"""The first bytes of a `.safetensors` file: what is in it, without reading it."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celebbasis_ext.errors import UnsupportedCheckpoint

# The format's own limit; a longer header is no header.
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Header:
    """What a file of weights holds.

    Attributes:
        shapes: {name: shape} of every tensor.
        dtypes: {name: type} as safetensors calls them: "F32", "F16", "BF16", "F8_E4M3", "U8" ...
        metadata: Free text of whoever wrote the file.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """Reads names, shapes and types, and checks that the file is as long as its header says.

    Raises:
        UnsupportedCheckpoint: If the file cannot be read, is no safetensors file, or is cut short.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = _header_length(file.read(8), size)
            entries = json.loads(file.read(length))
        metadata = entries.pop("__metadata__", None) or {}
        end = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        header = _header(entries, metadata)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise UnsupportedCheckpoint(
            f"{path} cannot be read as a .safetensors file ({error}).", "Check the path, or download the file again."
        ) from error
    if size < end:
        raise UnsupportedCheckpoint(
            f"{path.name} is cut short: its header speaks of {end:,} bytes, but the file has {size:,}.",
            "Download the file again.",
        )
    return header


def _header_length(start: bytes, size: int) -> int:
    if len(start) < 8:
        raise ValueError(f"it has only {size} bytes")
    length = int(struct.unpack("<Q", start)[0])
    if length > min(size - 8, _LONGEST_HEADER):
        raise ValueError("it has no header, or ends inside it")
    return length


def _header(entries: Mapping[str, Any], metadata: Mapping[str, str]) -> Header:
    return Header(
        shapes={name: tuple(entry["shape"]) for name, entry in entries.items()},
        dtypes={name: str(entry["dtype"]) for name, entry in entries.items()},
        metadata={str(key): str(value) for key, value in metadata.items()},
    )
