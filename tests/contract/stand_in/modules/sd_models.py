from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from modules import sd_hijack, sd_hijack_open_clip, shared
from torch import Tensor, nn

model_data = SimpleNamespace(sd_model=None)


class CondStageModel(nn.Module):
    """`FrozenCLIPEmbedderWithCustomWords` for prompts of one chunk without emphasis."""

    def __init__(self, tokenizer: Any, transformer: Any) -> None:
        super().__init__()
        self.tokenizer, self.transformer, self.hijack = tokenizer, transformer, sd_hijack.model_hijack
        table = transformer.get_input_embeddings()
        transformer.set_input_embeddings(sd_hijack.EmbeddingsWithFixes(table, self.hijack))

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]

    def forward(self, texts: list[str]) -> Tensor:
        chunks = [self._chunk(tokens) for tokens in self.tokenize(texts)]
        self.hijack.fixes = [fixes for _, fixes in chunks]
        states: Tensor = self.transformer(input_ids=torch.tensor([row for row, _ in chunks])).last_hidden_state
        return states

    def _chunk(self, tokens: list[int]) -> tuple[list[int], list[tuple[int, Any]]]:
        row: list[int] = []
        fixes = []
        position = 0
        while position < len(tokens):
            embedding, length = self.hijack.embedding_db.find_embedding_at_position(tokens, position)
            if embedding is not None:
                fixes.append((len(row), embedding))
            row += [tokens[position]] if embedding is None else [0] * embedding.vectors
            position += length or 1
        end = self.tokenizer.eos_token_id
        return [self.tokenizer.bos_token_id, *row] + [end] * (76 - len(row)), fixes


class DiffusionWrapper(nn.Module):
    conditioning_key = "crossattn"

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.diffusion_model = unet

    def forward(self, x: Tensor, t: Tensor, c_crossattn: list[Tensor]) -> Tensor:
        predicted: Tensor = self.diffusion_model(x, t, torch.cat(c_crossattn, 1)).sample
        return predicted


class LatentDiffusion(nn.Module):
    parameterization = "eps"
    is_sd1, is_sd2, is_sdxl, is_sd3, lowvram = True, False, False, False, False

    def __init__(self, pipeline: Any, info: Any) -> None:
        super().__init__()
        self.model = DiffusionWrapper(pipeline.unet)
        pipeline.unet.num_res_blocks = [pipeline.unet.config.layers_per_block]
        self.first_stage_model = pipeline.vae
        self.cond_stage_model = CondStageModel(pipeline.tokenizer, pipeline.text_encoder)
        self.alphas_cumprod_original = pipeline.scheduler.alphas_cumprod
        self.image_size = pipeline.unet.config.sample_size
        self.scale_factor = pipeline.vae.config.scaling_factor
        self.sd_checkpoint_info = info
        self.requires_grad_(True).eval()  # as most of the host's parameters are
        self.cond_stage_model.requires_grad_(False)

    def apply_model(self, x: Tensor, t: Tensor, cond: dict[str, Any]) -> Tensor:
        predicted: Tensor = self.model(x, t, **cond)
        return predicted

    @torch.no_grad()
    def encode_first_stage(self, x: Tensor) -> Any:
        return self.first_stage_model.encode(x).latent_dist

    def get_first_stage_encoding(self, z: Tensor) -> Tensor:
        return self.scale_factor * z

    @torch.no_grad()
    def decode_first_stage(self, z: Tensor) -> Tensor:
        pictures: Tensor = self.first_stage_model.decode(z / self.scale_factor).sample
        return pictures


def load_model(pipeline: Any, sha256: str) -> None:
    """Puts diffusers' models where the WebUI's would be."""
    info = SimpleNamespace(name_for_extra="miniature", title="miniature", sha256=sha256)
    model_data.sd_model = LatentDiffusion(pipeline, info)
    sd_hijack_open_clip.tokenizer.decoder = {id_: text for text, id_ in pipeline.tokenizer.get_vocab().items()}
    sd_hijack.model_hijack.embedding_db.embedding_dirs = {shared.cmd_opts.embeddings_dir: None}


def reload_model_weights() -> None:
    """Switches to what is selected, as every generation does; here that is a model which is not there."""
    if shared.opts.sd_model_checkpoint != model_data.sd_model.sd_checkpoint_info.title:
        model_data.sd_model = None
