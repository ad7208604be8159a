from __future__ import annotations

from typing import Any

import torch
from modules.textual_inversion.textual_inversion import EmbeddingDatabase
from torch import Tensor, nn


class StableDiffusionModelHijack:
    def __init__(self) -> None:
        self.fixes: list[list[tuple[int, Any]]] | None = None
        self.embedding_db = EmbeddingDatabase()
        self.circular_enabled = False

    def apply_circular(self, enable: bool) -> None:
        self.circular_enabled = enable


class EmbeddingsWithFixes(nn.Module):
    """The token table, in which trigger words' places are filled with their vectors."""

    def __init__(self, wrapped: nn.Module, embeddings: StableDiffusionModelHijack) -> None:
        super().__init__()
        self.wrapped, self.embeddings, self.textual_inversion_key = wrapped, embeddings, "clip_l"

    @property
    def weight(self) -> Tensor:  # today's transformers ask for it
        return self.wrapped.weight  # type: ignore[return-value]

    def forward(self, input_ids: Tensor) -> Tensor:
        fixes, self.embeddings.fixes = self.embeddings.fixes, None
        inputs_embeds = self.wrapped(input_ids)
        rows = []
        for row, own in zip(inputs_embeds, fixes or [[]] * len(inputs_embeds), strict=True):
            for offset, embedding in own:
                end = offset + 1 + len(embedding.vec)
                row = torch.cat([row[: offset + 1], embedding.vec, row[end:]])
            rows.append(row)
        return torch.stack(rows)


model_hijack = StableDiffusionModelHijack()
