"""`.ckpt` files: pickles, of which only weights are read. Code in them is never run."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celebbasis_ext.errors import UnsupportedCheckpoint
from celebbasis_ext.files.safetensors_header import Header

_DTYPES = {
    "float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int8": "I8", "uint8": "U8", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
# What trainers leave in the first public checkpoints beside the weights.
_LEFTOVERS = (
    ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
)


class _StandIn:
    """Takes the place of a trainer's leftover, and does nothing."""

    def __init__(self, *args: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


@contextmanager
def leftovers_allowed() -> Iterator[None]:
    """While open, `torch.load(weights_only=True)` reads over trainers' leftovers; where torch is older than 2.5 it
    refuses them as before."""
    import torch

    safe_globals = getattr(torch.serialization, "safe_globals", None)
    if safe_globals is None:
        yield
        return
    stand_ins = [type(name, (_StandIn,), {"__module__": module}) for module, name in _LEFTOVERS]
    with safe_globals(stand_ins):
        yield


def read_pickled_header(path: Path) -> Header:
    """Names, shapes and types of the weights in a `.ckpt`.

    Raises:
        UnsupportedCheckpoint: If the file cannot be read, is damaged, or holds more than weights.
    """
    state = _state_dict(_loaded(path))
    tensors = {str(name): value for name, value in state.items() if hasattr(value, "dtype") and hasattr(value, "shape")}
    return Header(
        shapes={name: tuple(value.shape) for name, value in tensors.items()},
        dtypes={name: _DTYPES.get(str(value.dtype).removeprefix("torch."), "?") for name, value in tensors.items()},
    )


def _loaded(path: Path) -> Any:
    import pickle

    import torch

    try:
        mapped = {"mmap": True} if zipfile.is_zipfile(path) else {}
        with leftovers_allowed():
            return torch.load(str(path), map_location="cpu", weights_only=True, **mapped)
    except pickle.UnpicklingError as error:
        raise _not_only_weights(path, str(error)) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise UnsupportedCheckpoint(
            f"{path} cannot be read as a checkpoint ({first_line}).", "Check the path, or download the file again."
        ) from error


def _not_only_weights(path: Path, reason: str) -> UnsupportedCheckpoint:
    asked = re.search(r"(?:GLOBAL|Unsupported class|Unsupported function) ([\w.]+)", reason)
    if asked is None:
        return UnsupportedCheckpoint(
            f"{path} is damaged, or holds more than weights; nothing in it was run.", "Download the file again."
        )
    return UnsupportedCheckpoint(
        f"{path.name} holds more than weights: it asks for {asked.group(1)}. Files like that can run programs; "
        "this one was not allowed to.",
        "Use a .safetensors version of the checkpoint.",
    )


def _state_dict(loaded: Any) -> Mapping[Any, Any]:
    while isinstance(loaded, Mapping) and "state_dict" in loaded:
        loaded = loaded["state_dict"]
    return loaded if isinstance(loaded, Mapping) else {}
