"""The 2 x 512 numbers that are a person, and the ways of learning them (arXiv 2306.00926, eq. 4-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from celebbasis_ext.encoder import answers
from celebbasis_ext.errors import InvalidSettings

if TYPE_CHECKING:
    from celebbasis_ext.types import CelebBasis, Encoder, Floats, TrainConfig


class Coefficients(nn.Module):
    """P people's coefficients [P, T, K], on a sphere if there is one.

    Subclasses say where the raw numbers come from.

    Args:
        basis: Gives the sphere's radius and the spread along each component.
        config: `radius`, `whiten` and `components`.
    """

    radius: Tensor | None
    spread: Tensor

    def __init__(self, basis: CelebBasis, config: TrainConfig) -> None:
        super().__init__()
        tokens, available = basis.shape
        self.shape = (tokens, components_used(available, config.components))
        spread = np.sqrt(basis.explained_variance[:, : self.shape[1]])
        spread = spread / spread.mean() if config.whiten else np.ones_like(spread)
        self.register_buffer("spread", torch.from_numpy(spread))
        self.register_buffer("radius", _radius(basis, config))

    def raw(self) -> Tensor:
        raise NotImplementedError

    def forward(self) -> Tensor:
        """[P, T, K]."""
        raw = self.raw() * self.spread
        return raw if self.radius is None else F.normalize(raw, dim=-1) * self.radius


def components_used(available: int, wanted: int | None) -> int:
    """K; raises InvalidSettings where more is wanted than there is."""
    if wanted is not None and not 1 <= wanted <= available:
        raise InvalidSettings(
            f"components must be between 1 and {available}, got {wanted}.", "This checkpoint's basis has no more."
        )
    return wanted or available


def _radius(basis: CelebBasis, config: TrainConfig) -> Tensor | None:
    """[T, 1], or None without a sphere."""
    if config.radius == "free":
        return None
    if config.radius == "unit":
        return torch.ones(basis.shape[0], 1)
    return torch.from_numpy(basis.radius)[:, None].clone()


class DirectCoefficients(Coefficients):
    """The coefficients themselves are learned, in units of the celebrities' mean distance from their centre.

    On a sphere they start somewhere on it, else at the centre.
    """

    scale: Tensor

    def __init__(self, basis: CelebBasis, config: TrainConfig, people: int) -> None:
        super().__init__(basis, config)
        generator = torch.Generator().manual_seed(config.seed)
        start = torch.randn(people, *self.shape, generator=generator) / self.shape[1] ** 0.5
        self.values = nn.Parameter(torch.zeros_like(start) if self.radius is None else start)
        self.register_buffer("scale", torch.from_numpy(basis.radius)[:, None].clone())

    def raw(self) -> Tensor:
        return self.values * self.scale


class AnchoredCoefficients(Coefficients):
    """An encoder's answer, and how far each person is from it, in units of the encoder's own errors."""

    anchor: Tensor
    root: Tensor

    def __init__(self, basis: CelebBasis, config: TrainConfig, encoder: Encoder, identities: Floats) -> None:
        super().__init__(basis, config)
        tokens, count = self.shape
        anchor, root = answers(encoder, identities), encoder.spread.reshape(tokens, -1, encoder.spread.shape[1])
        self.register_buffer("anchor", torch.from_numpy(anchor[..., :count].copy()))
        self.register_buffer("root", torch.from_numpy(root[:, :count].copy()))
        self.values = nn.Parameter(torch.zeros(len(identities), self.root.shape[-1]))

    def raw(self) -> Tensor:
        return self.anchor + torch.einsum("tkn,pn->ptk", self.root, self.values)

    def forward(self) -> Tensor:
        """[P, T, K]; the errors' root stands in the place of whitening."""
        raw = self.raw()
        return raw if self.radius is None else F.normalize(raw, dim=-1) * self.radius


class MappedCoefficients(Coefficients):
    """The paper's face mapper: identity vector -> linear -> leaky ReLU, one mapper for all people of a run."""

    identities: Tensor

    def __init__(self, basis: CelebBasis, config: TrainConfig, identities: Floats) -> None:
        super().__init__(basis, config)
        self.register_buffer("identities", torch.from_numpy(identities))
        generator = torch.Generator().manual_seed(config.seed)
        self.linear = nn.Linear(identities.shape[-1], self.shape[0] * self.shape[1])
        bound = identities.shape[-1] ** -0.5
        for parameter in (self.linear.weight, self.linear.bias):
            parameter.data.uniform_(-bound, bound, generator=generator)

    def raw(self) -> Tensor:
        return F.leaky_relu(self.linear(self.identities)).view(-1, *self.shape)


def new_coefficients(
    basis: CelebBasis, config: TrainConfig, identities: Floats, encoder: Encoder | None = None
) -> Coefficients:
    """What `config.learn` and `config.start` ask for; `identities` is [P, I], one row per person.

    Raises:
        InvalidSettings: To start from an encoder, where there is none or a mapper is to be learned.
    """
    if config.start == "encoder":
        if encoder is None or config.learn == "mapper":
            raise InvalidSettings(
                "Training cannot start from the encoder: " + ("a mapper is learned." if encoder else "there is none."),
                'Choose learn "coefficients".'
                if encoder
                else "Learn the checkpoint's encoder first, or start anywhere.",
            )
        return AnchoredCoefficients(basis, config, encoder, identities)
    if config.learn == "mapper":
        return MappedCoefficients(basis, config, identities)
    return DirectCoefficients(basis, config, len(identities))


class VectorsFromCoefficients(nn.Module):
    """mean + coefficients @ components, differentiable: [P, T, K] -> {encoder: [P, T, D]}."""

    def __init__(self, basis: CelebBasis) -> None:
        super().__init__()
        self.encoders = tuple(basis.mean)
        for encoder in self.encoders:
            self.register_buffer(f"mean_{encoder}", torch.from_numpy(basis.mean[encoder]))
            self.register_buffer(f"components_{encoder}", torch.from_numpy(basis.components[encoder]))

    def forward(self, coefficients: Tensor) -> dict[str, Tensor]:
        return {encoder: self._vectors(encoder, coefficients) for encoder in self.encoders}

    def _vectors(self, encoder: str, coefficients: Tensor) -> Tensor:
        mean, components = self.get_buffer(f"mean_{encoder}"), self.get_buffer(f"components_{encoder}")
        return mean + torch.einsum("ptk,tkd->ptd", coefficients, components[:, : coefficients.shape[-1]])
