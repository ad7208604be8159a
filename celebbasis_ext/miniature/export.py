"""Writes a checkpoint in the layout that people download: one file, LDM's key names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.miniature.train_unet import alphas_cumprod

if TYPE_CHECKING:
    from torch import Tensor

_RESNET = (
    ("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("time_emb_proj", "emb_layers.1"), ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"), ("conv_shortcut", "skip_connection"),
)  # fmt: skip
_VAE_ATTENTION = (("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out"))


def _unet_prefixes(config: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """(diffusers prefix, LDM prefix, is it a resnet) for every part of a UNet."""
    layers, down, up = config["layers_per_block"], config["down_block_types"], config["up_block_types"]
    index = 1
    for level, kind in enumerate(down):
        for layer in range(layers):
            yield f"down_blocks.{level}.resnets.{layer}", f"input_blocks.{index}.0", True
            if "CrossAttn" in kind:
                yield f"down_blocks.{level}.attentions.{layer}", f"input_blocks.{index}.1", False
            index += 1
        if level < len(down) - 1:
            yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{index}.0.op", False
            index += 1
    yield "mid_block.resnets.0", "middle_block.0", True
    yield "mid_block.attentions.0", "middle_block.1", False
    yield "mid_block.resnets.1", "middle_block.2", True
    index = 0
    for level, kind in enumerate(up):
        for layer in range(layers + 1):
            yield f"up_blocks.{level}.resnets.{layer}", f"output_blocks.{index}.0", True
            if "CrossAttn" in kind:
                yield f"up_blocks.{level}.attentions.{layer}", f"output_blocks.{index}.1", False
            if layer == layers and level < len(up) - 1:
                place = 2 if "CrossAttn" in kind else 1
                yield f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{index}.{place}.conv", False
            index += 1
    for ours, theirs in (("time_embedding", "time_embed"), ("add_embedding", "label_emb.0")):  # the second is SDXL's
        yield f"{ours}.linear_1", f"{theirs}.0", False
        yield f"{ours}.linear_2", f"{theirs}.2", False
    for ours, theirs in (("conv_in", "input_blocks.0.0"), ("conv_norm_out", "out.0"), ("conv_out", "out.2")):
        yield ours, theirs, False


def _vae_prefixes(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    levels, layers = len(config["block_out_channels"]), config["layers_per_block"]
    for level in range(levels):
        for layer in range(layers):
            yield f"encoder.down_blocks.{level}.resnets.{layer}", f"encoder.down.{level}.block.{layer}"
        yield f"encoder.down_blocks.{level}.downsamplers.0", f"encoder.down.{level}.downsample"
        mirrored = levels - 1 - level
        for layer in range(layers + 1):
            yield f"decoder.up_blocks.{level}.resnets.{layer}", f"decoder.up.{mirrored}.block.{layer}"
        yield f"decoder.up_blocks.{level}.upsamplers.0", f"decoder.up.{mirrored}.upsample"
    for half in ("encoder", "decoder"):
        yield f"{half}.mid_block.resnets.0", f"{half}.mid.block_1"
        yield f"{half}.mid_block.attentions.0", f"{half}.mid.attn_1"
        yield f"{half}.mid_block.resnets.1", f"{half}.mid.block_2"
        yield f"{half}.conv_norm_out", f"{half}.norm_out"


def unet_to_ldm(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """`UNet2DConditionModel`'s weights under LDM's names."""
    out = {}
    prefixes = sorted(_unet_prefixes(config), key=lambda p: -len(p[0]))
    for key, value in state.items():
        ours, theirs, resnet = next(p for p in prefixes if key.startswith(p[0] + "."))
        rest = key[len(ours) + 1 :]
        for name, ldm_name in _RESNET if resnet else ():
            rest = re.sub(rf"^{re.escape(name)}\.", f"{ldm_name}.", rest)
        out[f"model.diffusion_model.{theirs}.{rest}"] = value
    return out


def vae_to_ldm(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """`AutoencoderKL`'s weights under LDM's names; attention projections become 1 x 1 convolutions."""
    out = {}
    prefixes = sorted(_vae_prefixes(config), key=lambda p: -len(p[0]))
    for key, value in state.items():
        ours, theirs = next((p for p in prefixes if key.startswith(p[0] + ".")), ("", ""))
        rest = key[len(ours) + 1 :] if ours else key
        if ".attentions." in key:
            for name, ldm_name in _VAE_ATTENTION:
                rest = re.sub(rf"^{re.escape(name)}\.", f"{ldm_name}.", rest)
            value = value[:, :, None, None] if value.ndim == 2 else value
        rest = rest.replace("conv_shortcut.", "nin_shortcut.")
        out["first_stage_model." + (f"{theirs}.{rest}" if theirs else rest)] = value
    return out


def text_to_ldm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`CLIPTextModel`'s weights; transformers 5 dropped the `text_model.` that everybody else expects."""
    names = {key: key if key.startswith("text_model.") else f"text_model.{key}" for key in state}
    return {
        f"cond_stage_model.transformer.{names[key]}": value for key, value in state.items() if "position_ids" not in key
    }


def save_checkpoint(
    path: Path, unet: Any, vae: Any, text_encoder: Any, metadata: Mapping[str, str], dtype: torch.dtype = torch.float16
) -> None:
    """One `.safetensors` that the WebUI, diffusers and ComfyUI load."""
    from safetensors.torch import save_file

    tensors = unet_to_ldm(unet.state_dict(), unet.config)
    tensors |= vae_to_ldm(vae.state_dict(), vae.config)
    tensors |= text_to_ldm(text_encoder.state_dict())
    tensors = {key: value.detach().to(dtype).contiguous() for key, value in tensors.items()}
    tensors["alphas_cumprod"] = alphas_cumprod()
    with replacing(path) as unfinished:
        save_file(tensors, unfinished, dict(metadata))
