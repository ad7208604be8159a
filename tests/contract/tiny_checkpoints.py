"""Tiny random SD2 and SDXL checkpoints, made of the WebUI's own classes: to prove adapters without real weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

TEXT_FOLDER = "miniature-text-encoder"
WIDTHS = {"tiny-h": 64, "tiny-g": 80}
AUTOENCODER = {
    "embed_dim": 4, "monitor": "loss", "lossconfig": {"target": "torch.nn.Identity"},
    "ddconfig": {
        "double_z": True, "z_channels": 4, "resolution": 64, "in_channels": 3, "out_ch": 3, "ch": 32,
        "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
    },
}  # fmt: skip
UNET = {
    "use_checkpoint": True, "in_channels": 4, "out_channels": 4, "model_channels": 32, "attention_resolutions": [1, 2],
    "num_res_blocks": 2, "channel_mult": [1, 2], "num_head_channels": 16, "use_spatial_transformer": True,
    "use_linear_in_transformer": True, "legacy": False,
}  # fmt: skip
SGM = "sgm.modules.diffusionmodules"


def part(target: str, **params: Any) -> dict[str, Any]:
    return {"target": target, "params": params}


def sd2() -> dict[str, Any]:
    """Predicts v, as the 768 px checkpoints do."""
    return part(
        "ldm.models.diffusion.ddpm.LatentDiffusion", parameterization="v", linear_start=0.00085, linear_end=0.012,
        num_timesteps_cond=1, timesteps=1000, first_stage_key="jpg", cond_stage_key="txt", image_size=64, channels=4,
        cond_stage_trainable=False, conditioning_key="crossattn", monitor="loss", scale_factor=0.18215, use_ema=False,
        unet_config=part(
            "ldm.modules.diffusionmodules.openaimodel.UNetModel", image_size=32, context_dim=64, transformer_depth=1,
            **UNET,
        ),
        first_stage_config=part("ldm.models.autoencoder.AutoencoderKL", **AUTOENCODER),
        cond_stage_config=part(
            "ldm.modules.encoders.modules.FrozenOpenCLIPEmbedder", arch="tiny-h", version=None, layer="penultimate"
        ),
    )  # fmt: skip


def sdxl(text_folder: Path) -> dict[str, Any]:
    encoders = "sgm.modules.encoders.modules"
    sizes = [
        {"input_key": key, **part(f"{encoders}.ConcatTimestepEmbedderND", outdim=32)}
        for key in ("original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple")
    ]
    clip_l = part(f"{encoders}.FrozenCLIPEmbedder", version=str(text_folder), layer="hidden", layer_idx=3)
    clip_g = part(
        f"{encoders}.FrozenOpenCLIPEmbedder2", arch="tiny-g", version=None, layer="penultimate",
        always_return_pooled=True, legacy=False,
    )  # fmt: skip
    denoiser = part(
        f"{SGM}.denoiser.DiscreteDenoiser", num_idx=1000,
        weighting_config=part(f"{SGM}.denoiser_weighting.EpsWeighting"),
        scaling_config=part(f"{SGM}.denoiser_scaling.EpsScaling"),
        discretization_config=part(f"{SGM}.discretizer.LegacyDDPMDiscretization"),
    )  # fmt: skip
    texts = [{"input_key": "txt", **own} for own in (clip_l, clip_g)]
    return part(
        "sgm.models.diffusion.DiffusionEngine", scale_factor=0.13025, disable_first_stage_autocast=True,
        denoiser_config=denoiser,
        network_config=part(
            f"{SGM}.openaimodel.UNetModel", adm_in_channels=80 + 3 * 64, num_classes="sequential", context_dim=96 + 80,
            transformer_depth=[1, 1], spatial_transformer_attn_type="softmax", **UNET,
        ),
        conditioner_config=part("sgm.modules.GeneralConditioner", emb_models=[*texts, *sizes]),
        first_stage_config=part("sgm.models.autoencoder.AutoencoderKLInferenceWrapper", **AUTOENCODER),
    )  # fmt: skip


def write_tiny(folder: Path, name: str, text_folder: Path) -> Any:
    """Writes checkpoint and configuration, and tells the WebUI.

    Returns:
        The WebUI's `CheckpointInfo`.
    """
    import open_clip
    from ldm.util import instantiate_from_config
    from modules import sd_disable_initialization, sd_models

    for arch, width in WIDTHS.items():
        text = {"context_length": 77, "vocab_size": 49408, "width": width, "heads": 4, "layers": 3}
        vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
        path = folder / f"{arch}.json"
        path.write_text(json.dumps({"embed_dim": width, "vision_cfg": vision, "text_cfg": text}))
        open_clip.add_model_config(path)
    config = sd2() if name == "tiny-sd2" else sdxl(text_folder)
    (folder / f"{name}.yaml").write_text(json.dumps({"model": config}))  # JSON is YAML
    with sd_disable_initialization.DisableInitialization(disable_clip=True):
        model = instantiate_from_config(config)
    save_file(random_weights(model), folder / f"{name}.safetensors")
    info = sd_models.CheckpointInfo(str(folder / f"{name}.safetensors"))
    info.register()
    return info


def random_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Also where the WebUI's classes begin with zeros, through which no gradient would come."""
    generator = torch.Generator().manual_seed(0)
    weights = {key: value.detach().clone().contiguous() for key, value in model.state_dict().items()}
    for key, parameter in model.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        if "token_embedding" in key:
            weights[key] = 0.05 * drawn
        elif parameter.dim() > 1:
            weights[key] = drawn / parameter[0].numel() ** 0.5
        elif key.endswith("weight"):  # of a normalisation
            weights[key] = 1 + 0.1 * drawn
        else:
            weights[key] = 0.1 * drawn
    return weights
