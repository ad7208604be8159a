"""Trains the miniature's UNet on cached latents, from captions that are said anew every time."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from celebbasis_ext.miniature.album import open_album
from celebbasis_ext.miniature.captions import caption_of
from celebbasis_ext.miniature.configs import CONTEXT_LENGTH, NOISE_SCHEDULE, SCALING_FACTOR, UNET
from celebbasis_ext.miniature.optimiser import MuonAdam
from celebbasis_ext.miniature.people import celebrities
from celebbasis_ext.miniature.progress import Training
from celebbasis_ext.miniature.train_text import Words
from celebbasis_ext.miniature.world import Scene, scene
from celebbasis_ext.schedule import add_noise

EMPTY_RATE = 0.1
MIN_SNR_GAMMA = 5.0


def new_unet() -> Any:
    from diffusers import UNet2DConditionModel

    unet: Any = UNet2DConditionModel(**UNET)
    return unet.to(memory_format=torch.channels_last)


@torch.no_grad()
def encode_album(folder: Path, vae: Any, album_path: Path) -> Tensor:
    """[n, 4, 12, 12] latents, scaled; kept beside the album."""
    path = folder / f"latents-{album_path.stem}.pt"
    if path.exists():
        latents: Tensor = torch.load(path, weights_only=True)
        return latents
    album = open_album(album_path)
    parts = []
    for start in range(0, len(album), 64):
        pixels = torch.from_numpy(np.array(album[start : start + 64])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            mean = vae.encode(pixels.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        parts.append((mean.float() * SCALING_FACTOR).half())
    latents = torch.cat(parts)
    torch.save(latents, path)
    return latents


def alphas_cumprod() -> Tensor:
    """[1000] of Stable Diffusion's scaled-linear schedule."""
    start, end = NOISE_SCHEDULE["beta_start"] ** 0.5, NOISE_SCHEDULE["beta_end"] ** 0.5
    betas = torch.linspace(start, end, NOISE_SCHEDULE["num_train_timesteps"], dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()


def min_snr_weight(alpha_bar: Tensor) -> Tensor:
    """Hang et al. 2023, for epsilon: min(SNR, gamma) / SNR."""
    snr = alpha_bar / (1 - alpha_bar)
    return snr.clamp(max=MIN_SNR_GAMMA) / snr


def spread_timesteps(rng: torch.Generator, batch: int, count: int = 1000) -> Tensor:
    """[b] uniform timesteps, one from each of b equal slices."""
    return ((torch.arange(batch) + torch.rand(batch, generator=rng)) / batch * count).long()


class Captions:
    """Conditionings for scenes: a fresh caption, tokenized, through the frozen text encoder."""

    def __init__(self, words: Words, text_encoder: Any, seed: int) -> None:
        self.words, self.text_encoder = words, text_encoder.eval().requires_grad_(False)
        self.rng = np.random.default_rng((31, seed))

    @torch.no_grad()
    def __call__(self, scenes: list[Scene]) -> Tensor:
        texts = ["" if self.rng.random() < EMPTY_RATE else caption_of(self.rng, s).text for s in scenes]
        with torch.autocast("cpu", torch.bfloat16):
            states = self.text_encoder(input_ids=self.words.batch(texts, CONTEXT_LENGTH)).last_hidden_state
        return torch.as_tensor(states)


def train_unet(
    folder: Path,
    latents: Tensor,
    first: int,
    words: Words,
    text_encoder: Any,
    steps: int,
    batch: int = 64,
    lr: float = 0.01,
) -> Any:
    """Noise prediction with min-SNR weights; returns the averaged UNet.

    Args:
        latents: [n, 4, 12, 12] of the scenes `first` to `first + n`.
    """
    torch.manual_seed(31)
    unet = new_unet()
    average = copy.deepcopy(unet).requires_grad_(False)
    optimiser = MuonAdam(unet, lr=lr, adam_lr=1e-3, adam_names=("conv_in", "conv_out", "time_emb"))
    training = Training(folder, "unet", unet, optimiser, steps, average)
    known = celebrities()
    scenes = [scene(first + i, known) for i in range(len(latents))]
    captions = Captions(words, text_encoder, training.step)
    rng = torch.Generator().manual_seed(1000 + training.step)
    alpha_bar, total, losses = alphas_cumprod(), 0.0, 0
    while not training.done:
        chosen = torch.randint(len(latents), (batch,), generator=rng)
        loss = _loss(unet, latents[chosen].float(), captions([scenes[i] for i in chosen]), alpha_bar, rng)
        loss[0].backward()
        training.update()
        total, losses = total + loss[1].item(), losses + 1
        if training.step % 100 == 0:
            training.log(mse=total / losses)
            total, losses = 0.0, 0
        if training.step % 250 == 0 or training.done:
            training.save()
    return average


def _loss(unet: Any, x_0: Tensor, states: Tensor, alpha_bar: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """The weighted loss, and the plain mean squared error to log."""
    timesteps = spread_timesteps(rng, len(x_0))
    noise = torch.randn(x_0.shape, generator=rng)
    x_t = add_noise(x_0, noise, alpha_bar[timesteps]).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        predicted = unet(x_t, timesteps, states).sample
    error = (predicted.float() - noise).square().mean((1, 2, 3))
    return (min_snr_weight(alpha_bar[timesteps]) * error).mean(), error.mean().detach()
