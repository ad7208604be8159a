"""The LoRA file: kohya's layout, which A1111, Forge, ComfyUI and diffusers read, with a header that says what it is.

`<layer>.lora_down.weight` [r, in], `<layer>.lora_up.weight` [out, r] and `<layer>.alpha`; hosts add
alpha / r * up @ down (kohya-ss/sd-scripts, networks/lora.py, `LoRAModule`). For the layers' names see `lora_names`.
Of the header the WebUI shows and uses the ss_ keys: the name in prompts, the family, the words to go with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from celebbasis_ext.errors import InvalidLora, NameTaken
from celebbasis_ext.files.atomic import write_whole
from celebbasis_ext.files.name_rules import check_name
from celebbasis_ext.types import Checkpoint, Floats, Lora, LowRank

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
_SUFFIXES = (SUFFIX, ".pt", ".ckpt")
_DOWN, _UP, _ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"
_BASE_MODEL = {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}


def lora_folder(embeddings: Path) -> Path:
    """Where LoRAs go, beside a folder of embeddings: the WebUI's models/Lora where it is there, else `loras`, which is
    ComfyUI's name. One folder for both would not do, because both files have the trigger word as their name."""
    webui = embeddings.parent / "models" / "Lora"
    return webui if webui.is_dir() else embeddings.parent / "loras"


def check_free(folder: Path, name: str, overwrite: bool = False) -> Path:
    """Where the LoRA will be written.

    Raises:
        NameTaken: If a file of that name, in any case or kind, is in the folder or below. With `overwrite` only those
            that would not be replaced count: hosts would go on to load one of them.
        InvalidName: See `check_name`.
    """
    path = folder / f"{check_name(name)}{SUFFIX}"
    for other in _loras_in(folder):
        if other.stem.lower() == name.lower() and not (overwrite and other == path):
            raise NameTaken(
                f"A LoRA named {other.stem!r} exists already ({other}).",
                "Move that file away." if overwrite else "Choose another name, or overwrite it.",
            )
    return path


def _loras_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _SUFFIXES)


def save_lora(lora: Lora, folder: Path, overwrite: bool = False) -> Path:
    """Writes `<name>.safetensors`, whole or not at all; the folder is made where it is missing.

    Raises:
        InvalidName, NameTaken, CannotWrite: See `check_free` and `replacing`.
    """
    from safetensors.numpy import save

    path = check_free(folder, lora.name, overwrite)
    tensors: dict[str, Floats] = {}
    for name, layer in lora.layers.items():
        tensors[name + _DOWN] = np.ascontiguousarray(layer.down, np.float32)
        tensors[name + _UP] = np.ascontiguousarray(layer.up, np.float32)
        tensors[name + _ALPHA] = np.array(len(layer.down), np.float32)
    write_whole(path, save(tensors, dict(lora.metadata)))
    return path


def pack_metadata(
    lora: Lora, checkpoint: Checkpoint, origin: str, trigger: str | None = None, **facts: object
) -> dict[str, str]:
    """Header text.

    Args:
        lora: For its name and rank.
        checkpoint: Which it was learned on.
        origin: What it was learned from, in words.
        trigger: The word that goes with it.
        facts: Whatever else is to be known, as JSON values.
    """
    rank = str(max(len(layer.down) for layer in lora.layers.values()))
    header = {
        "ss_output_name": lora.name,
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        "ss_network_alpha": rank,
        "ss_base_model_version": _BASE_MODEL[checkpoint.family],
        "ss_v2": str(checkpoint.family == "sd2"),
        "ss_sd_model_name": checkpoint.name,
        "ss_new_sd_model_hash": checkpoint.sha256,
        "modelspec.title": lora.name,
        "celebbasis.made_by": f"Celeb Basis, {origin}",
        "celebbasis.checkpoint": json.dumps(vars(checkpoint)),
    }
    if trigger is not None:
        header |= {"ss_tag_frequency": json.dumps({lora.name: {trigger: 1}}), "modelspec.trigger_phrase": trigger}
    return header | {f"celebbasis.{key}": json.dumps(value) for key, value in facts.items()}


def load_lora(path: Path) -> Lora:
    """Reads a LoRA in kohya's layout, anybody's; alpha / r goes into `up`.

    Raises:
        InvalidLora: If it is missing, damaged, or holds anything else.
    """
    try:
        tensors, metadata = _read(path)
        layers = {key.removesuffix(_DOWN): _layer(tensors, key) for key in tensors if key.endswith(_DOWN)}
        known = {name + part for name in layers for part in (_DOWN, _UP, _ALPHA)}
        others = sorted(set(tensors) - known)
        if not layers or others:
            raise ValueError(f"expected lora_down, lora_up and alpha, got {', '.join(others[:3]) or 'nothing'}")
    except (ValueError, KeyError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InvalidLora(
            f"{path} cannot be read as a LoRA: {reason}.", "Choose a .safetensors file in kohya's layout."
        ) from error
    return Lora(path.stem, layers, metadata)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Raises ValueError or OSError; the torch reader, because numpy knows no bfloat16."""
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        raise ValueError("it is a directory")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key).float() for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"it is damaged or no .safetensors file ({error})") from error


def _layer(tensors: Mapping[str, Tensor], key: str) -> LowRank:
    """Raises ValueError and KeyError."""
    name = key.removesuffix(_DOWN)
    down, up = (np.array(tensors[name + part].numpy(), np.float32) for part in (_DOWN, _UP))
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1] or not down.size:
        raise ValueError(f"expected [r, in] and [out, r] for {name}, got {list(down.shape)} and {list(up.shape)}")
    alpha = tensors.get(name + _ALPHA)
    scale = 1.0 if alpha is None else float(alpha) / len(down)
    if not (np.isfinite(down).all() and np.isfinite(up).all() and np.isfinite(scale)):
        raise ValueError("some of its numbers are not finite")
    return LowRank(down, up * np.float32(scale))
