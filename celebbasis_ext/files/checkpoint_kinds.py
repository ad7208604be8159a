"""Files that are no Stable Diffusion 1, 2 or XL checkpoint, known by their tensors' names, shapes and types."""

from __future__ import annotations

from celebbasis_ext.errors import UnsupportedCheckpoint
from celebbasis_ext.files.safetensors_header import Header

UNET = "model.diffusion_model."
FIRST_CONV = UNET + "input_blocks.0.0.weight"
CHOOSE = "Choose an SD 1.x, SD 2.x or SDXL base checkpoint."
_ON_BASE = "Train on the checkpoint that it was made from; the embedding works in both."

# A part of a tensor's name -> what the file is. The first that is found counts.
_MARKERS = (
    ("lora_unet_", "a LoRA"), ("lora_te", "a LoRA"), (".lora_up.", "a LoRA"), (".lora_A.", "a LoRA"),
    ("joint_blocks.", "Stable Diffusion 3"),
    ("double_stream_blocks.", "HiDream"),
    ("double_blocks.", "Flux, or a relative of it"),
    ("edm_mean", "Playground 2.5, which is trained on another noise schedule"),
    ("clip_txt_mapper.", "Stable Cascade"),
    ("control_model.", "a ControlNet"), ("input_hint_block.", "a ControlNet"),
    ("controlnet_cond_embedding.", "a ControlNet"),
    ("motion_modules.", "an AnimateDiff motion module"),
    ("emb_params", "a Textual-Inversion embedding"), ("string_to_param", "a Textual-Inversion embedding"),
    ("cond_stage_model.transformer.embeddings.", "a checkpoint that keeps its text encoder in an outdated layout"),
)  # fmt: skip
_INPUTS = {
    5: "a depth-to-image checkpoint", 7: "an upscaler", 8: "an instruct-pix2pix checkpoint",
    9: "an inpainting checkpoint",
}  # fmt: skip
_FLOATS = {"F64", "F32", "F16", "BF16"}


def refused(name: str, what: str, hint: str = CHOOSE) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(f"{name} is {what}, which cannot be trained through.", hint)


def refuse_foreign(name: str, header: Header) -> None:
    """Raises `UnsupportedCheckpoint`, with what the file is, unless it looks like a Stable Diffusion checkpoint."""
    for marker, what in _MARKERS:
        if any(marker in key for key in header.shapes):
            raise refused(name, what)
    if set(header.shapes) == {"clip_l", "clip_g"}:
        raise refused(name, "a Textual-Inversion embedding")
    if FIRST_CONV not in header.shapes:
        raise refused(name, _without_unet(header))
    refuse_inputs(name, header.shapes[FIRST_CONV][1])
    if "conditioner.embedders.0.model.token_embedding.weight" in header.shapes:
        raise refused(name, "the SDXL refiner", "Train on SDXL base; pictures of it can then be refined.")
    _refuse_quantised(name, header)


def refuse_inputs(name: str, channels: int) -> None:
    """A UNet that looks at more than noisy latents [b, 4, h, w] needs pictures that a training has not."""
    if channels != 4:
        what = _INPUTS.get(channels, "a checkpoint of an unknown kind")
        raise refused(name, f"{what} (its UNet takes {channels} channels instead of 4)", _ON_BASE)


def refuse_quantised(name: str, how: str) -> None:
    raise refused(name, f"quantised ({how})", "Use the same checkpoint in fp16, bf16 or fp32.")


def _without_unet(header: Header) -> str:
    keys = header.shapes
    if any(key.startswith(("first_stage_model.", "decoder.", "encoder.down")) for key in keys):
        return "a VAE alone"
    if any("token_embedding." in key for key in keys):
        return "a text encoder alone"
    return "no Stable Diffusion checkpoint (it has no UNet)"


def _refuse_quantised(name: str, header: Header) -> None:
    stored = {kind for key, kind in header.dtypes.items() if key.startswith(UNET)} - _FLOATS
    if stored:
        known = {"F8_E4M3": "fp8", "F8_E5M2": "fp8", "U8": "nf4 or fp4", "I8": "int8"}
        refuse_quantised(name, ", ".join(sorted({known.get(kind, kind) for kind in stored})))
