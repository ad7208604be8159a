"""The optimiser against plain linear algebra, and in a bowl that is steep in one direction and flat in another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from celebbasis_ext.optimiser import REMEMBERED, WholeMatrixAdam, times_inverse_root


@pytest.mark.parametrize(("rows", "size"), [(1, 7), (5, 7), (7, 7), (20, 7)])
def test_the_inverse_root_is_that_of_the_whole_matrix(rows: int, size: int) -> None:
    rng = np.random.default_rng(rows)
    history, vectors = rng.standard_normal((3, rows, size)), rng.standard_normal((3, size))
    ours = times_inverse_root(torch.from_numpy(history), torch.from_numpy(vectors), 0.01)
    for h, v, found in zip(history, vectors, ours.numpy(), strict=True):
        whole = h.T @ h
        values, axes = np.linalg.eigh(whole + 0.01 * np.trace(whole) / size * np.eye(size))
        assert np.allclose(found, axes @ np.diag(values**-0.5) @ axes.T @ v, rtol=1e-6, atol=1e-9)


def minimise(optimiser: type[torch.optim.Optimizer], steps: int) -> float:
    """The distance from the minimum of a turned, ill-conditioned bowl (condition 30), relative to the start's."""
    axes = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(1)))[0]
    bowl = axes @ torch.diag(torch.logspace(0, -1.5, 20)) @ axes.T
    x = torch.nn.Parameter(torch.ones(1, 20))
    method = optimiser([x], lr=0.1)  # type: ignore[call-arg]
    for step in range(steps):
        for group in method.param_groups:
            group["lr"] = 0.1 * (1 - step / steps)
        method.zero_grad()
        (x @ bowl * x).sum().backward()
        method.step()
    return float(x.detach().norm() / 20**0.5)


def test_faint_directions_are_learned_as_quickly_as_strong_ones() -> None:
    assert minimise(WholeMatrixAdam, 150) < 0.5 * minimise(torch.optim.Adam, 150)


def test_people_do_not_disturb_each_other() -> None:
    together = torch.nn.Parameter(torch.zeros(2, 3, 4))
    alone = torch.nn.Parameter(torch.zeros(1, 3, 4))
    both, one = WholeMatrixAdam([together], lr=0.1), WholeMatrixAdam([alone], lr=0.1)
    generator = torch.Generator().manual_seed(2)
    for _ in range(6):
        together.grad = torch.randn(2, 3, 4, generator=generator)
        alone.grad = together.grad[1:].clone()
        both.step()
        one.step()
    assert torch.allclose(together[1], alone[0], atol=1e-6)
    assert not torch.allclose(together[0], together[1], atol=0.01)


def test_the_memory_is_bounded() -> None:
    x = torch.nn.Parameter(torch.zeros(1, 2))
    optimiser = WholeMatrixAdam([x], lr=0.1)
    for step in range(REMEMBERED + 5):
        x.grad = torch.full((1, 2), 1.0 + step % 3)
        optimiser.step()
    assert optimiser.state[x]["history"].shape == (1, REMEMBERED, 2)
    assert x.isfinite().all()


def test_a_gradient_of_zero_moves_nothing() -> None:
    x = torch.nn.Parameter(torch.ones(1, 3))
    x.grad = torch.zeros(1, 3)
    WholeMatrixAdam([x], lr=0.1).step()
    assert torch.equal(x.detach(), torch.ones(1, 3))
