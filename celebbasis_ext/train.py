"""The loop: noise prediction through a frozen checkpoint, gradients to the coefficients and to nothing else.

arXiv 2306.00926, section 3.3: minimise E || noise - eps(x_t, t, tau(prompt with the person's two words)) ||^2.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from celebbasis_ext.coefficients import Coefficients, VectorsFromCoefficients, new_coefficients
from celebbasis_ext.dataset import encode_views, pick_views
from celebbasis_ext.errors import TrainingDiverged
from celebbasis_ext.optimiser import WholeMatrixAdam
from celebbasis_ext.prompts import training_prompt
from celebbasis_ext.schedule import add_noise, cosine, spread_timesteps, training_target
from celebbasis_ext.types import CelebBasis, Encoder, Floats, StepDone, Subject, TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

    from celebbasis_ext.hosts.base import Denoiser


class Training:
    """Iterate over it: every step yields a `StepDone`. Stop iterating to stop; `state_dict` goes on later.

    All chance of a step comes from (seed, step), so that a resumed run is the run that was not interrupted.

    Args:
        denoiser: From `Host.training()`.
        basis: The checkpoint's celeb basis.
        subjects: Who is learned, together.
        config: How.
        state: What `state_dict` of an earlier run returned.
        encoder: The checkpoint's, where `config.start` asks for it.

    Raises:
        InvalidSettings: See `new_coefficients`.
        TrainingDiverged: While iterating, where the loss is not a finite number.
    """

    def __init__(
        self, denoiser: Denoiser, basis: CelebBasis, subjects: Sequence[Subject], config: TrainConfig,
        state: dict[str, Any] | None = None, encoder: Encoder | None = None,
    ) -> None:  # fmt: skip
        self.denoiser, self.subjects, self.config = denoiser, tuple(subjects), config
        device = denoiser.alphas_cumprod.device
        self.device_type = device.type
        identities = np.stack([subject.identity for subject in subjects])
        self.coefficients = new_coefficients(basis, config, identities, encoder).to(device)
        self.vectors = VectorsFromCoefficients(basis).to(device)
        self.views = [encode_views(denoiser, subject, config) for subject in subjects]
        self.optimiser = _optimiser(self.coefficients, config)
        self.average = self._current().detach()
        self.step = 0
        if state is not None:
            self._load(state)

    def __iter__(self) -> Iterator[StepDone]:
        started, first = time.perf_counter(), self.step
        while self.step < self.config.steps:
            loss = self._update()
            seconds = (time.perf_counter() - started) / (self.step - first)
            left = seconds * (self.config.steps - self.step)
            yield StepDone(self.step, self.config.steps, loss, self.stored(), left)

    def stored(self) -> Floats:
        """[P, T, K] the coefficients as they are to be saved: the exponential average."""
        return np.array(self.average.cpu().numpy(), dtype=np.float32)

    def _update(self) -> float:
        for group in self.optimiser.param_groups:
            factor = cosine(self.step / self.config.steps) if self.config.decay else 1.0
            group["lr"] = self.config.learning_rate * factor
        loss = self._loss()
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"The loss is {value} at step {self.step + 1}; training cannot go on.",
                "Try a lower learning rate; if the checkpoint overflows, full precision (fp32).",
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        decay = min(self.config.average, self.step / (self.step + 9))
        self.average = torch.lerp(self._current().detach(), self.average, decay)
        return value

    def _loss(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        rng = np.random.default_rng((self.config.seed, self.step))
        picked = [pick_views(views, self.config.batch, generator) for views in self.views]
        x_0, weights = torch.cat([v.latents for v in picked]), torch.cat([v.weights for v in picked])
        prompts = [
            training_prompt(rng, subject.name, description, self.config)
            for subject, views in zip(self.subjects, picked, strict=True)
            for description in views.descriptions
        ]
        noise = torch.randn(x_0.shape, generator=generator).to(x_0)
        timesteps = spread_timesteps(len(x_0), len(self.denoiser.alphas_cumprod), generator).to(x_0.device)
        alpha_bar = self.denoiser.alphas_cumprod[timesteps]
        conditioning = self.denoiser.encode_prompt(prompts, self._word_vectors())
        predicted = self.denoiser.predict(add_noise(x_0, noise, alpha_bar), timesteps, conditioning)
        target = training_target(self.denoiser.prediction_type, x_0, noise, alpha_bar)
        return (weights * (predicted - target).square()).mean()

    def _word_vectors(self) -> dict[str, dict[str, Tensor]]:
        vectors = self.vectors(self._current())
        return {s.name: {encoder: v[i] for encoder, v in vectors.items()} for i, s in enumerate(self.subjects)}

    def _current(self) -> Tensor:
        """[P, T, K] in full precision: autocast would round them, and go on with weights that it remembers."""
        with torch.autocast(self.device_type, enabled=False):
            coefficients: Tensor = self.coefficients()
        return coefficients

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers alone, so that it can be read back with `weights_only`."""
        return {
            "coefficients": self.coefficients.state_dict(), "optimiser": self.optimiser.state_dict(),
            "average": self.average, "step": self.step,
        }  # fmt: skip

    def _load(self, state: dict[str, Any]) -> None:
        self.coefficients.load_state_dict(state["coefficients"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average, self.step = state["average"].to(self.average.device), state["step"]


def _optimiser(coefficients: Coefficients, config: TrainConfig) -> torch.optim.Optimizer:
    """A mapper has far too many weights for a whole matrix."""
    whole = config.optimiser == "matrix" and config.learn == "coefficients"
    kind = WholeMatrixAdam if whole else torch.optim.AdamW
    return kind(coefficients.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
