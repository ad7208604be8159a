"""The WebUI of AUTOMATIC1111 (v1.9.4, v1.10.1) as a host: its loaded model, prompt parser, precision and attention.

Everything of the WebUI's is looked up when a job needs it: importing this module loads no model. The host's job lock
is the caller's business, see `a1111_queue`. Written against `modules/{sd_models,sd_hijack,processing}.py` there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute_in_backward

from celebbasis_ext.errors import CheckpointChanged, UnsupportedCheckpoint
from celebbasis_ext.files.lora import lora_folder
from celebbasis_ext.files.lora_names import lora_name
from celebbasis_ext.hosts.half_gradients import HalfGradients
from celebbasis_ext.types import Checkpoint, Embedding, Floats, Image

if TYPE_CHECKING:
    from celebbasis_ext.hosts.base import WordVectors

SMALL_UNET = 100_000_000
"""Parameters. Below, activations fit into any memory, and to compute them twice would only cost time."""

PICTURES_AT_ONCE = 4


@dataclass(frozen=True)
class LoadedModel:
    """The model that a job begins with.

    Attributes:
        sd: `shared.sd_model`.
        info: Its `sd_checkpoint_info`; the WebUI reuses one model object for the weights of another file.
    """

    sd: Any
    info: Any

    def check(self) -> None:
        """Raises CheckpointChanged where it is not the one in use any more, and UnsupportedCheckpoint."""
        from modules import sd_models

        current = sd_models.model_data.sd_model
        if current is not self.sd or self.sd.sd_checkpoint_info is not self.info:
            other = current.sd_checkpoint_info.name_for_extra if current is not None else "none"
            raise CheckpointChanged(
                f"The checkpoint was switched under way: the job began with {self.info.name_for_extra}, "
                f"now {other} is loaded.",
                f"Select {self.info.name_for_extra} again and resume.",
            )
        if not self._is_in_place():
            raise CheckpointChanged(
                f"The checkpoint {self.info.name_for_extra} was unloaded under way.", "Load it again and resume."
            )
        _refuse_replaced_weights()

    def _is_in_place(self) -> bool:
        from modules import devices

        device = next(self.sd.model.parameters()).device.type
        return bool(device == devices.device.type or (self.sd.lowvram and device == "cpu"))


class A1111Denoiser:
    """`hosts.base.Denoiser` over the WebUI's loaded model."""

    def __init__(self, loaded: LoadedModel, prediction_type: str, trigger_words: TriggerWords) -> None:
        from modules import devices

        self.loaded, self.prediction_type, self.trigger_words = loaded, prediction_type, trigger_words
        self.alphas_cumprod: Tensor = loaded.sd.alphas_cumprod_original.float().to(devices.device)
        self.gradients = HalfGradients() if devices.dtype_unet == torch.float16 else None

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """See `Denoiser`. The posterior's mean, where the WebUI's own class lets one have it.

        Raises:
            UnsupportedCheckpoint: If the VAE overflows in half precision.
        """
        from modules import devices

        sd = self.loaded.sd
        sd.first_stage_model.to(devices.dtype_vae)
        with torch.random.fork_rng():  # SDXL's autoencoder samples; the host's random numbers are not ours to use
            torch.manual_seed(0)
            parts = [self._encode_one(part) for part in images.to(devices.device, devices.dtype_vae).split(1)]
        latents = torch.cat(parts).float()
        if not latents.isfinite().all():
            raise UnsupportedCheckpoint(
                "The checkpoint's VAE gives numbers that are not finite in half precision.",
                "Start the WebUI with --no-half-vae, or choose another VAE.",
            )
        return latents

    def _encode_one(self, image: Tensor) -> Tensor:
        sd = self.loaded.sd
        encoded = sd.encode_first_stage(image)
        latents: Tensor = sd.get_first_stage_encoding(encoded if isinstance(encoded, Tensor) else encoded.mode())
        return latents

    def encode_prompt(self, prompts: Sequence[str], word_vectors: WordVectors) -> dict[str, Any]:
        """See `Denoiser`; the result is what the host's `apply_model` takes.

        With --medvram the host moves the text encoder away while the UNet runs. It is then run again in the backward
        pass, once the UNet's gradients are there: the host's own hooks bring it back, and nothing is kept meanwhile.
        """
        self.loaded.check()
        if self.gradients is not None:
            leave = self.gradients.leave
            word_vectors = {
                name: {encoder: leave(v) for encoder, v in own.items()} for name, own in word_vectors.items()
            }
        if self.loaded.sd.lowvram:
            again: dict[str, Any] = recompute_in_backward(self._encode, prompts, word_vectors, use_reentrant=False)
            return again
        return self._encode(prompts, word_vectors)

    def _encode(self, prompts: Sequence[str], word_vectors: WordVectors) -> dict[str, Any]:
        from modules import devices, prompt_parser

        sd = self.loaded.sd
        self.trigger_words.set(word_vectors)
        with devices.autocast():
            if not sd.is_sdxl:
                return {"c_crossattn": [sd.cond_stage_model(list(prompts))]}
            size = _resolution(sd)
            conditioning: dict[str, Any] = sd.get_learned_conditioning(
                prompt_parser.SdConditioning(prompts, width=size, height=size)
            )
            return conditioning

    def predict(self, x_t: Tensor, timesteps: Tensor, conditioning: Mapping[str, Any]) -> Tensor:
        from modules import devices

        with devices.autocast():
            predicted: Tensor = self.loaded.sd.apply_model(x_t, timesteps, dict(conditioning))
        return predicted.float() if self.gradients is None else self.gradients.enter(predicted)

    def inside(self, weights: Tensor) -> Tensor:
        return weights if self.gradients is None else self.gradients.leave(weights)


class TriggerWords:
    """Vectors in the host's embedding database, in memory only, in front of files of the same name.

    An unlocked "Refresh" may empty the database at any time, so they are set anew for every use.
    """

    def __init__(self, sd: Any) -> None:
        from modules import sd_hijack

        self.sd, self.database = sd, sd_hijack.model_hijack.embedding_db
        self.ours: dict[str, Any] = {}
        self.displaced: dict[str, Any] = {}

    def set(self, word_vectors: WordVectors) -> None:
        for name, vectors in word_vectors.items():
            found = self.database.word_embeddings.get(name)
            if found is not None and found is not self.ours.get(name):
                self.displaced[name] = found
            self.ours[name] = _host_embedding(name, vectors)
            self.database.register_embedding(self.ours[name], self.sd)

    def clear(self) -> None:
        """Leaves the database as it was found."""
        for name, ours in self.ours.items():
            if self.database.word_embeddings.get(name) is ours:
                self.database.register_embedding_by_name(self.displaced.get(name), self.sd, name)
        self.ours.clear()
        self.displaced.clear()


def _host_embedding(name: str, vectors: Mapping[str, Tensor]) -> Any:
    from modules import devices
    from modules.textual_inversion.textual_inversion import Embedding as HostEmbedding

    placed = {encoder: tensor.to(devices.device) for encoder, tensor in vectors.items()}
    first = next(iter(placed.values()))
    embedding = HostEmbedding(first if len(placed) == 1 else placed, name)
    embedding.vectors = len(first)
    embedding.shape = sum(tensor.shape[-1] for tensor in placed.values())
    return embedding


class A1111Host:
    """`hosts.base.Host` over the model that the WebUI has loaded; a new one for every job."""

    def __init__(self, loaded: LoadedModel) -> None:
        from modules import shared

        self.loaded = loaded
        self.checkpoint = _checkpoint(loaded)
        self.embeddings_dir = Path(shared.cmd_opts.embeddings_dir)
        # An option of the Lora extension, which is part of the WebUI but can be switched off.
        self.lora_dir = Path(getattr(shared.cmd_opts, "lora_dir", lora_folder(self.embeddings_dir)))

    @classmethod
    def open(cls) -> A1111Host:
        """Loads the selected checkpoint, if that has not been done yet.

        Raises:
            UnsupportedCheckpoint: If there is none, or none of a kind that can be trained through.
        """
        from modules import shared

        sd = shared.sd_model
        refuse_untrainable(sd)
        return cls(LoadedModel(sd, sd.sd_checkpoint_info))

    def token_tables(self) -> dict[str, Floats]:
        from modules.sd_hijack import EmbeddingsWithFixes

        sd = self.loaded.sd
        return {
            "clip_h" if sd.is_sd2 else module.textual_inversion_key: module.wrapped.weight.detach()
            .float()
            .cpu()
            .numpy()
            for module in sd.cond_stage_model.modules()
            if isinstance(module, EmbeddingsWithFixes)
        }

    def tokenize(self, text: str) -> list[int]:
        return list(self.loaded.sd.cond_stage_model.tokenize([text])[0])

    def describe_token(self, token_id: int) -> str:
        from modules.sd_hijack_open_clip import tokenizer  # the vocabulary is the same for all of CLIP

        return str(tokenizer.decoder[token_id]).removesuffix("</w>")

    def cross_attention(self) -> dict[str, nn.Linear]:
        """See `Host`."""
        unet, family = self.loaded.sd.model.diffusion_model, self.checkpoint.family
        named = ((lora_name(name, family, unet.num_res_blocks[0]), module) for name, module in unet.named_modules())
        return {name: module for name, module in named if name is not None}

    @contextmanager
    def training(self) -> Iterator[A1111Denoiser]:
        """See `Host`.

        Raises:
            CheckpointChanged: If another checkpoint was loaded under way, whatever failed because of that.
        """
        from modules import devices

        sd = self.loaded.sd
        self.loaded.check()
        _without_extras()
        words = TriggerWords(sd)
        try:
            with (
                _failures_explained(self.loaded), torch.inference_mode(False), torch.enable_grad(), _frozen(sd),
                _differentiable_conditioner(sd), _differentiable_blocks(sd.model.diffusion_model),
            ):  # fmt: skip
                yield A1111Denoiser(self.loaded, self.checkpoint.prediction_type, words)
        finally:
            words.clear()
            devices.torch_gc()

    def publish(self, path: Path) -> None:
        """Reads the folder again, and forgets what prompts meant before and which files lay beside the cards."""
        from modules import sd_hijack, sd_models, ui_extra_networks

        for page in ui_extra_networks.extra_pages:
            page.lister.reset()
        if sd_models.model_data.sd_model is None:
            return  # whoever loads a checkpoint does both
        sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)
        _forget_prompts()

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], embeddings: Sequence[Embedding] = (), steps: int = 20,
        guidance: float = 4.0,
    ) -> list[Image]:  # fmt: skip
        """See `Host`; fewer pictures, or none, where somebody presses Interrupt meanwhile."""
        from modules import processing

        words = TriggerWords(self.loaded.sd)
        vectors = {e.name: {encoder: torch.from_numpy(v) for encoder, v in e.vectors.items()} for e in embeddings}
        with _own_state():
            try:
                words.set(vectors)
                _forget_prompts()  # before there is an order: it takes hold of the cache when it is made
                with closing(self._order(prompts, seeds, steps, guidance)) as order:
                    pictures = processing.process_images(order).images
            finally:
                words.clear()
                _forget_prompts()
                _without_extras()
        return [np.asarray(picture.convert("RGB")) for picture in pictures]

    def _order(self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> Any:
        """A text-to-image order that saves nothing, and that stays with the checkpoint whatever else is selected."""
        from modules import processing

        size = self.checkpoint.resolution
        return processing.StableDiffusionProcessingTxt2Img(
            sd_model=self.loaded.sd, prompt=list(prompts), negative_prompt="", styles=[], seed=list(seeds),
            batch_size=PICTURES_AT_ONCE, n_iter=math.ceil(len(prompts) / PICTURES_AT_ONCE), steps=steps,
            cfg_scale=guidance, width=size, height=size, sampler_name="DPM++ 2M",
            do_not_save_samples=True, do_not_save_grid=True, do_not_reload_embeddings=True,
            override_settings={"sd_model_checkpoint": self.loaded.info.title},
        )  # fmt: skip


def refuse_untrainable(sd: Any) -> None:
    """Raises UnsupportedCheckpoint, with a sentence, for what cannot be trained through."""
    from modules import shared

    if sd is None:
        raise UnsupportedCheckpoint("No checkpoint is loaded.", "Choose a Stable Diffusion checkpoint at the top left.")
    name = sd.sd_checkpoint_info.name_for_extra
    advice = "Choose a plain Stable Diffusion 1, 2 or XL checkpoint."
    if shared.cmd_opts.lowvram:
        raise UnsupportedCheckpoint(
            "With --lowvram the UNet is never on the device as a whole, so nothing can be trained through it.",
            "Start the WebUI with --medvram, or --medvram-sdxl, instead.",
        )
    if getattr(sd, "is_sd3", False):
        raise UnsupportedCheckpoint(f"{name} is a Stable Diffusion 3 checkpoint, which has no celeb basis.", advice)
    key = sd.model.conditioning_key
    if key != "crossattn" or getattr(sd, "is_sdxl_inpaint", False):
        kind = {"hybrid": "inpainting, depth or editing", "concat": "inpainting"}.get(key, key or "inpainting")
        raise UnsupportedCheckpoint(f"{name} is made for more than text: it is of the kind {kind!r}.", advice)
    if sd.is_sdxl and sd.cond_stage_model is not sd.conditioner:
        raise UnsupportedCheckpoint(f"{name} is a refiner: it has only one of SDXL's two text encoders.", advice)
    if sd.parameterization not in ("eps", "v"):
        raise UnsupportedCheckpoint(
            f"{name} predicts {sd.parameterization!r}; noise ('eps') or velocity ('v') was expected.", advice
        )
    _refuse_replaced_weights()


def _refuse_replaced_weights() -> None:
    """Raises UnsupportedCheckpoint where the UNet that runs is not the checkpoint's own, or is not precise enough."""
    from modules import devices, sd_unet

    if sd_unet.current_unet is not None:
        raise UnsupportedCheckpoint(
            f"The UNet is replaced by {sd_unet.current_unet.option.label}, which gives no gradients.",
            "Set SD Unet to None in the settings.",
        )
    if devices.fp8:
        raise UnsupportedCheckpoint(
            "The weights are stored in 8 bits, which gives no usable gradients.",
            "Disable FP8 weight in Settings > Optimizations.",
        )


def _checkpoint(loaded: LoadedModel) -> Checkpoint:
    sd, info = loaded.sd, loaded.info
    return Checkpoint(
        name=info.name_for_extra,
        sha256=info.sha256 or "",
        family="sdxl" if sd.is_sdxl else "sd2" if sd.is_sd2 else "sd1",
        prediction_type="v_prediction" if sd.parameterization == "v" else "epsilon",
        resolution=_resolution(sd),
    )


def _resolution(sd: Any) -> int:
    """In pixels. SD2's 768 px checkpoints carry SD1's latent size in their configuration; all of them predict v."""
    if sd.is_sdxl:
        return 1024
    return 768 if sd.is_sd2 and sd.parameterization == "v" else 8 * int(sd.image_size)


@contextmanager
def _failures_explained(loaded: LoadedModel) -> Iterator[None]:
    try:
        yield
    except Exception:
        loaded.check()  # a model that is being replaced fails in any way
        raise


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """No parameter collects a gradient; afterwards those that might before may again."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


@contextmanager
def _differentiable_conditioner(sd: Any) -> Iterator[None]:
    """SDXL's conditioner runs text encoders that are not "trainable" without a graph."""
    changed = [e for e in sd.conditioner.embedders if not e.is_trainable] if sd.is_sdxl else []
    for embedder in changed:
        embedder.is_trainable = True
    try:
        yield
    finally:
        for embedder in changed:
            embedder.is_trainable = False


@contextmanager
def _differentiable_blocks(unet: nn.Module) -> Iterator[None]:
    """LDM's own gradient checkpointing fails on frozen weights; PyTorch's takes its place, or none in a small UNet."""
    small = sum(parameter.numel() for parameter in unet.parameters()) < SMALL_UNET
    blocks: list[Any] = [module for module in unet.modules() if hasattr(module, "_forward")]
    for block in blocks:
        block.forward = block._forward if small else partial(recompute_in_backward, block._forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _without_extras() -> None:
    """Switches off what an earlier picture left switched on: LoRAs, hypernetworks, tiling."""
    from modules import extra_networks, processing, sd_hijack

    extra_networks.activate(processing.StableDiffusionProcessingTxt2Img(), {})
    sd_hijack.model_hijack.apply_circular(False)


def _forget_prompts() -> None:
    """The WebUI remembers conditioning by a prompt's text, not by what its embeddings contain."""
    from modules import processing

    plain, text_to_image = processing.StableDiffusionProcessing, processing.StableDiffusionProcessingTxt2Img
    for owner, caches in ((plain, ("cached_c", "cached_uc")), (text_to_image, ("cached_hr_c", "cached_hr_uc"))):
        for cache in caches:
            setattr(owner, cache, [None] * len(getattr(owner, cache)))


_PROGRESS = (
    "job", "job_no", "job_count", "sampling_step", "sampling_steps", "textinfo", "current_latent", "current_image",
    "current_image_sampling_step",
)  # fmt: skip
_REQUESTS = ("skipped", "interrupted", "stopping_generation")


@contextmanager
def _own_state() -> Iterator[None]:
    """Pictures inside a job neither disturb its progress bar nor fail because Stop was pressed before."""
    from modules import shared

    state = shared.state
    progress = {name: getattr(state, name) for name in _PROGRESS}
    pressed = [name for name in _REQUESTS if getattr(state, name)]
    for name in pressed:
        setattr(state, name, False)
    try:
        yield
    finally:
        for name, value in progress.items():
            setattr(state, name, value)
        for name in pressed:
            setattr(state, name, True)
