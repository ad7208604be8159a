"""Checkpoints for tests: files with the real shapes and no weights, and tiny ones with random weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.single_file import empty_models, header_of, single_file_state
from celebbasis_ext.files.clip_tokenizer import write_clip_tokenizer
from celebbasis_ext.hosts.standalone_load import CONFIGS

FAMILIES = ("sd1", "sd2", "sdxl")
_VAE = {"block_out_channels": [32, 32, 32, 64], "layers_per_block": 1, "sample_size": 64}
_UNET = {
    "block_out_channels": [32, 64], "layers_per_block": 1, "sample_size": 8,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}  # fmt: skip
_TINY: dict[str, dict[str, dict[str, Any]]] = {
    "sd1": {"unet": {**_UNET, "cross_attention_dim": 32, "attention_head_dim": 4}},
    "sd2": {"unet": {**_UNET, "cross_attention_dim": 32, "attention_head_dim": [2, 4]}},
    "sdxl": {
        "unet": {
            **_UNET, "cross_attention_dim": 80, "attention_head_dim": [2, 4], "transformer_layers_per_block": [1, 2],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
            "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 40,
        },
        "text_encoder_2": {"hidden_size": 48, "intermediate_size": 64, "num_attention_heads": 4, "projection_dim": 40},
    },
}  # fmt: skip
_TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "projection_dim": 32}


@lru_cache
def full_size(family: str) -> Mapping[str, Tensor]:
    """{key: tensor without numbers} of a whole checkpoint in the public dimensions."""
    return single_file_state(family, *empty_models(CONFIGS / family))


def sparse_file(
    path: Path,
    state: Mapping[str, Tensor],
    dtype: torch.dtype = torch.float16,
    metadata: Mapping[str, str] | None = None,
    stored: Mapping[str, str] | None = None,
) -> Path:
    """A file with this header (see `header_of`) and a hole instead of weights: gigabytes that take no room."""
    header = header_of(state, dtype, metadata, stored)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + sum(tensor.numel() for tensor in state.values()) * dtype.itemsize)
    return path


def named(*keys: str, shape: tuple[int, ...] = (4, 4)) -> dict[str, Tensor]:
    return {key: torch.empty(shape, device="meta") for key in keys}


def tiny_configs(family: str, folder: Path, prediction_type: str = "epsilon") -> Path:
    """The family's own configs with small numbers in them, and its tokenizers."""
    shutil.copytree(CONFIGS / family, folder)
    _change(folder / "vae" / "config.json", _VAE)
    _change(folder / "unet" / "config.json", _TINY[family]["unet"])
    _change(folder / "text_encoder" / "config.json", _TEXT | {"num_hidden_layers": 2})
    if family == "sdxl":
        _change(folder / "text_encoder_2" / "config.json", _TINY["sdxl"]["text_encoder_2"] | {"num_hidden_layers": 3})
        write_clip_tokenizer(folder / "tokenizer_2")
    write_clip_tokenizer(folder / "tokenizer")
    _change(folder / "scheduler" / "scheduler_config.json", {"prediction_type": prediction_type})
    return folder


def _change(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(values)))


def tiny_models(configs: Path, seed: int = 0) -> dict[str, Any]:
    """{part: network} with seeded weights, scaled so that words matter."""
    torch.manual_seed(seed)
    unet, vae, encoders = empty_models(configs)
    parts = {"unet": unet, "vae": vae, "text_encoder": encoders[0]}
    if len(encoders) > 1:
        parts["text_encoder_2"] = encoders[1]
    for part in parts.values():
        part.to_empty(device="cpu")
        for name, tensor in part.state_dict().items():
            tensor.copy_(_weights(name, tensor))
    return parts


def _weights(name: str, tensor: Tensor) -> Tensor:
    if "position_ids" in name:
        return torch.arange(tensor.numel()).view(tensor.shape)
    if tensor.ndim < 2:
        return torch.randn(tensor.shape) * 0.1 + (1.0 if name.endswith("weight") else 0.0)
    scale = 0.3 if "embedding.weight" in name else tensor[0].numel() ** -0.5
    return torch.randn(tensor.shape) * scale


def tiny_folder(
    family: str, folder: Path, prediction_type: str = "epsilon", dtype: torch.dtype = torch.float32, blocks: int = 1
) -> Path:
    """A tiny checkpoint in diffusers' layout; public ones have two residual blocks on each level."""
    tiny_configs(family, folder, prediction_type)
    _change(folder / "unet" / "config.json", {"layers_per_block": blocks})
    for name, part in tiny_models(folder).items():
        part.to(dtype).save_pretrained(str(folder / name), safe_serialization=True)
    return folder


def tiny_single_file(family: str, configs: Path) -> dict[str, Tensor]:
    """{key: tensor} of a tiny checkpoint as one file."""
    parts = tiny_models(configs)
    encoders = [parts[name] for name in ("text_encoder", "text_encoder_2") if name in parts]
    state = single_file_state(family, parts["unet"], parts["vae"], encoders)
    return {key: tensor.contiguous() for key, tensor in state.items()}
