"""A host of our own: diffusers and transformers, no WebUI. The command line, the miniature and the tests run on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from celebbasis_ext.errors import UnsupportedCheckpoint
from celebbasis_ext.files.checkpoint import CheckpointFile, recognise
from celebbasis_ext.files.checksum import cached_sha256
from celebbasis_ext.files.lora import lora_folder
from celebbasis_ext.files.lora_names import lora_name
from celebbasis_ext.hosts.half_gradients import HalfGradients
from celebbasis_ext.hosts.standalone_load import (
    DTYPES,
    Placement,
    brought_to,
    checkpointed,
    chosen_device,
    chosen_precision,
    load_pipeline,
    modules_of,
    set_schedule,
)
from celebbasis_ext.hosts.standalone_text import Conditioning, TextPath, encode, text_paths
from celebbasis_ext.types import Checkpoint, Embedding, Floats, Image

if TYPE_CHECKING:
    from celebbasis_ext.hosts.base import WordVectors


class StandaloneDenoiser:
    """`hosts.base.Denoiser` over diffusers' models."""

    def __init__(self, pipeline: Any, texts: Sequence[TextPath], prediction_type: str) -> None:
        self.pipeline, self.texts, self.prediction_type = pipeline, texts, prediction_type
        self.device = pipeline.unet.device
        self.alphas_cumprod: Tensor = pipeline.scheduler.alphas_cumprod.float().to(self.device)
        self.gradients = HalfGradients() if pipeline.unet.dtype == torch.float16 else None

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """One picture at a time; the VAE is on the device only meanwhile."""
        vae = self.pipeline.vae
        with brought_to(vae, self.device):
            parts = images.to(self.device, vae.dtype).split(1)
            means = [vae.encode(part).latent_dist.mean * vae.config.scaling_factor for part in parts]
        return torch.cat(means).float()

    def encode_prompt(self, prompts: Sequence[str], word_vectors: WordVectors) -> Conditioning:
        if self.gradients is not None:
            leave = self.gradients.leave
            word_vectors = {
                name: {encoder: leave(v) for encoder, v in own.items()} for name, own in word_vectors.items()
            }
        return encode(self.texts, prompts, word_vectors)

    def predict(self, x_t: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        unet = self.pipeline.unet
        predicted: Tensor = unet(
            x_t.to(unet.dtype), timesteps, conditioning.states.to(unet.dtype),
            added_cond_kwargs=_added(x_t, conditioning, unet.dtype),
        ).sample  # fmt: skip
        return predicted.float() if self.gradients is None else self.gradients.enter(predicted)

    def inside(self, weights: Tensor) -> Tensor:
        return weights if self.gradients is None else self.gradients.leave(weights)


def _added(x_t: Tensor, conditioning: Conditioning, dtype: torch.dtype) -> dict[str, Tensor]:
    """SDXL's extra conditions: the pooled prompt, and [b, 6] original size, crop's top left and target size.

    A picture's true size goes in, so that a training at a lower resolution does not teach the look of small pictures.
    """
    if conditioning.pooled is None:
        return {}
    height, width = x_t.shape[-2] * 8, x_t.shape[-1] * 8
    sizes = torch.tensor([[height, width, 0, 0, height, width]], device=x_t.device, dtype=dtype)
    return {"text_embeds": conditioning.pooled.to(dtype), "time_ids": sizes.expand(len(x_t), -1)}


@torch.no_grad()
def measured_prediction(denoiser: StandaloneDenoiser, side: int = 32) -> Literal["epsilon", "v_prediction"]:
    """What a UNet predicts, where nobody says it: SD2's files do not.

    At the last timestep x_t is nearly pure noise. A UNet that predicts the noise answers with its input
    (correlation 1), one that predicts v with minus the picture, of which it knows nothing (correlation 0).

    Args:
        denoiser: With a schedule for either.
        side: Of the latents.

    Raises:
        UnsupportedCheckpoint: If the answer is not a number: SD2.1 can overflow in fp16.
    """
    device, last = denoiser.device, len(denoiser.alphas_cumprod) - 1
    noise = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    conditioning = denoiser.encode_prompt(["", ""], {})
    answer = denoiser.predict(noise, torch.full((2,), last, device=device), conditioning)
    correlation = torch.corrcoef(torch.stack([answer.flatten(), noise.flatten()]))[0, 1].item()
    if math.isnan(correlation):
        raise UnsupportedCheckpoint(
            "The UNet's answer to noise is not a number.", "Try the precision fp32, or download the checkpoint again."
        )
    return "epsilon" if correlation > 0.5 else "v_prediction"


class StandaloneHost:
    """`hosts.base.Host` over a checkpoint on disk.

    Args:
        checkpoint: What it is.
        pipeline: A `StableDiffusionPipeline` or `StableDiffusionXLPipeline`, frozen.
        texts: Its text encoders, first to last.
        embeddings_dir: Where embedding files go.
        low_memory: See `Placement`.
    """

    def __init__(
        self, checkpoint: Checkpoint, pipeline: Any, texts: Sequence[TextPath], embeddings_dir: Path,
        low_memory: bool = False,
    ) -> None:  # fmt: skip
        self.checkpoint, self.pipeline, self.texts = checkpoint, pipeline, tuple(texts)
        self.embeddings_dir, self.low_memory = embeddings_dir, low_memory

    @classmethod
    def load(cls, path: Path, embeddings_dir: Path, placement: Placement | None = None) -> StandaloneHost:
        """Loads a `.safetensors`, a `.ckpt`, or a folder in diffusers' layout; on the CPU in fp32 if not told.

        Raises:
            UnsupportedCheckpoint: If it cannot be trained through; see `recognise` and `load_pipeline`.
            InvalidSettings: If the placement is not possible here.
        """
        placement = placement or Placement("cpu", "fp32")
        file = recognise(path)
        device = chosen_device(placement.device)
        pipeline = load_pipeline(file, DTYPES[chosen_precision(placement.precision, device, file.precision)])
        _place(pipeline, device)
        texts = text_paths(pipeline, file.family)
        prediction = _settle_prediction(file, pipeline, texts)
        resolution = placement.resolution or _native_resolution(file, pipeline, prediction)
        name, sha256 = (path.name, "") if path.is_dir() else (path.stem, cached_sha256(path))
        checkpoint = Checkpoint(name, sha256, file.family, prediction, resolution)
        return cls(checkpoint, pipeline, texts, embeddings_dir, placement.low_memory)

    @property
    def lora_dir(self) -> Path:
        return lora_folder(self.embeddings_dir)

    @property
    def where(self) -> str:
        """Precision and device, for people to read."""
        return f"{str(self.pipeline.unet.dtype).removeprefix('torch.')} on {self.pipeline.unet.device.type}"

    def token_tables(self) -> dict[str, Floats]:
        return {text.name: text.embedding.weight.detach().float().cpu().numpy() for text in self.texts}

    def tokenize(self, text: str) -> list[int]:
        return self.texts[0].tokenize(text)

    def describe_token(self, token_id: int) -> str:
        return str(self.pipeline.tokenizer.convert_ids_to_tokens(token_id)).removesuffix("</w>")

    def cross_attention(self) -> dict[str, nn.Linear]:
        """See `Host`; diffusers counts the blocks of the way down."""
        unet = self.pipeline.unet
        blocks = unet.config.layers_per_block
        named = ((lora_name(name, self.checkpoint.family, blocks), module) for name, module in unet.named_modules())
        return {name: module for name, module in named if name is not None}

    @contextmanager
    def training(self) -> Iterator[StandaloneDenoiser]:
        with checkpointed(self.pipeline.unet, self.low_memory):
            yield self._denoiser()

    def _denoiser(self) -> StandaloneDenoiser:
        return StandaloneDenoiser(self.pipeline, self.texts, self.checkpoint.prediction_type)

    def publish(self, path: Path) -> None:
        """Nothing to do: embeddings are passed to `generate`."""

    def encode_texts(self, prompts: Sequence[str], embeddings: Sequence[Embedding] = ()) -> Conditioning:
        """Conditioning of prompts in which embeddings' names are trigger words; no gradient."""
        device = self.pipeline.unet.device
        vectors: Mapping[str, Mapping[str, Tensor]] = {
            e.name.lower(): {encoder: torch.from_numpy(v).to(device) for encoder, v in e.vectors.items()}
            for e in embeddings
        }
        with torch.no_grad():
            return encode(self.texts, prompts, vectors)

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], embeddings: Sequence[Embedding] = (), steps: int = 20,
        guidance: float = 4.0,
    ) -> list[Image]:  # fmt: skip
        """One picture for each prompt and seed, with diffusers' own pipeline."""
        size = self.checkpoint.resolution
        wanted, unwanted = self.encode_texts(prompts, embeddings), self._unwanted(len(prompts))
        pooled = {} if wanted.pooled is None else {
            "pooled_prompt_embeds": wanted.pooled, "negative_pooled_prompt_embeds": unwanted.pooled,
        }  # fmt: skip
        # The pipeline takes the device of its first part, which is the VAE.
        with torch.no_grad(), brought_to(self.pipeline.vae, self.pipeline.unet.device):
            latents = self.pipeline(
                prompt_embeds=wanted.states, negative_prompt_embeds=unwanted.states, **pooled,
                height=size, width=size, num_inference_steps=steps, guidance_scale=guidance, output_type="latent",
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            ).images  # fmt: skip
            return [_decoded(self.pipeline.vae, latent[None]) for latent in latents]

    def _unwanted(self, count: int) -> Conditioning:
        """The negative prompt: empty, which for SDXL means zeros, as in the WebUI and in diffusers."""
        empty = self.encode_texts([""])
        return (empty.zeros() if self.checkpoint.family == "sdxl" else empty).repeated(count)


def _place(pipeline: Any, device: str) -> None:
    """All on the device but the VAE, which is seldom used: on a GPU it comes when it is."""
    for name, module in modules_of(pipeline).items():
        module.to("cpu" if name == "vae" and device == "cuda" else device)


def _settle_prediction(
    file: CheckpointFile, pipeline: Any, texts: Sequence[TextPath]
) -> Literal["epsilon", "v_prediction"]:
    """As the file says, else as measured; the pipeline's schedule is set accordingly."""
    prediction = file.prediction_type
    if prediction is None:
        prediction = measured_prediction(StandaloneDenoiser(pipeline, texts, "epsilon"))
    set_schedule(pipeline, prediction, file.zero_snr)
    return prediction


def _native_resolution(file: CheckpointFile, pipeline: Any, prediction_type: str) -> int:
    """In pixels. SD2's two public sizes have one config: 768 px goes with v, 512 px with epsilon."""
    if file.config == "sd2" and prediction_type == "epsilon":
        return 512
    latents: int = pipeline.unet.config.sample_size
    levels = len(pipeline.vae.config.block_out_channels)
    return latents << (levels - 1)


def _decoded(vae: Any, latent: Tensor) -> Image:
    """[1, 4, h/8, w/8] -> [h, w, 3]; one at a time, because decoding takes more memory than all steps."""
    decoded = vae.decode(latent.to(vae.dtype) / vae.config.scaling_factor).sample[0]
    pixels = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round()
    return np.asarray(pixels.permute(1, 2, 0).cpu().numpy(), np.uint8)
