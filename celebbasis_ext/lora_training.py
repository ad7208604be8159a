"""A person's LoRA: what two words cannot say about a face, learned from the same photo into low-rank layers.

The loss of the words themselves, inside the head; and, so that nothing else changes, the frozen checkpoint's own
prediction as target outside of it, and everywhere where the trigger word is absent (prior preservation as in
DreamBooth, arXiv 2208.12242, with the prediction in the place of generated pictures).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from celebbasis_ext.dataset import encode_views, pick_views
from celebbasis_ext.errors import TrainingDiverged
from celebbasis_ext.lora import LowRankLayers
from celebbasis_ext.prompts import training_prompt
from celebbasis_ext.schedule import add_noise, cosine, spread_timesteps, training_target
from celebbasis_ext.types import Floats, Lora, LoraConfig, LoraStepDone, Subject, TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

    from celebbasis_ext.hosts.base import Denoiser, Linears


class LoraTraining:
    """Iterate over it: every step yields a `LoraStepDone`. Stop iterating to stop.

    Args:
        denoiser: From `Host.training()`.
        linears: From `Host.cross_attention()` of the same host.
        subject: Who is learned.
        vectors: {encoder: [T, D]} the person's words, which stay what they are.
        others: Names of celebrities, who are to stay what they are.
        photo: How the photo is augmented and spoken about.
        config: How to learn.
    """

    def __init__(
        self, denoiser: Denoiser, linears: Linears, subject: Subject, vectors: Mapping[str, Floats],
        others: Sequence[str], photo: TrainConfig, config: LoraConfig,
    ) -> None:  # fmt: skip
        self.denoiser, self.linears, self.subject, self.config = denoiser, linears, subject, config
        self.photo = dataclasses.replace(photo, face_mask=True, background_weight=0.0)
        self.others = ("a person", *others)
        device = denoiser.alphas_cumprod.device
        self.words = {subject.name: {e: torch.from_numpy(v).to(device) for e, v in vectors.items()}}
        self.views = encode_views(denoiser, subject, self.photo)
        self.layers = LowRankLayers(linears, config.rank, photo.seed).to(device)
        self.optimiser = torch.optim.Adam(self.layers.parameters(), lr=config.learning_rate)
        self.step = 0

    def __iter__(self) -> Iterator[LoraStepDone]:
        started, first = time.perf_counter(), self.step
        while self.step < self.config.steps:
            loss = self._update()
            seconds = (time.perf_counter() - started) / (self.step - first)
            yield LoraStepDone(self.step, self.config.steps, loss, seconds * (self.config.steps - self.step))

    def stored(self) -> Lora:
        """The LoRA as it is now, under the person's name."""
        return self.layers.stored(self.subject.name)

    def _update(self) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * cosine(self.step / self.config.steps)
        self.optimiser.zero_grad(set_to_none=True)
        value = self._backward()
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"The LoRA's loss is {value} at step {self.step + 1}; training cannot go on.",
                "Try a lower learning rate of the LoRA; the embedding is saved and can be used without it.",
            )
        self.optimiser.step()
        self.step += 1
        return value

    def _backward(self) -> float:
        """The loss, after its gradients are there; the layers are off the checkpoint again."""
        x_t, timesteps, target, head, conditioning = self._noisy()
        with torch.no_grad():
            frozen = self.denoiser.predict(x_t, timesteps, conditioning)
        with self.layers.attached(self.linears, self.denoiser.inside):
            predicted = self.denoiser.predict(x_t, timesteps, conditioning)
            loss = self._weighed(predicted, target, frozen, head)
            loss.backward()
        return loss.item()

    def _weighed(self, predicted: Tensor, target: Tensor, frozen: Tensor, head: Tensor) -> Tensor:
        """Mean square error: [b, 1, h, w] `head` is zero for whatever has no trigger word."""
        own = self.config.batch
        outside = 1 - head[:own] / head[:own].amax((1, 2, 3), keepdim=True)
        learned = (head[:own] * (predicted[:own] - target[:own]).square()).mean()
        beside = (outside * (predicted[:own] - frozen[:own]).square()).mean()
        absent = (predicted[own:] - frozen[own:]).square().mean() if self.config.kept else 0.0
        return learned + self.config.background_weight * beside + self.config.keep_weight * absent

    @torch.no_grad()
    def _noisy(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Any]:
        """Noisy views of the photo: with the trigger word, and then without."""
        config, total = self.config, len(self.denoiser.alphas_cumprod)
        generator = torch.Generator().manual_seed(self.photo.seed * 1_000_003 + self.step)
        rng = np.random.default_rng((self.photo.seed, self.step, 1))
        x_0, head = pick_views(self.views, config.batch + config.kept, generator)
        names = [self.subject.name] * config.batch + [str(n) for n in rng.choice(self.others, config.kept)]
        prompts = [training_prompt(rng, name, self.subject.description, self.photo) for name in names]
        noise = torch.randn(x_0.shape, generator=generator).to(x_0)
        spread = [spread_timesteps(count, total, generator) for count in (config.batch, config.kept)]
        timesteps = torch.cat(spread).to(x_0.device)
        alpha_bar = self.denoiser.alphas_cumprod[timesteps]
        target = training_target(self.denoiser.prediction_type, x_0, noise, alpha_bar)
        conditioning = self.denoiser.encode_prompt(prompts, self.words)
        return add_noise(x_0, noise, alpha_bar), timesteps, target, head, conditioning
