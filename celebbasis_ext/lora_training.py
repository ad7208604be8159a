"""LoRAs: what words cannot say about a face, learned from photos into low-rank layers; a person's, or a checkpoint's.

The loss of the words themselves, inside the head. So that nothing else changes, the frozen checkpoint's own prediction
is the target outside of the head, and wherever no trigger word is (prior preservation as in DreamBooth, arXiv
2208.12242, with the prediction in the place of generated pictures).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from celebbasis_ext.dataset import Views, encode_views, pick_views
from celebbasis_ext.errors import TrainingDiverged
from celebbasis_ext.lora import LowRankLayers
from celebbasis_ext.prompts import training_prompt
from celebbasis_ext.schedule import add_noise, cosine, spread_timesteps, training_target
from celebbasis_ext.types import Floats, Lora, LoraConfig, LoraStepDone, Subject, TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

    from celebbasis_ext.hosts.base import Denoiser, Linears

SOMEBODY = "a person"
EMPTY = 0.3
"""Share of empty prompts among those that are to stay what they are."""


@dataclass(frozen=True)
class Known:
    """Somebody whose words are there already.

    Attributes:
        subject: With the photo.
        vectors: {encoder: [T, D]} the words, which stay what they are.
    """

    subject: Subject
    vectors: Mapping[str, Floats]


class LoraTraining:
    """Iterate over it: every step yields a `LoraStepDone`. Stop iterating to stop.

    Args:
        denoiser: From `Host.training()`.
        linears: From `Host.cross_attention()` of the same host.
        people: Who is learned: one person, or many for a LoRA that brings a checkpoint and its encoder together.
        others: Names of celebrities, who are to stay what they are.
        photo: How photos are augmented and spoken about.
        config: How to learn.
    """

    def __init__(
        self, denoiser: Denoiser, linears: Linears, people: Sequence[Known], others: Sequence[str],
        photo: TrainConfig, config: LoraConfig,
    ) -> None:  # fmt: skip
        self.denoiser, self.linears, self.people, self.config = denoiser, linears, tuple(people), config
        self.photo = dataclasses.replace(photo, face_mask=True, background_weight=0.0)
        self.others = (SOMEBODY, *others)
        device = denoiser.alphas_cumprod.device
        self.words = [{e: torch.from_numpy(v).to(device) for e, v in known.vectors.items()} for known in people]
        self.views = [encode_views(denoiser, known.subject, self.photo) for known in people]
        self.layers = LowRankLayers(linears, config.rank, photo.seed).to(device)
        self.optimiser = torch.optim.Adam(self.layers.parameters(), lr=config.learning_rate)
        self.step = 0

    def __iter__(self) -> Iterator[LoraStepDone]:
        started, first = time.perf_counter(), self.step
        while self.step < self.config.steps:
            loss = self._update()
            seconds = (time.perf_counter() - started) / (self.step - first)
            yield LoraStepDone(self.step, self.config.steps, loss, seconds * (self.config.steps - self.step))

    def stored(self, name: str) -> Lora:
        """The LoRA as it is now."""
        return self.layers.stored(name)

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
        noisy = self._noisy()
        with torch.no_grad():
            frozen = self.denoiser.predict(noisy.x_t, noisy.timesteps, noisy.conditioning)
        with self.layers.attached(self.linears, self.denoiser.inside):
            predicted = self.denoiser.predict(noisy.x_t, noisy.timesteps, noisy.conditioning)
            loss = self._weighed(noisy, predicted, frozen)
            loss.backward()
        return loss.item()

    def _weighed(self, noisy: Noisy, predicted: Tensor, frozen: Tensor) -> Tensor:
        """Mean square errors: to the truth inside the head, to the frozen prediction elsewhere."""
        own = 2 * self.config.pairs
        head = noisy.head[:own]
        outside = 1 - head / head.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
        change = (predicted - frozen).square()
        loss = (head * (predicted[:own] - noisy.target[:own]).square()).mean()
        loss = loss + self.config.background_weight * (outside * change[:own]).mean()
        return loss + self.config.keep_weight * change[own:].mean() if self.config.kept else loss

    @torch.no_grad()
    def _noisy(self) -> Noisy:
        """Noisy views of the photos: first those to learn from, then those that are to stay what they are.

        The first come in pairs, the second of which has the first one's noise reversed: most of what noise does to
        the gradient cancels out.
        """
        pairs = self.config.pairs
        generator = torch.Generator().manual_seed(self.photo.seed * 1_000_003 + self.step)
        rng = np.random.default_rng((self.photo.seed, self.step, 1))
        shown = _cycled(len(self.people), pairs, rng) + _cycled(len(self.people), self.config.kept, rng)
        views, names = self._views(shown, generator), self._names(shown, rng)
        named = zip(names, views.descriptions, strict=True)
        prompts = [training_prompt(rng, name, said, self.photo) if name else "" for name, said in named]
        noise = torch.randn(views.latents.shape, generator=generator).to(views.latents)
        timesteps = self._timesteps(generator).to(noise.device)
        x_0, head, timesteps = (torch.cat([rows[:pairs], rows]) for rows in (views.latents, views.weights, timesteps))
        noise, alpha_bar = torch.cat([-noise[:pairs], noise]), self.denoiser.alphas_cumprod[timesteps]
        words = {self.people[i].subject.name: self.words[i] for i in shown}
        return Noisy(
            add_noise(x_0, noise, alpha_bar), timesteps,
            training_target(self.denoiser.prediction_type, x_0, noise, alpha_bar), head,
            self.denoiser.encode_prompt([*prompts[:pairs], *prompts], words),
        )  # fmt: skip

    def _views(self, shown: Sequence[int], generator: torch.Generator) -> Views:
        """One view for each of the people shown."""
        picked = {i: pick_views(self.views[i], shown.count(i), generator) for i in sorted(set(shown))}
        rows = [(picked[i], list(shown[:at]).count(i)) for at, i in enumerate(shown)]
        return Views(
            torch.stack([views.latents[n] for views, n in rows]),
            torch.stack([views.weights[n] for views, n in rows]),
            tuple(views.descriptions[n] for views, n in rows),
        )

    def _names(self, shown: Sequence[int], rng: np.random.Generator) -> list[str]:
        """Whom the prompts name; empty ones, which guidance leads away from, name nobody."""
        kept = [str(self.others[rng.integers(len(self.others))]) for _ in range(self.config.kept)]
        kept = ["" if rng.random() < EMPTY else name for name in kept]
        return [self.people[i].subject.name for i in shown[: self.config.pairs]] + kept

    def _timesteps(self, generator: torch.Generator) -> Tensor:
        """[pairs + kept]."""
        total = len(self.denoiser.alphas_cumprod)
        return torch.cat([spread_timesteps(n, total, generator) for n in (self.config.pairs, self.config.kept)])


@dataclass(frozen=True)
class Noisy:
    """What a step works with; the pairs to learn from come first.

    Attributes:
        x_t: [b, 4, h, w].
        timesteps: [b].
        target: [b, 4, h, w] what the truth is.
        head: [b, 1, h, w] weights with mean 1, 0 outside of the head.
        conditioning: The host's own.
    """

    x_t: Tensor
    timesteps: Tensor
    target: Tensor
    head: Tensor
    conditioning: Any


def _cycled(people: int, count: int, rng: np.random.Generator) -> list[int]:
    """`count` of the people, each as often as the others as far as it goes."""
    rounds = math.ceil(count / people)
    return [int(i) for _ in range(rounds) for i in rng.permutation(people)][:count]
