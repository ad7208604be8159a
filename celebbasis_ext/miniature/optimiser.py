"""Muon: momentum whose update is orthogonalised (Jordan et al. 2024); matrices and convolutions learn faster."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def _orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest orthogonal matrix, roughly, by a quintic Newton-Schulz iteration."""
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    nearest: Tensor = (x.T if tall else x).to(matrix.dtype)
    return nearest


class Muon(torch.optim.Optimizer):
    """Muon for parameters of two and more dimensions (flattened behind the first)."""

    def __init__(self, params: Iterable[Tensor], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group["lr"], group["momentum"])

    def _update(self, parameter: Tensor, lr: float, momentum: float) -> None:
        grad = parameter.grad
        assert grad is not None
        buffer = self.state[parameter].setdefault("momentum", torch.zeros_like(grad))
        buffer.lerp_(grad, 1 - momentum)
        direction = grad.lerp(buffer, momentum).reshape(len(grad), -1)
        rows, columns = direction.shape
        update = _orthogonal(direction) * max(1.0, rows / columns) ** 0.5
        parameter.add_(update.view_as(parameter), alpha=-lr)


class MuonAdam:
    """Muon for the inner matrices, AdamW for vectors, embeddings and whatever is named; one learning-rate factor."""

    def __init__(self, module: torch.nn.Module, lr: float, adam_lr: float, adam_names: tuple[str, ...] = ()) -> None:
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        is_inner = {name: p.ndim >= 2 and not any(part in name for part in adam_names) for name, p in named}
        self.parts: list[torch.optim.Optimizer] = [
            Muon([p for name, p in named if is_inner[name]], lr=lr),
            torch.optim.AdamW(
                [p for name, p in named if not is_inner[name]], lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0
            ),
        ]
        self.base = (lr, adam_lr)

    def step(self, factor: float) -> None:
        """One update with the learning rates times `factor`; clears the gradients."""
        for part, base in zip(self.parts, self.base, strict=True):
            for group in part.param_groups:
                group["lr"] = base * factor
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, object]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, object]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
