"""The diffusion process: noising, and what the UNet is asked to predict (Ho et al. 2020; Salimans & Ho 2022).

And the course of a training through it: which timesteps, and how fast.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from torch import Tensor

PredictionType = Literal["epsilon", "v_prediction"]


def add_noise(x_0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise; alpha_bar is [b], the others [b, ...]."""
    a = alpha_bar.view(-1, *[1] * (x_0.ndim - 1))
    return a.sqrt() * x_0 + (1 - a).sqrt() * noise


def training_target(prediction_type: PredictionType, x_0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """The noise, or v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x_0."""
    if prediction_type == "epsilon":
        return noise
    a = alpha_bar.view(-1, *[1] * (x_0.ndim - 1))
    return a.sqrt() * noise - (1 - a).sqrt() * x_0


def spread_timesteps(count: int, total: int, generator: torch.Generator) -> Tensor:
    """[count] uniform, one from each of `count` equal slices, in random order: less noise in the gradient."""
    slices = torch.randperm(count, generator=generator)
    return ((slices + torch.rand(count, generator=generator)) / count * total).long().clamp(max=total - 1)


def cosine(progress: float) -> float:
    """A learning rate's course, from 1 down to 0.1."""
    return 0.1 + 0.9 * (0.5 + 0.5 * math.cos(math.pi * progress))
