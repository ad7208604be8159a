"""Stand-ins that make the engine's tests run in seconds: a tiny denoiser with real gradients, and a small basis."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from celebbasis_ext.basis import fit_basis
from celebbasis_ext.names import load_names
from celebbasis_ext.types import CelebBasis, Subject

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop

WIDTH = 12


class TinyDenoiser:
    """A frozen, smooth denoiser in which the words matter: enough to differentiate through."""

    def __init__(self, prediction_type: str = "epsilon") -> None:
        self.prediction_type = prediction_type
        self.alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
        generator = torch.Generator().manual_seed(3)
        self.image = nn.Conv2d(4 + WIDTH, 4, 3, padding=1)
        for parameter in self.image.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
            parameter.requires_grad_(False)
        self.seen_prompts: list[str] = []

    def encode_image(self, images: Tensor) -> Tensor:
        pooled = nn.functional.avg_pool2d(images, 8)
        return torch.cat([pooled, pooled.mean(1, keepdim=True)], dim=1)

    def encode_prompt(self, prompts: Sequence[str], word_vectors: Any) -> Tensor:
        self.seen_prompts += prompts
        rows = []
        for prompt in prompts:
            (name,) = [name for name in word_vectors if name in prompt]
            rows.append(word_vectors[name]["clip_l"].mean(0) + 0.01 * len(prompt))
        return torch.stack(rows)

    def predict(self, x_t: Tensor, timesteps: Tensor, conditioning: Tensor) -> Tensor:
        words = conditioning[:, :, None, None].expand(-1, -1, *x_t.shape[-2:])
        return torch.tanh(self.image(torch.cat([x_t, words.to(x_t)], dim=1)))

    def inside(self, weights: Tensor) -> Tensor:
        return weights


def make_basis(names: int = 9, width: int = WIDTH, seed: int = 0) -> CelebBasis:
    vectors = np.random.default_rng(seed).standard_normal((names, 2, width)).astype(np.float32)
    return fit_basis([f"first{i} last{i}" for i in range(names)], {"clip_l": vectors}, "test")


def make_subject(name: str = "anna-cb", seed: int = 0, description: tuple[str, ...] = ()) -> Subject:
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 16:48] = 1
    identity = rng.standard_normal(16).astype(np.float32)
    return Subject(name, photo, mask, identity / np.linalg.norm(identity), description)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The tests' networks are small: a second thread costs more than it gives, above all on a busy machine."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from, or left in, the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELEBBASIS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def denoiser() -> TinyDenoiser:
    return TinyDenoiser()


@pytest.fixture
def basis() -> CelebBasis:
    return make_basis()


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The real miniature, opened once."""
    from celebbasis_ext.miniature.workshop import open_workshop

    return open_workshop(tmp_path_factory.mktemp("embeddings"))


@pytest.fixture
def out(miniature: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for embeddings; commands run in this process share one opened miniature."""

    def open_host(
        checkpoint: Path | None, embeddings_dir: Path, names: Path | None = None, faces: bool = False
    ) -> Workshop:
        host = miniature.host if checkpoint is None else type(miniature.host).load(checkpoint, embeddings_dir)  # type: ignore[attr-defined]
        host.embeddings_dir = embeddings_dir
        return dataclasses.replace(miniature, host=host, names=load_names(names) if names else miniature.names)

    for command in ("sample", "mix", "move", "inspect", "generate"):
        monkeypatch.setattr(f"celebbasis_ext.cli.{command}.open_host", open_host)
    monkeypatch.setattr("celebbasis_ext.miniature.workshop.open_workshop", lambda out, **_: open_host(None, out))
    return tmp_path / "embeddings"
