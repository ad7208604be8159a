from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from modules import sd_hijack, sd_models, shared
from PIL import Image
from torch import Tensor


@dataclass
class StableDiffusionProcessing:
    sd_model: Any = None
    prompt: list[str] = field(default_factory=list)
    negative_prompt: str = ""
    styles: list[str] = field(default_factory=list)
    seed: list[int] = field(default_factory=list)
    sampler_name: str = ""
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 20
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    do_not_reload_embeddings: bool = False
    override_settings: dict[str, Any] = field(default_factory=dict)

    cached_c: ClassVar[list[Any]] = [None, None]
    cached_uc: ClassVar[list[Any]] = [None, None]

    def __post_init__(self) -> None:
        self.cached_c = StableDiffusionProcessing.cached_c  # type: ignore[misc]
        self.cached_uc = StableDiffusionProcessing.cached_uc  # type: ignore[misc]

    def close(self) -> None:
        self.sd_model = None


@dataclass
class StableDiffusionProcessingTxt2Img(StableDiffusionProcessing):
    cached_hr_c: ClassVar[list[Any]] = [None, None]
    cached_hr_uc: ClassVar[list[Any]] = [None, None]


def process_images(p: StableDiffusionProcessing) -> SimpleNamespace:
    selected = shared.opts.sd_model_checkpoint
    shared.opts.sd_model_checkpoint = p.override_settings.get("sd_model_checkpoint", selected)
    try:
        sd_models.reload_model_weights()
        return SimpleNamespace(images=[image for n in range(p.n_iter) for image in _batch(p, n)])
    finally:
        shared.opts.sd_model_checkpoint = selected


@torch.no_grad()
def _batch(p: StableDiffusionProcessing, n: int) -> list[Image.Image]:
    if not p.do_not_reload_embeddings:
        sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings()
    if shared.state.interrupted:
        return []
    own = slice(n * p.batch_size, (n + 1) * p.batch_size)
    c = _cached(p.cached_c, p.prompt[own])
    uc = _cached(p.cached_uc, [p.negative_prompt] * len(p.prompt[own]))
    pictures = shared.sd_model.decode_first_stage(_sample(p, c, uc, p.seed[own]))
    pixels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    shared.state.nextjob()
    return [Image.fromarray(np.ascontiguousarray(own)) for own in pixels]


def _cached(cache: list[Any], prompts: list[str]) -> Tensor:
    """By the prompts' text alone, as in the real one: that is what `publish` has to reckon with."""
    if cache[0] != prompts:
        cache[:] = [prompts, shared.sd_model.cond_stage_model(prompts)]
    conditioning: Tensor = cache[1]
    return conditioning


def _sample(p: StableDiffusionProcessing, c: Tensor, uc: Tensor, seeds: list[int]) -> Tensor:
    """DDIM."""
    size = (4, p.height // 8, p.width // 8)
    x = torch.stack([torch.randn(size, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    alphas = shared.sd_model.alphas_cumprod_original
    times = torch.linspace(999, 0, p.steps + 1).long()
    shared.state.sampling_steps = p.steps
    for step, (now, then) in enumerate(pairwise(times)):
        shared.state.sampling_step, shared.state.current_latent = step, x
        t = now.expand(len(x))
        plain = shared.sd_model.apply_model(x, t, {"c_crossattn": [uc]})
        noise = plain + p.cfg_scale * (shared.sd_model.apply_model(x, t, {"c_crossattn": [c]}) - plain)
        x_0 = (x - (1 - alphas[now]).sqrt() * noise) / alphas[now].sqrt()
        x = alphas[then].sqrt() * x_0 + (1 - alphas[then]).sqrt() * noise
    return x
