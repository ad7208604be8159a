"""Gradients through fp16 weights that neither vanish nor overflow (Micikevicius et al. 2018, section 3.2).

The loss is a mean over some ten thousand numbers, so that its gradient by each is too small for fp16. Between the
prediction, where the gradient enters the fp16 part, and the word vectors, where it leaves, it is scaled so that its
largest entry is about 1. Nobody outside has to know.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class HalfGradients:
    """Scales gradients inside one fp16 part: `enter` what comes out of it forwards, `leave` what goes in."""

    def __init__(self) -> None:
        self.scale: Tensor | None = None

    def enter(self, predicted: Tensor) -> Tensor:
        """The same numbers in fp32; on the way back the gradient is scaled by a power of two."""
        scaled: Tensor = _Scaled.apply(predicted.float(), self)  # type: ignore[no-untyped-call]
        return scaled

    def leave(self, vectors: Tensor) -> Tensor:
        """The same fp32 numbers; on the way back the gradient gets its true size again."""
        unscaled: Tensor = _Unscaled.apply(vectors, self)  # type: ignore[no-untyped-call]
        return unscaled


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, owner: HalfGradients) -> Tensor:
        ctx.owner = owner
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        largest = gradient.abs().amax().clamp(min=1e-30)
        ctx.owner.scale = torch.exp2(-largest.log2().floor())
        return gradient * ctx.owner.scale, None


class _Unscaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, owner: HalfGradients) -> Tensor:
        ctx.owner = owner
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient / ctx.owner.scale, None
