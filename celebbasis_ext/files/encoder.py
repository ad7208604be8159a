"""An encoder as a file: its arrays, and in the header whose it is and how it was made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from celebbasis_ext.errors import WrongEncoder
from celebbasis_ext.files.atomic import write_whole
from celebbasis_ext.types import Encoder, Floats

_ARRAYS = ("weight", "bias", "radius", "spread", "decoder", "sureness")
_OURS = "celebbasis."


def save_encoder(encoder: Encoder, path: Path) -> None:
    """Writes it, whole or not at all; raises CannotWrite."""
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(getattr(encoder, name)) for name in _ARRAYS}
    for number, (weight, bias) in enumerate(encoder.network):
        tensors |= {f"network.{number}.weight": weight, f"network.{number}.bias": bias}
    header = {
        "basis": encoder.basis,
        "checkpoint": encoder.checkpoint,
        "faces": encoder.faces,
        "doubt": json.dumps(encoder.doubt),
    }
    header |= {f"fact.{key}": text for key, text in encoder.facts.items()}
    write_whole(path, save(tensors, {_OURS + key: text for key, text in header.items()}))


def load_encoder(path: Path) -> Encoder:
    """Reads it.

    Raises:
        WrongEncoder: The file is missing, damaged, or no encoder.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
            header = {key.removeprefix(_OURS): text for key, text in (file.metadata() or {}).items()}
        facts = {key.removeprefix("fact."): text for key, text in header.items() if key.startswith("fact.")}
        encoder = Encoder(
            **{name: tensors[name] for name in _ARRAYS}, network=_network(tensors), doubt=float(header["doubt"]),
            basis=header["basis"], checkpoint=header["checkpoint"], faces=header["faces"], facts=facts,
        )  # fmt: skip
        _check_shapes(encoder)
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise WrongEncoder(
            f"{path.name} is no encoder that can be read ({error}).", "Learn the checkpoint's encoder again."
        ) from error
    return encoder


def _network(tensors: dict[str, Floats]) -> tuple[tuple[Floats, Floats], ...]:
    count = sum(key.startswith("network.") and key.endswith(".weight") for key in tensors)
    return tuple((tensors[f"network.{i}.weight"], tensors[f"network.{i}.bias"]) for i in range(count))


def _check_shapes(encoder: Encoder) -> None:
    """Raises ValueError where the arrays do not belong together or are not numbers."""
    length, width = encoder.weight.shape
    expected = {
        "bias": (width,), "spread": (width, width), "decoder": (width + 1, length), "sureness": (2,),
    }  # fmt: skip
    for name, shape in expected.items():
        if getattr(encoder, name).shape != shape:
            raise ValueError(f"{name} has the shape {getattr(encoder, name).shape}, expected {shape}")
    layers = [array for layer in encoder.network for array in layer]
    for array in (encoder.weight, encoder.bias, encoder.decoder, encoder.spread, *layers):
        if not np.isfinite(array).all():
            raise ValueError("it holds numbers that are not finite")


def as_text(encoder: Encoder) -> str:
    """What it is, for people: a line for each fact."""
    own = {"checkpoint": encoder.checkpoint, "basis": encoder.basis, "faces": encoder.faces}
    return "\n".join(f"{key}: {text}" for key, text in {**own, **encoder.facts}.items())
