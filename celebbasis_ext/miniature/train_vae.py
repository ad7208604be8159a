"""Trains the miniature's autoencoder: both halves, then the latents are whitened and the decoder goes on alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from celebbasis_ext.miniature.configs import SCALING_FACTOR, VAE
from celebbasis_ext.miniature.optimiser import MuonAdam
from celebbasis_ext.miniature.progress import Training
from celebbasis_ext.types import Image


def new_vae() -> Any:
    vae: Any = AutoencoderKL(**VAE)
    return vae.to(memory_format=torch.channels_last)


def batch_of(album: Image, rng: np.random.Generator, size: int, crop: int) -> Tensor:
    """Random crops as [size, 3, crop, crop] in [-1, 1]."""
    out = np.empty((size, crop, crop, 3), np.uint8)
    side = album.shape[1]
    for i, index in enumerate(rng.integers(len(album), size=size)):
        y, x = rng.integers(0, (side - crop) // 8 + 1, size=2) * 8
        out[i] = album[index, y : y + crop, x : x + crop]
    pixels = torch.from_numpy(out).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pixels.contiguous(memory_format=torch.channels_last)


def detail_weight(pixels: Tensor) -> Tensor:
    """[b, 1, h, w], mean 1: eyes, mouths and frames count more than flat walls."""
    smooth = F.avg_pool2d(pixels, 7, stride=1, padding=3, count_include_pad=False)
    contrast = F.avg_pool2d((pixels - smooth).abs().mean(1, keepdim=True), 3, stride=1, padding=1)
    weight = 0.3 + contrast / contrast.mean().clamp_min(1e-3)
    return weight / weight.mean()


def reconstruction_loss(restored: Tensor, pixels: Tensor) -> Tensor:
    error = restored - pixels
    return (detail_weight(pixels) * (error.abs() + 2 * error.square())).mean()


def train_both(folder: Path, album: Image, steps: int, batch: int = 8, crop: int = 48) -> Any:
    """Encoder and decoder together, a whiff of KL."""
    torch.manual_seed(11)
    vae = new_vae()
    training = Training(
        folder, "vae", vae, MuonAdam(vae, lr=0.01, adam_lr=1e-3, adam_names=("conv_in", "conv_out")), steps
    )
    rng = np.random.default_rng((11, training.step))
    while not training.done:
        pixels = batch_of(album, rng, batch, crop)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(pixels).latent_dist
            restored = vae.decode(posterior.sample()).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = reconstruction_loss(restored.float(), pixels)
        (loss + 1e-4 * kl.float()).backward()
        training.update()
        if training.step % 50 == 0:
            mse = F.mse_loss(restored.float(), pixels).item()
            training.log(loss=loss.item(), kl=kl.item(), psnr=10 * np.log10(4 / mse))
        if training.step % 250 == 0 or training.done:
            training.save()
    return vae


@torch.no_grad()
def whiten(vae: Any, album: Image, pictures: int = 512) -> None:
    """Turns the latents into unit variance behind 0.18215, inside quant_conv and post_quant_conv.

    Directions that carry (almost) nothing keep their size, so that they are not blown up into noise.
    """
    latents = torch.cat([_moments(vae, album[i : i + 32]) for i in range(0, pictures, 32)])
    mean, covariance = latents.mean(0), torch.cov(latents.T)
    variance, basis = torch.linalg.eigh(covariance)
    spread = variance.clamp_min(float(variance.max()) * 0.01).sqrt()
    forward = basis @ torch.diag(1 / (spread * SCALING_FACTOR)) @ basis.T
    _turn_moments(vae.quant_conv, forward, mean)
    backward = torch.linalg.inv(forward)
    post = vae.post_quant_conv
    weight = post.weight[:, :, 0, 0]
    post.bias.add_(weight @ mean)
    post.weight.copy_((weight @ backward)[:, :, None, None])


def _moments(vae: Any, pictures: Image) -> Tensor:
    pixels = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    mean: Tensor = vae.encode(pixels).latent_dist.mean
    return mean.permute(0, 2, 3, 1).reshape(-1, mean.shape[1])


def _turn_moments(quant: Any, forward: Tensor, mean: Tensor) -> None:
    """The mean is turned exactly; the log variance follows by its size alone."""
    channels = len(mean)
    weight, bias = quant.weight[:channels, :, 0, 0], quant.bias[:channels]
    quant.bias[:channels] = forward @ (bias - mean)
    quant.weight[:channels] = (forward @ weight)[:, :, None, None]
    quant.bias[channels:] += 2 * forward.diagonal().abs().log()


def train_decoder(folder: Path, album: Image, vae: Any, steps: int, batch: int = 8, crop: int = 48) -> Any:
    """The decoder alone, from sampled latents; the last tenth on whole pictures."""
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    optimiser = MuonAdam(vae, lr=0.01, adam_lr=7e-4, adam_names=("conv_in", "conv_out"))
    training = Training(folder, "decoder", vae, optimiser, steps)
    rng = np.random.default_rng((12, training.step))
    while not training.done:
        whole = training.step >= 0.9 * steps
        pixels = batch_of(album, rng, batch // 4 if whole else batch, album.shape[1] if whole else crop)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                latents = vae.encode(pixels).latent_dist.sample()
            restored = vae.decode(latents).sample
        loss = reconstruction_loss(restored.float(), pixels)
        loss.backward()
        training.update()
        if training.step % 50 == 0:
            mse = F.mse_loss(restored.float(), pixels).item()
            training.log(loss=loss.item(), psnr=10 * np.log10(4 / mse))
        if training.step % 250 == 0 or training.done:
            training.save()
    return vae


@torch.no_grad()
def through_vae(vae: Any, images: Image) -> Image:
    """[n, h, w, 3] pictures as the autoencoder gives them back."""
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.autocast("cpu", torch.bfloat16):
        restored = vae.decode(vae.encode(pixels).latent_dist.mean).sample.float()
    out: Image = ((restored.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).round().byte().numpy()
    return out
