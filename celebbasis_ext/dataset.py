"""Photos -> a few augmented views of each, encoded once, with the head's mask at the latents' size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

    from celebbasis_ext.hosts.base import Denoiser
    from celebbasis_ext.types import Subject, TrainConfig


@dataclass(frozen=True)
class Views:
    """What a person's photos give to train on.

    Attributes:
        latents: [v, 4, h, w] scaled latents.
        weights: [v, 1, h, w] loss weights with mean 1.
        descriptions: [v] what is in each view's photo beside the person.
    """

    latents: Tensor
    weights: Tensor
    descriptions: tuple[tuple[str, ...], ...]


def encode_views(denoiser: Denoiser, subject: Subject, config: TrainConfig) -> Views:
    """Zoomed, shifted and mirrored views of every photo; the first one is the photo itself."""
    photos = (subject, *subject.more)
    encoded = [_encoded(denoiser, photo, config) for photo in photos]
    latents, weights = (torch.cat(parts) for parts in zip(*encoded, strict=True))
    return Views(latents, weights, tuple(photo.description for photo in photos for _ in range(config.views)))


def _encoded(denoiser: Denoiser, subject: Subject, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """[views, 4, h, w] latents and [views, 1, h, w] weights of one photo."""
    pixels = torch.from_numpy(subject.photo.copy()).permute(2, 0, 1).float() / 127.5 - 1
    mask = torch.from_numpy(subject.mask.copy())[None] * 2 - 1
    layers = _augmented(torch.cat([pixels, mask]), config)
    latents = denoiser.encode_image(layers[:, :3]).float()
    weights = _loss_weights((layers[:, 3:] + 1) / 2, latents.shape[-2:], config)
    return latents, weights.to(latents.device)


def _augmented(layers: Tensor, config: TrainConfig) -> Tensor:
    """[c, h, w] -> [views, c, h, w] by random similarity transforms; borders are repeated."""
    generator = torch.Generator().manual_seed(config.seed)
    zoom = 1 + config.zoom * (2 * torch.rand(config.views, generator=generator) - 1)
    shift = config.zoom * (2 * torch.rand(config.views, 2, generator=generator) - 1)
    zoom[0], shift[0] = 1.0, 0.0
    mirror = torch.ones(config.views)
    if config.flip:
        mirror[1::2] = -1
    theta = torch.zeros(config.views, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = mirror * zoom, zoom, shift
    grid = F.affine_grid(theta, [config.views, *layers.shape], align_corners=False)
    return F.grid_sample(layers.expand(config.views, -1, -1, -1), grid, padding_mode="border", align_corners=False)


def _loss_weights(masks: Tensor, size: torch.Size, config: TrainConfig) -> Tensor:
    """1 inside the head, `background_weight` outside, then scaled to mean 1."""
    if not config.face_mask:
        return torch.ones(len(masks), 1, *size)
    inside = F.adaptive_avg_pool2d(masks, (size[0], size[1])).clamp(0, 1)
    weights = config.background_weight + (1 - config.background_weight) * inside
    return weights / weights.mean((1, 2, 3), keepdim=True)


def pick_views(views: Views, count: int, generator: torch.Generator) -> Views:
    """`count` views, each as often as the others as far as it goes."""
    rounds = math.ceil(count / len(views.latents))
    order = torch.cat([torch.randperm(len(views.latents), generator=generator) for _ in range(rounds)])[:count]
    descriptions = tuple(views.descriptions[i] for i in order.tolist())
    order = order.to(views.latents.device)
    return Views(views.latents[order], views.weights[order], descriptions)
