"""SD1, SD2 and SDXL in the layout that people download: one file, LDM's and OpenCLIP's key names."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor

from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.miniature.export import text_to_ldm, unet_to_ldm, vae_to_ldm

_OPENCLIP = (
    ("embeddings.token_embedding.weight", "token_embedding.weight"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("final_layer_norm.", "ln_final."), ("encoder.layers.", "transformer.resblocks."),
    ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
    ("self_attn.out_proj", "attn.out_proj"),
)  # fmt: skip
_SUPPLY = 10_000_019  # a prime, so that the rows of a matrix are not the same again and again
_DTYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}


def empty_models(config: Path) -> tuple[Any, Any, list[Any]]:
    """UNet, VAE and text encoders of a folder of configs, on the meta device: shapes without numbers."""
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel.from_config(_config(config / "unet"))
        vae = diffusers.AutoencoderKL.from_config(_config(config / "vae"))
        encoders = [transformers.CLIPTextModel(_text_config(config / "text_encoder"))]
        if (config / "text_encoder_2").exists():
            encoders.append(transformers.CLIPTextModelWithProjection(_text_config(config / "text_encoder_2")))
    return unet, vae, encoders


def _config(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def _text_config(folder: Path) -> Any:
    return transformers.CLIPTextConfig(**_config(folder))


def single_file_state(family: str, unet: Any, vae: Any, encoders: Sequence[Any]) -> dict[str, Tensor]:
    """{key: tensor} of a whole checkpoint."""
    state = unet_to_ldm(unet.state_dict(), unet.config) | vae_to_ldm(vae.state_dict(), vae.config)
    if family == "sd1":
        return state | text_to_ldm(encoders[0].state_dict())
    if family == "sd2":
        return state | _with_unused_layer(openclip_state(encoders[0].state_dict(), "cond_stage_model.model."))
    prefix = "conditioner.embedders.0."
    first = {key.replace("cond_stage_model.", prefix): v for key, v in text_to_ldm(encoders[0].state_dict()).items()}
    return state | first | openclip_state(encoders[1].state_dict(), "conditioner.embedders.1.model.")


def openclip_state(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """transformers' CLIP text model under OpenCLIP's names: queries, keys and values are one matrix."""
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix("text_model.")
        if name == "text_projection.weight":
            out[prefix + "text_projection"] = value.T.contiguous()
        elif match := re.fullmatch(r"encoder\.layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)", name):
            parts = [value, *(state[key.replace("q_proj", part)] for part in ("k_proj", "v_proj"))]
            out[f"{prefix}transformer.resblocks.{match[1]}.attn.in_proj_{match[2]}"] = torch.cat(parts)
        elif not re.search(r"[kv]_proj\.|position_ids", name):
            for ours, theirs in _OPENCLIP:
                name = name.replace(ours, theirs)
            out[prefix + name] = value
    return out


def _with_unused_layer(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """SD2's files hold OpenCLIP-H whole; its last layer and projection are not used."""
    last = [key for key in state if ".resblocks.22." in key]
    unused = {key.replace(".resblocks.22.", ".resblocks.23."): state[key] for key in last}
    if unused:
        width = state["cond_stage_model.model.ln_final.weight"]
        unused["cond_stage_model.model.text_projection"] = width.new_empty(len(width), len(width))
        unused["cond_stage_model.model.logit_scale"] = width.new_empty(1)
    return state | unused


def header_of(
    state: Mapping[str, Tensor],
    dtype: torch.dtype,
    metadata: Mapping[str, str] | None = None,
    stored: Mapping[str, str] | None = None,
) -> bytes:
    """The first bytes of a `.safetensors` file with these tensors in this order.

    All are in `dtype`, or are said to be what `stored` calls them.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for key, tensor in state.items():
        end = start + tensor.numel() * dtype.itemsize
        kind = (stored or {}).get(key, _DTYPES[dtype])
        header[key] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write_random(path: Path, state: Mapping[str, Tensor], dtype: torch.dtype, seed: int) -> None:
    """A file of seeded random weights with the shapes of `state`, one tensor at a time, so that memory stays small."""
    generator = torch.Generator().manual_seed(seed)
    supply = torch.randn(_SUPPLY, generator=generator)
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        file.write(header_of(state, dtype))
        for key, tensor in state.items():
            weights = _random(key, tensor.shape, generator, supply).to(dtype)
            file.write(memoryview(weights.contiguous().flatten().view(torch.uint8).numpy()))


def _random(key: str, shape: torch.Size, generator: torch.Generator, supply: Tensor) -> Tensor:
    """Scaled so that numbers keep their size from layer to layer, as in a network before training.

    Token tables are drawn number by number, since a basis is made of them; large matrices go around in a supply.
    """
    if key.endswith("bias"):
        return torch.zeros(shape)
    if "embedding" in key:
        return torch.randn(shape, generator=generator) * 0.02
    if len(shape) < 2:
        return torch.ones(shape)
    start = int(torch.randint(len(supply), (1,), generator=generator))
    rounds = -(-(start + shape.numel()) // len(supply))
    drawn = supply.repeat(rounds)[start : start + shape.numel()].view(shape)
    return drawn / math.sqrt(shape[1:].numel())
