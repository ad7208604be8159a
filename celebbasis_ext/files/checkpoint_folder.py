"""Checkpoints as folders in diffusers' layout: `model_index.json` and one folder for each part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from celebbasis_ext.errors import UnsupportedCheckpoint
from celebbasis_ext.files.checkpoint_kinds import CHOOSE, refuse_inputs, refuse_quantised, refused
from celebbasis_ext.files.safetensors_header import read_header

_FOREIGN = {"StableDiffusion3": "Stable Diffusion 3", "Flux": "Flux", "StableCascade": "Stable Cascade"}
_PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")


@dataclass(frozen=True)
class Folder:
    """What a folder's configs say.

    Attributes:
        family: "sd1", "sd2" or "sdxl".
        prediction_type: From the scheduler.
        stored: The UNet's type as safetensors calls it; empty where the weights are no safetensors files.
        zero_snr: From the scheduler.
    """

    family: Literal["sd1", "sd2", "sdxl"]
    prediction_type: Literal["epsilon", "v_prediction"]
    stored: str
    zero_snr: bool


def read_folder(folder: Path) -> Folder:
    """Reads the configs, and the header of every safetensors file.

    Raises:
        UnsupportedCheckpoint: If something is missing, cut short, or cannot be trained through.
    """
    index = _json(folder, "model_index.json", "Choose a checkpoint file, or a folder in diffusers' layout.")
    _refuse_foreign(folder, index)
    unet = _json(folder, "unet/config.json")
    if "quantization_config" in unet:
        refuse_quantised(folder.name, str(unet["quantization_config"].get("quant_method", "unknown method")))
    refuse_inputs(folder.name, unet.get("in_channels", 4))
    scheduler = _json(folder, "scheduler/scheduler_config.json")
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise refused(folder.name, f"a checkpoint whose UNet predicts {prediction!r} instead of epsilon or v")
    return Folder(_family(folder, index), prediction, _stored(folder), bool(scheduler.get("rescale_betas_zero_snr")))


def _json(folder: Path, name: str, hint: str = "Download the folder again.") -> dict[str, Any]:
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedCheckpoint(f"{folder} has no readable {name} ({error}).", hint) from error
    if not isinstance(content, dict):
        raise UnsupportedCheckpoint(f"{folder / name} is no config.", hint)
    return content


def _refuse_foreign(folder: Path, index: dict[str, Any]) -> None:
    pipeline = str(index.get("_class_name"))
    for start, what in _FOREIGN.items():
        if pipeline.startswith(start):
            raise refused(folder.name, what)
    if not _has(index, "unet"):
        raise refused(folder.name, f"no Stable Diffusion checkpoint ({pipeline})")
    if _has(index, "text_encoder_2") and not _has(index, "text_encoder"):
        raise refused(folder.name, "the SDXL refiner", "Train on SDXL base; pictures of it can then be refined.")
    if not _has(index, "text_encoder"):
        raise refused(folder.name, "a checkpoint without a text encoder", CHOOSE)


def _has(index: dict[str, Any], part: str) -> bool:
    return bool((index.get(part) or [None])[0])


def _family(folder: Path, index: dict[str, Any]) -> Literal["sd1", "sd2", "sdxl"]:
    """Two text encoders are SDXL; OpenAI's CLIP, with its quick GELU, is SD1; OpenCLIP is SD2."""
    if _has(index, "text_encoder_2"):
        return "sdxl"
    activation = _json(folder, "text_encoder/config.json").get("hidden_act", "quick_gelu")
    return "sd1" if activation == "quick_gelu" else "sd2"


def _stored(folder: Path) -> str:
    """Reads all headers, so that a file that is cut short is found before anything is loaded."""
    first = ""
    for part in _PARTS:
        for path in sorted((folder / part).glob("*.safetensors")):
            header = read_header(path)
            if part == "unet" and not first:
                first = next(iter(header.dtypes.values()), "")
    return first
