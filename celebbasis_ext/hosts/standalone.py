"""A host of our own: diffusers and transformers, no WebUI. The command line, the miniature and the tests run on it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from celebbasis_ext.errors import UnsupportedCheckpoint
from celebbasis_ext.files.clip_tokenizer import write_clip_tokenizer
from celebbasis_ext.files.folders import cache_dir
from celebbasis_ext.types import Checkpoint, Embedding, Floats, Image

if TYPE_CHECKING:
    from celebbasis_ext.hosts.base import WordVectors

CONFIGS = Path(__file__).parents[1] / "data" / "configs"
ENCODER = "clip_l"


class InjectedEmbedding(nn.Module):
    """A token table in which ids beyond the vocabulary stand for rows of `extra` [E, D]."""

    def __init__(self, table: nn.Module) -> None:
        super().__init__()
        self.table = table
        self.extra: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        weight: Tensor = self.table.weight  # type: ignore[assignment]
        return weight

    def forward(self, ids: Tensor) -> Tensor:
        size = len(self.weight)
        known: Tensor = self.table(ids.clamp(max=size - 1))
        if self.extra is None:
            return known
        injected = self.extra.to(known)[(ids - size).clamp(min=0)]
        return torch.where((ids >= size)[..., None], injected, known)


class TextPath:
    """Prompts with trigger words -> conditioning, through tokenizer, injected vectors and the frozen text encoder."""

    def __init__(self, tokenizer: Any, text_encoder: Any) -> None:
        self.tokenizer, self.text_encoder = tokenizer, text_encoder
        self.embedding = InjectedEmbedding(text_encoder.get_input_embeddings())
        text_encoder.set_input_embeddings(self.embedding)
        self.vocabulary = len(self.embedding.weight)

    def tokenize(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode(self, prompts: Sequence[str], word_vectors: WordVectors) -> Tensor:
        """[b, 77, D], differentiable in the word vectors. What is beyond 75 tokens is cut, as diffusers does."""
        names = sorted(word_vectors, key=len, reverse=True)
        extra = [word_vectors[name][ENCODER] for name in names]
        starts = np.cumsum([self.vocabulary, *(len(v) for v in extra)])
        ids = {name: list(range(start, start + len(v))) for name, v, start in zip(names, extra, starts, strict=False)}
        rows = torch.tensor([self._row(prompt, ids) for prompt in prompts], device=self.embedding.weight.device)
        self.embedding.extra = torch.cat(extra) if extra else None
        try:
            states: Tensor = self.text_encoder(input_ids=rows).last_hidden_state
        finally:
            self.embedding.extra = None
        return states

    def _row(self, prompt: str, trigger_ids: Mapping[str, list[int]]) -> list[int]:
        ids: list[int] = []
        for part in _split(prompt, list(trigger_ids)):
            ids += trigger_ids.get(part.lower()) or self.tokenize(part)
        length = self.tokenizer.model_max_length
        row = [self.tokenizer.bos_token_id, *ids[: length - 2], self.tokenizer.eos_token_id]
        return row + [self.tokenizer.pad_token_id] * (length - len(row))


def _split(prompt: str, triggers: list[str]) -> list[str]:
    """The prompt cut at its trigger words, longest first, upper or lower case, never inside a longer word."""
    if not triggers:
        return [prompt]
    either = "|".join(re.escape(name) for name in triggers)
    return [part for part in re.split(rf"(?<![\w-])({either})(?![\w-])", prompt, flags=re.IGNORECASE) if part.strip()]


class StandaloneDenoiser:
    """`hosts.base.Denoiser` over diffusers' models."""

    def __init__(self, pipeline: Any, text: TextPath, prediction_type: str) -> None:
        self.pipeline, self.text, self.prediction_type = pipeline, text, prediction_type
        self.device = pipeline.unet.device
        self.alphas_cumprod: Tensor = pipeline.scheduler.alphas_cumprod.float().to(self.device)

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        vae = self.pipeline.vae
        parts = images.to(vae.device, vae.dtype).split(4)
        means = [vae.encode(part).latent_dist.mean * vae.config.scaling_factor for part in parts]
        return torch.cat(means).float()

    def encode_prompt(self, prompts: Sequence[str], word_vectors: WordVectors) -> Tensor:
        return self.text.encode(prompts, word_vectors)

    def predict(self, x_t: Tensor, timesteps: Tensor, conditioning: Tensor) -> Tensor:
        unet = self.pipeline.unet
        predicted: Tensor = unet(x_t.to(unet.dtype), timesteps, conditioning.to(unet.dtype)).sample
        return predicted.float()


class StandaloneHost:
    """`hosts.base.Host` over a checkpoint on disk.

    Args:
        checkpoint: What it is.
        pipeline: A `StableDiffusionPipeline`.
        embeddings_dir: Where embedding files go.
    """

    def __init__(self, checkpoint: Checkpoint, pipeline: Any, embeddings_dir: Path) -> None:
        self.checkpoint, self.pipeline, self.embeddings_dir = checkpoint, pipeline, embeddings_dir
        self.text = TextPath(pipeline.tokenizer, pipeline.text_encoder)
        for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
            module.requires_grad_(False).eval()

    @classmethod
    def load(cls, path: Path, embeddings_dir: Path, device: str = "cpu") -> StandaloneHost:
        """Loads a single-file checkpoint.

        Raises:
            UnsupportedCheckpoint: If the file is not a Stable Diffusion 1 checkpoint.
        """
        family = _family(path)
        pipeline = _pipeline(path, _config_folder(family)).to(device)
        checkpoint = Checkpoint(path.stem, _sha256(path), "sd1", "epsilon", pipeline.vae.config.sample_size)
        return cls(checkpoint, pipeline, embeddings_dir)

    def token_tables(self) -> dict[str, Floats]:
        return {ENCODER: self.text.embedding.weight.detach().float().cpu().numpy()}

    def tokenize(self, text: str) -> list[int]:
        return self.text.tokenize(text)

    def describe_token(self, token_id: int) -> str:
        return str(self.pipeline.tokenizer.convert_ids_to_tokens(token_id)).removesuffix("</w>")

    @contextmanager
    def training(self) -> Iterator[StandaloneDenoiser]:
        yield StandaloneDenoiser(self.pipeline, self.text, self.checkpoint.prediction_type)

    def publish(self, path: Path) -> None:
        """Nothing to do: embeddings are passed to `generate`."""

    def encode_texts(self, prompts: Sequence[str], embeddings: Sequence[Embedding] = ()) -> Tensor:
        """[b, 77, D] conditioning of prompts in which embeddings' names are trigger words; no gradient."""
        device = self.pipeline.unet.device
        vectors = {
            e.name.lower(): {encoder: torch.from_numpy(v).to(device) for encoder, v in e.vectors.items()}
            for e in embeddings
        }
        with torch.no_grad():
            return self.text.encode(prompts, vectors)

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], embeddings: Sequence[Embedding] = (), steps: int = 20,
        guidance: float = 4.0,
    ) -> list[Image]:  # fmt: skip
        """One picture for each prompt and seed, with diffusers' own pipeline."""
        size = self.checkpoint.resolution
        negative = self.encode_texts([""]).expand(len(prompts), -1, -1)
        out = self.pipeline(
            prompt_embeds=self.encode_texts(prompts, embeddings), negative_prompt_embeds=negative,
            height=size, width=size, num_inference_steps=steps, guidance_scale=guidance, output_type="np",
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        )  # fmt: skip
        return [(image * 255).round().astype(np.uint8) for image in out.images]


def _pipeline(path: Path, config: Path) -> Any:
    _quiet_libraries()
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline.from_single_file(
        str(path), config=str(config), local_files_only=True, torch_dtype=torch.float32
    )
    for network in (pipeline.unet, pipeline.vae):
        network.to(memory_format=torch.channels_last)  # a third faster on processors and tensor cores alike
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _quiet_libraries() -> None:
    """Notes about torchvision and dtypes are not for the person who waits for a picture; errors still show."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()


def _family(path: Path) -> str:
    """Which of `data/configs` fits the file, by the shape of its token table.

    Raises:
        UnsupportedCheckpoint: If none does.
    """
    from safetensors import SafetensorError, safe_open

    key = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    try:
        with safe_open(path, framework="numpy") as file:
            width = file.get_slice(key).get_shape()[1] if key in file.keys() else 0  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UnsupportedCheckpoint(
            f"{path} cannot be read as a .safetensors checkpoint ({error}).",
            "Check the path, or download the file again.",
        ) from error
    if width != 96:
        raise UnsupportedCheckpoint(
            f"{path.name} has a text encoder of width {width or 'unknown'}; "
            "this version reads the miniature (96) only.",
            "Use the WebUI extension for other checkpoints.",
        )
    return "miniature"


def _config_folder(family: str) -> Path:
    """A folder in diffusers' layout, with the tokenizer written beside the shipped JSON files."""
    folder = cache_dir() / "configs" / family
    shutil.copytree(CONFIGS / family, folder, dirs_exist_ok=True)
    if not (folder / "tokenizer" / "tokenizer_config.json").exists():
        write_clip_tokenizer(folder / "tokenizer")
    return folder


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
