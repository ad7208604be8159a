"""Low-rank layers on a frozen checkpoint's cross-attention: new ones, kept ones, attached and taken off again.

Hu et al. 2021 (arXiv 2106.09685): W x + up @ down @ x. Only the keys and values through which the UNet
reads the prompt have them, so that a LoRA changes what words look like, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from celebbasis_ext.errors import InvalidLora
from celebbasis_ext.types import Floats, Lora, LowRank

if TYPE_CHECKING:
    from celebbasis_ext.hosts.base import Linears


class LowRankLayers(nn.Module):
    """Layers that learn: `down` starts random as PyTorch's own linear layers, `up` at 0, so that nothing changes yet.

    Args:
        linears: {kohya's name: the checkpoint's own layer}.
        rank: Of the layers.
        seed: Of the random numbers.
    """

    def __init__(self, linears: Linears, rank: int, seed: int) -> None:
        super().__init__()
        self.names = tuple(linears)
        generator = torch.Generator().manual_seed(seed)
        self.down = nn.ParameterList(_uniform(rank, linear.in_features, generator) for linear in linears.values())
        self.up = nn.ParameterList(torch.zeros(linear.out_features, rank) for linear in linears.values())

    @contextmanager
    def attached(
        self, linears: Linears, passing: Callable[[Tensor], Tensor] = lambda weights: weights
    ) -> Iterator[None]:
        """The checkpoint has them meanwhile; `passing` is `Denoiser.inside` where they are to learn."""
        with ExitStack() as stack:
            for name, down, up in zip(self.names, self.down, self.up, strict=True):
                stack.enter_context(_added(linears[name], passing(down), passing(up), 1.0))
            yield

    def stored(self, name: str) -> Lora:
        """As they are to be saved under this name."""
        pairs = zip(self.names, self.down, self.up, strict=True)
        return Lora(name, {layer: LowRank(_array(down), _array(up)) for layer, down, up in pairs})


def _uniform(rank: int, width: int, generator: torch.Generator) -> Tensor:
    bound = width**-0.5
    return torch.empty(rank, width).uniform_(-bound, bound, generator=generator)


def _array(tensor: Tensor) -> Floats:
    return np.array(tensor.detach().float().cpu().numpy(), np.float32)


@contextmanager
def applied(linears: Linears, loras: Sequence[tuple[Lora, float]]) -> Iterator[None]:
    """The checkpoint draws with these LoRAs meanwhile, each with a weight; it is not changed, nor its weights.

    Raises:
        InvalidLora: If one has layers that the checkpoint has not, or of another size.
    """
    with ExitStack() as stack:
        for lora, weight in loras:
            check_fit(linears, lora)
            for name, layer in lora.layers.items():
                device = linears[name].weight.device
                down, up = (torch.from_numpy(array).to(device) for array in (layer.down, layer.up))
                stack.enter_context(_added(linears[name], down, up, weight))
        yield


def check_fit(linears: Linears, lora: Lora) -> None:
    """Raises InvalidLora where a LoRA belongs to another kind of checkpoint."""
    for name, layer in lora.layers.items():
        if name not in linears:
            raise InvalidLora(
                f"{lora.name} does not fit this checkpoint, which has no layer {name}.",
                "Choose a LoRA of the same family that changes nothing but the cross-attention's keys and values.",
            )
        expected = (linears[name].out_features, linears[name].in_features)
        if (found := (layer.up.shape[0], layer.down.shape[1])) != expected:
            raise InvalidLora(
                f"{lora.name} does not fit this checkpoint: expected {expected} numbers in {name}, got {found}.",
                "Choose a LoRA that was made for this family of checkpoints.",
            )


@contextmanager
def _added(linear: nn.Linear, down: Tensor, up: Tensor, scale: float) -> Iterator[None]:
    """A hook that adds to the layer's output, in full precision; off again whatever happens."""

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        with torch.autocast(output.device.type, enabled=False):
            low = F.linear(inputs[0].to(down.dtype), down)
            return output + (scale * F.linear(low, up)).to(output.dtype)

    handle = linear.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
