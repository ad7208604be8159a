"""A checkpoint on disk -> a diffusers pipeline, frozen, checked and on its device; nothing is asked of a hub."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from celebbasis_ext.errors import InvalidSettings, UnsupportedCheckpoint
from celebbasis_ext.files.checkpoint import CheckpointFile, Precision
from celebbasis_ext.files.clip_tokenizer import has_clip_tokenizer, write_clip_tokenizer
from celebbasis_ext.files.folders import cache_dir
from celebbasis_ext.files.pickled import leftovers_allowed

CONFIGS = Path(__file__).parents[1] / "data" / "configs"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_SOURCE_HINT = "Download the checkpoint again, or choose another one."


@dataclass(frozen=True)
class Placement:
    """Where and how a checkpoint is to run.

    Attributes:
        device: "auto" takes CUDA, else MPS, else the CPU.
        precision: Of UNet and text encoders; "auto" is the file's own on CUDA and fp32 elsewhere.
        resolution: Picture size in pixels; None for the checkpoint's own.
        low_memory: Forget the UNet's activations and compute them again on the way back: a third slower.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    resolution: int | None = None
    low_memory: bool = False

    def __post_init__(self) -> None:
        if self.resolution is not None and (self.resolution % 64 or not 64 <= self.resolution <= 4096):
            raise InvalidSettings(
                f"The resolution must be a multiple of 64 between 64 and 4096, got {self.resolution}.",
                "Try 512.",
            )


def chosen_device(wanted: str) -> str:
    """Raises InvalidSettings where PyTorch does not have the device."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if there[device])
    if not there[wanted]:
        raise InvalidSettings(
            f"The device {wanted} was asked for, but PyTorch {torch.__version__} finds none here.",
            "Use the device cpu, or install a PyTorch that is built for it.",
        )
    return wanted


def chosen_precision(wanted: str, device: str, stored: Precision) -> Precision:
    """Raises InvalidSettings where the device cannot train in it."""
    if wanted == "auto":
        return stored if device == "cuda" else "fp32"
    possible: dict[str, tuple[Precision, ...]] = {
        "cuda": ("fp32", "fp16", "bf16"), "cpu": ("fp32", "bf16"), "mps": ("fp32",),
    }  # fmt: skip
    for precision in possible[device]:
        if wanted == precision:
            return precision
    raise InvalidSettings(
        f"{wanted} does not train on {device}; it takes {' or '.join(possible[device])}.", "Use the precision auto."
    )


def load_pipeline(file: CheckpointFile, dtype: torch.dtype) -> Any:
    """UNet and text encoders in `dtype`, the VAE in fp32 (SDXL's overflows in fp16), all of it frozen, on the CPU.

    Raises:
        UnsupportedCheckpoint: If weights are missing, of other shapes, or not numbers.
    """
    _quiet_libraries()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # that torch_dtype has a new name, which older ones lack
            pipeline = _from_folder(file, dtype) if file.path.is_dir() else _from_file(file, dtype)
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        if "memory" in str(error):
            raise  # the file may well be good
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnsupportedCheckpoint(
            f"{file.path.name} looks like a checkpoint of the family {file.family}, but cannot be loaded as one "
            f"({first_line}).",
            _SOURCE_HINT,
        ) from error
    for name, module in modules_of(pipeline).items():
        _check_weights(file.path.name, name, module)
        module.requires_grad_(False).eval()
    pipeline.vae.float()
    for network in (pipeline.unet, pipeline.vae):
        network.to(memory_format=torch.channels_last)  # a third faster on processors and tensor cores alike
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def modules_of(pipeline: Any) -> dict[str, nn.Module]:
    """The networks of a pipeline."""
    return {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}


def _from_file(file: CheckpointFile, dtype: torch.dtype) -> Any:
    with leftovers_allowed():
        return _pipeline_class(file).from_single_file(
            str(file.path), config=str(config_folder(file.config)), local_files_only=True, torch_dtype=dtype,
            **_options(file),
        )  # fmt: skip


def _from_folder(file: CheckpointFile, dtype: torch.dtype) -> Any:
    halved = list((file.path / "unet").glob("*.fp16.*"))
    whole = [path for path in (file.path / "unet").glob("*model.*") if path not in halved]
    variant = "fp16" if halved and not whole else None
    return _pipeline_class(file).from_pretrained(
        str(file.path), local_files_only=True, torch_dtype=dtype, variant=variant, **_options(file)
    )


def _pipeline_class(file: CheckpointFile) -> Any:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    return StableDiffusionXLPipeline if file.family == "sdxl" else StableDiffusionPipeline


def _options(file: CheckpointFile) -> dict[str, Any]:
    if file.family == "sdxl":
        return {"add_watermarker": False}
    return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def set_schedule(pipeline: Any, prediction_type: str, zero_snr: bool) -> None:
    """A quick sampler over the checkpoint's own noise schedule."""
    from diffusers import DPMSolverMultistepScheduler

    stated = {"prediction_type": prediction_type}
    # A schedule that ends in pure noise has to be sampled from there.
    ending = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if zero_snr else {}
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config, **stated, **ending)


def _check_weights(file: str, part: str, module: nn.Module) -> None:
    """Raises UnsupportedCheckpoint where a weight is missing, or is not a finite number; a sum sees them all."""
    for name, weight in module.named_parameters():
        if weight.is_meta:
            raise UnsupportedCheckpoint(f"{file} lacks {name} of the {part}.", _SOURCE_HINT)
        if not math.isfinite(weight.detach().sum(dtype=torch.float32).item()):
            raise UnsupportedCheckpoint(
                f"{file} is damaged: {name} of the {part} holds NaN or infinite weights.", _SOURCE_HINT
            )


def config_folder(config: str) -> Path:
    """A folder in diffusers' layout, with the tokenizers written beside the shipped JSON files."""
    folder = cache_dir() / "configs" / config
    shutil.copytree(CONFIGS / config, folder, dirs_exist_ok=True)
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    for part in index:
        if part.startswith("tokenizer") and not has_clip_tokenizer(folder / part):
            write_clip_tokenizer(folder / part)
    return folder


@contextmanager
def brought_to(module: nn.Module, device: torch.device) -> Iterator[None]:
    """The module on a device for a while; afterwards where it was."""
    before = next(module.parameters()).device
    try:
        module.to(device)
        yield
    finally:
        module.to(before)


@contextmanager
def checkpointed(unet: Any, wanted: bool) -> Iterator[None]:
    """Gradient checkpointing, which diffusers does in training mode only; nothing is dropped out meanwhile."""
    if not wanted:
        yield
        return
    unet.enable_gradient_checkpointing()
    unet.train()
    for module in unet.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    try:
        yield
    finally:
        unet.disable_gradient_checkpointing()
        unet.eval()


def _quiet_libraries() -> None:
    """Notes about torchvision and dtypes are not for the person who waits for a picture; errors still show."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
