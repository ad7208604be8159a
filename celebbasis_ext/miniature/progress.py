"""What every training of the miniature shares: a clock, a log, and a checkpoint to go on from."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import torch

from celebbasis_ext.miniature.optimiser import MuonAdam


def learning_rate_factor(progress: float, warmup: float = 0.02) -> float:
    """Rises linearly, then falls as a cosine; `progress` in [0, 1]."""
    if progress < warmup:
        return (progress + 1e-3) / warmup
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup)))


class Training:
    """Counts steps up to a planned number, writes the log, and saves what is needed to go on.

    Args:
        folder: Where the checkpoint and the log go.
        name: Their stem.
        module: What is trained.
        optimiser: What trains it.
        steps: The planned number of steps.
        average: An exponential average of the module's weights to keep, if any.
    """

    def __init__(
        self, folder: Path, name: str, module: torch.nn.Module, optimiser: MuonAdam, steps: int,
        average: torch.nn.Module | None = None,
    ) -> None:  # fmt: skip
        self.path, self.log_path = folder / f"{name}.ckpt", folder / f"{name}.log.jsonl"
        self.module, self.optimiser, self.average = module, optimiser, average
        self.steps, self.step = steps, 0
        self.seconds, self._since = 0.0, time.perf_counter()
        if self.path.exists():
            self._load()

    @property
    def done(self) -> bool:
        return self.step >= self.steps

    def update(self, decay: float = 0.999) -> None:
        """After a backward pass: one optimiser step, and the average follows."""
        self.optimiser.step(learning_rate_factor(self.step / self.steps))
        self.step += 1
        if self.average is not None:
            decay = min(decay, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                for mean, value in zip(self.average.parameters(), self.module.parameters(), strict=True):
                    mean.lerp_(value, 1 - decay)

    def log(self, **figures: float) -> None:
        line = {"step": self.step, "seconds": round(self._elapsed(), 1)}
        line |= {name: round(float(value), 5) for name, value in figures.items()}
        with self.log_path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        print(self.path.stem, line, flush=True)

    def save(self) -> None:
        state = {
            "module": self.module.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step,
            "seconds": self._elapsed(), "average": self.average and self.average.state_dict(),
        }  # fmt: skip
        unfinished = self.path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(self.path)

    def _elapsed(self) -> float:
        return self.seconds + time.perf_counter() - self._since

    def _load(self) -> None:
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.step, self.seconds = state["step"], state["seconds"]
