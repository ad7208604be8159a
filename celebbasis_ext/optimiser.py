"""Adam with a whole matrix: a person is so few numbers that every pair of them can be weighed.

What tells two faces apart moves the loss by very different amounts: hair by a lot, the width of a mouth by next to
nothing, and each is spread over all coefficients. Adam scales the coefficients one by one and so crawls along what is
faint; the inverse root of the gradients' whole second moment lets all of it move at one pace (full-matrix AdaGrad,
Duchi et al. 2011, with Adam's averages).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

REMEMBERED = 512
"""Gradients; with the default decay the first of them has a weight of 3e-5 by then."""


class WholeMatrixAdam(torch.optim.Optimizer):
    """For parameters [P, ...] of P people, each with a matrix of their own.

    The matrix is never formed: it is the past gradients' H.T @ H, and there are fewer of them than coefficients.

    Args:
        params: The parameters.
        lr: Length of a step along each direction in which the gradients agree.
        betas: Decay of the averages of the gradients and of their outer products.
        weight_decay: Of the parameters, in parts of `lr`, as in AdamW.
        damping: Added to the matrix' diagonal, in parts of its mean; where the loss hardly moves at all, nothing does.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.98), weight_decay: float = 0.0,
        damping: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "damping": damping})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    direction = self._direction(self.state[parameter], parameter.grad.flatten(1), group)
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(direction.view_as(parameter), alpha=-group["lr"])

    def _direction(self, state: dict[str, Any], grad: Tensor, group: dict[str, Any]) -> Tensor:
        """[P, n] the averaged gradient, times the matrix' inverse root."""
        fast, slow = group["betas"]
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(grad), "history": grad.new_zeros(len(grad), 0, grad.shape[1])}
        state["step"] += 1
        state["mean"] = torch.lerp(grad, state["mean"], fast)
        newest = grad[:, None] * (1 - slow) ** 0.5
        state["history"] = torch.cat([state["history"] * slow**0.5, newest], dim=1)[:, -REMEMBERED:]
        history = state["history"] / (1 - slow ** state["step"]) ** 0.5
        return times_inverse_root(history, state["mean"] / (1 - fast ** state["step"]), group["damping"])


def times_inverse_root(history: Tensor, vectors: Tensor, damping: float) -> Tensor:
    """(H.T @ H + damping * its mean diagonal) ** -1/2 @ v, for H [P, r, n] and v [P, n].

    By the eigenvectors of the small H @ H.T [r, r], in double precision on the CPU: MPS has neither.
    """
    gram = (history @ history.mT).double().cpu()
    values, rotation = torch.linalg.eigh(gram)
    values = values.clamp_min(0)
    added = damping * values.sum(-1, keepdim=True).clamp_min(1e-30) / history.shape[-1]
    # The function's slope at 0 where a value is (nearly) 0.
    change = ((values + added).rsqrt() - added.rsqrt()) / values.clamp_min(1e-300)
    factors = torch.where(values > 1e-6 * added, change, -0.5 * added**-1.5)
    small = (history @ vectors[..., None]).double().cpu()
    inside = rotation @ (factors[..., None] * (rotation.mT @ small))
    result: Tensor = added.rsqrt().to(vectors) * vectors + (history.mT @ inside.to(history))[..., 0]
    return result
