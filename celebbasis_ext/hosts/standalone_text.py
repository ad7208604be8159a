"""Prompts with trigger words -> conditioning, through the checkpoint's tokenizers and frozen text encoders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from celebbasis_ext.errors import InvalidEmbedding

if TYPE_CHECKING:
    from celebbasis_ext.hosts.base import WordVectors

# Family -> what its text encoders are called in embedding files.
ENCODERS = {"sd1": ("clip_l",), "sd2": ("clip_h",), "sdxl": ("clip_l", "clip_g")}


@dataclass(frozen=True)
class Conditioning:
    """What the UNet is told.

    Attributes:
        states: [b, 77, D] hidden states; for SDXL of both encoders side by side.
        pooled: [b, P] SDXL's summary of the prompt; None elsewhere.
    """

    states: Tensor
    pooled: Tensor | None = None

    def zeros(self) -> Conditioning:
        """What SDXL takes for an empty negative prompt."""
        return Conditioning(
            torch.zeros_like(self.states), None if self.pooled is None else torch.zeros_like(self.pooled)
        )

    def repeated(self, count: int) -> Conditioning:
        """The same for `count` pictures; there must be one."""
        pooled = None if self.pooled is None else self.pooled.expand(count, -1)
        return Conditioning(self.states.expand(count, -1, -1), pooled)


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
    """One text encoder with its tokenizer; `name` is what it is called in word vectors."""

    def __init__(self, name: str, tokenizer: Any, text_encoder: Any) -> None:
        self.name, self.tokenizer, self.text_encoder = name, tokenizer, text_encoder
        self.embedding = InjectedEmbedding(text_encoder.get_input_embeddings())
        text_encoder.set_input_embeddings(self.embedding)
        self.vocabulary = len(self.embedding.weight)
        # Old configs say 2, which makes transformers pool at the highest id: with injected ids, at the trigger word.
        getattr(text_encoder, "text_model", text_encoder).eos_token_id = tokenizer.eos_token_id

    def tokenize(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode(self, prompts: Sequence[str], word_vectors: WordVectors) -> Any:
        """transformers' output with all hidden states, differentiable in the word vectors.

        What is beyond 75 tokens is cut, as diffusers does.
        """
        names = sorted(word_vectors, key=len, reverse=True)
        extra = [self._own(word_vectors[name]) for name in names]
        starts = np.cumsum([self.vocabulary, *(len(v) for v in extra)])
        ids = {name: list(range(start, start + len(v))) for name, v, start in zip(names, extra, starts, strict=False)}
        rows = torch.tensor([self._row(prompt, ids) for prompt in prompts], device=self.embedding.weight.device)
        self.embedding.extra = torch.cat(extra) if extra else None
        try:
            return self.text_encoder(input_ids=rows, output_hidden_states=True)
        finally:
            self.embedding.extra = None

    def _own(self, vectors: Mapping[str, Tensor]) -> Tensor:
        """This encoder's vectors [T, D]; a single tensor fits by its width, whatever it is called."""
        own = vectors.get(self.name) if len(vectors) > 1 else next(iter(vectors.values()))
        width = self.embedding.weight.shape[-1]
        if own is None or own.shape[-1] != width:
            shapes = {name: tuple(v.shape) for name, v in vectors.items()}
            raise InvalidEmbedding(
                f"The embedding has vectors {shapes}; this checkpoint's {self.name} takes a width of {width}.",
                "Use a checkpoint of the family that the embedding was made with.",
            )
        return own

    def _row(self, prompt: str, trigger_ids: Mapping[str, list[int]]) -> list[int]:
        ids: list[int] = []
        for part in _split(prompt, list(trigger_ids)):
            ids += trigger_ids.get(part.lower()) or self.tokenize(part)
        length = self.tokenizer.model_max_length
        row = [self.tokenizer.bos_token_id, *ids[: length - 2], self.tokenizer.eos_token_id]
        return row + [self.tokenizer.pad_token_id] * (length - len(row))


def text_paths(pipeline: Any, family: str) -> tuple[TextPath, ...]:
    """One for each text encoder of a diffusers pipeline."""
    parts = [(pipeline.tokenizer, pipeline.text_encoder)]
    if family == "sdxl":
        parts.append((pipeline.tokenizer_2, pipeline.text_encoder_2))
    return tuple(TextPath(name, *part) for name, part in zip(ENCODERS[family], parts, strict=True))


def encode(texts: Sequence[TextPath], prompts: Sequence[str], word_vectors: WordVectors) -> Conditioning:
    """SD1 and SD2: the last hidden state (SD2's encoder ends at its last but one layer). SDXL: see Podell et al. 2023.

    Raises:
        InvalidEmbedding: If word vectors do not fit the text encoders.
    """
    outputs = [text.encode(prompts, word_vectors) for text in texts]
    if len(outputs) == 1:
        return Conditioning(outputs[0].last_hidden_state)
    states = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    return Conditioning(states, outputs[-1].text_embeds)


def _split(prompt: str, triggers: list[str]) -> list[str]:
    """The prompt cut at its trigger words, longest first, upper or lower case, never inside a longer word."""
    if not triggers:
        return [prompt]
    either = "|".join(re.escape(name) for name in triggers)
    return [part for part in re.split(rf"(?<![\w-])({either})(?![\w-])", prompt, flags=re.IGNORECASE) if part.strip()]
