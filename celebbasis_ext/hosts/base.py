"""What the engine asks of whoever has loaded a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from celebbasis_ext.types import Checkpoint, Embedding, Floats, Image

if TYPE_CHECKING:
    from torch import Tensor, nn

# {kohya's name of a layer, see `files/lora_names.py`: the layer}
Linears = Mapping[str, "nn.Linear"]

# {trigger word: {encoder: [T, D]}}
WordVectors = Mapping[str, Mapping[str, "Tensor"]]


class Denoiser(Protocol):
    """A checkpoint that can be differentiated through. Nothing in it is ever changed."""

    prediction_type: Any  # schedule.PredictionType
    alphas_cumprod: Tensor
    """[timesteps], float32, on the device where training happens."""

    def encode_image(self, images: Tensor) -> Tensor:
        """[b, 3, h, w] in [-1, 1] -> latents [b, 4, h/8, w/8], scaled as the UNet has them; no gradient."""
        ...

    def encode_prompt(self, prompts: Sequence[str], word_vectors: WordVectors) -> Any:
        """Conditioning of prompts in which trigger words stand for vectors; differentiable in the vectors."""
        ...

    def predict(self, x_t: Tensor, timesteps: Tensor, conditioning: Any) -> Tensor:
        """[b, 4, h/8, w/8] the UNet's prediction, float32; differentiable in the conditioning."""
        ...

    def inside(self, weights: Tensor) -> Tensor:
        """The same numbers, to be used inside the UNet: their gradient comes out at its true size."""
        ...


class Host(Protocol):
    """A program that has a Stable Diffusion checkpoint loaded."""

    @property
    def checkpoint(self) -> Checkpoint: ...

    @property
    def embeddings_dir(self) -> Path:
        """Where embedding files belong."""
        ...

    @property
    def lora_dir(self) -> Path:
        """Where LoRA files belong."""
        ...

    def token_tables(self) -> Mapping[str, Floats]:
        """{encoder: [vocabulary, D]} float32; rows of zeros are tokens that the text encoder never met."""
        ...

    def tokenize(self, text: str) -> list[int]:
        """Token ids without start and end."""
        ...

    def describe_token(self, token_id: int) -> str:
        """The token as text."""
        ...

    def cross_attention(self) -> Linears:
        """The UNet's layers that make keys and values of a prompt, by the names that LoRA files use."""
        ...

    def training(self) -> AbstractContextManager[Denoiser]:
        """Frozen and ready to differentiate; on exit the host is what it was, whatever happened."""
        ...

    def publish(self, path: Path) -> None:
        """Make the host notice a new embedding file."""
        ...

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], embeddings: Sequence[Embedding] = (), steps: int = 20
    ) -> list[Image]:
        """One picture for each prompt and seed; trigger words of `embeddings` may stand in the prompts."""
        ...
