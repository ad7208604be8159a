"""What a UNet's layers are called in LoRA files: as kohya's sd-scripts write them, and everybody reads them.

For SD 1 and SD 2 sd-scripts train diffusers' UNet (`down_blocks.0.attentions.0...`), for SDXL Stability's
(`input_blocks.4.1...`), and write their layers' names with "lora_unet_" in front and "_" for "." (networks/lora.py,
`LORA_PREFIX_UNET`). The WebUI turns the first kind into the second by counting two residual blocks to every level, and
takes the second as it is, whatever the checkpoint (extensions-builtin/Lora/networks.py,
`convert_diffusers_name_to_compvis`); ComfyUI and Forge know both; so does diffusers, which is told the UNet's own
number of blocks as `unet_config`. So a UNet that is built otherwise, such as the miniature's, gets the second kind.
"""

from __future__ import annotations

import re
from typing import Literal

PREFIX = "lora_unet_"
CROSS_ATTENTION = re.compile(r"(.+)\.(transformer_blocks\.\d+\.attn2\.to_[kv])")
_USUAL_BLOCKS = 2
_DIFFUSERS = re.compile(r"(down|up)_blocks\.(\d+)\.attentions\.(\d+)")
_STABILITY = re.compile(r"(input|output)_blocks\.(\d+)\.1")


def lora_name(layer: str, family: Literal["sd1", "sd2", "sdxl"], blocks: int) -> str | None:
    """The name of a layer of the cross-attention's keys and values; None for any other layer.

    Args:
        layer: Its name in diffusers' or in Stability's UNet.
        family: Of the checkpoint.
        blocks: Residual blocks of each level, on the way down.
    """
    found = CROSS_ATTENTION.fullmatch(layer)
    if found is None:
        return None
    usual = family != "sdxl" and blocks == _USUAL_BLOCKS
    place = _as_diffusers(found[1]) if usual else _as_stability(found[1], blocks)
    return PREFIX + f"{place}.{found[2]}".replace(".", "_")


def _as_stability(place: str, blocks: int) -> str:
    """From down_blocks.0.attentions.1 to input_blocks.2.1: each level has its blocks and one more, in and out."""
    found = _DIFFUSERS.fullmatch(place)
    if found is None:
        return place.replace("mid_block.attentions.0", "middle_block.1")
    number = int(found[2]) * (blocks + 1) + int(found[3])
    return f"input_blocks.{number + 1}.1" if found[1] == "down" else f"output_blocks.{number}.1"


def _as_diffusers(place: str) -> str:
    """From input_blocks.2.1 to down_blocks.0.attentions.1, in a UNet of the usual build."""
    found = _STABILITY.fullmatch(place)
    if found is None:
        return place.replace("middle_block.1", "mid_block.attentions.0")
    down = found[1] == "input"
    level, block = divmod(int(found[2]) - down, _USUAL_BLOCKS + 1)
    return f"{'down' if down else 'up'}_blocks.{level}.attentions.{block}"
