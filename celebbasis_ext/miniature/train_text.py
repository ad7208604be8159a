"""Trains the miniature's text encoder alone: the end-of-text state must tell who and what the caption speaks of.

Afterwards it is frozen, so that the UNet learns from a language that is understood already.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from celebbasis_ext.miniature.captions import Caption, caption_of
from celebbasis_ext.miniature.configs import CONTEXT_LENGTH, TEXT_ENCODER, TEXT_WIDTH
from celebbasis_ext.miniature.drawing import BACKGROUNDS, COLOURS, EXPRESSIONS, SHIRTS, Look
from celebbasis_ext.miniature.optimiser import MuonAdam
from celebbasis_ext.miniature.people import TRAITS, celebrities
from celebbasis_ext.miniature.progress import Training
from celebbasis_ext.miniature.world import Scene, random_scene
from celebbasis_ext.types import Floats

# Field of `Look` -> its values; the class behind the last one means "not said".
VALUES: dict[str, tuple[Any, ...]] = {
    "background": BACKGROUNDS, "hat": tuple(COLOURS), "shirt": SHIRTS, "expression": EXPRESSIONS,
    "glasses": (True,), "style": ("sketch",),
}  # fmt: skip


def new_text_encoder() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    model: Any = CLIPTextModel(CLIPTextConfig(**TEXT_ENCODER))
    return model


class Words:
    """A fast CLIP tokenizer for lower-case captions: word by word, remembered."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.known: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        out: list[int] = []
        for word in re.findall(r"[a-z]+|[^\sa-z]+", text.lower()):
            if word not in self.known:
                self.known[word] = self.tokenizer(word, add_special_tokens=False)["input_ids"]
            out += self.known[word]
        return out

    def batch(self, texts: list[str], length: int | None = None) -> Tensor:
        """[b, length] ids, padded with the end-of-text token; as long as needed where no length is given."""
        start, end = TEXT_ENCODER["bos_token_id"], TEXT_ENCODER["eos_token_id"]
        rows = [[start, *self.ids(text)[: CONTEXT_LENGTH - 2], end] for text in texts]
        length = length or max(map(len, rows))
        return torch.tensor([row + [end] * (length - len(row)) for row in rows])


@dataclass(frozen=True)
class Meaning:
    """What a caption says: identities [2, 16] (zero where nobody is named) and a class per field of `Look`."""

    identities: Floats
    classes: tuple[int, ...]


def meaning_of(scene: Scene, caption: Caption) -> Meaning:
    identities = np.zeros((2, len(TRAITS)), np.float32)
    for row, person, named in zip(identities, scene.people, caption.named, strict=False):
        if named:
            row[:] = person.identity
    classes = [_class(scene.look, field, caption.said) for field in VALUES]
    return Meaning(identities, (*classes, len(scene.people) - 1))


def _class(look: Look, field: str, said: frozenset[str]) -> int:
    values = VALUES[field]
    return values.index(getattr(look, field)) if field in said else len(values)


class Readout(nn.Module):
    """Linear readings of the end-of-text state."""

    def __init__(self) -> None:
        super().__init__()
        self.identity = nn.Linear(TEXT_WIDTH, 2 * len(TRAITS))
        self.classes = nn.ModuleList(
            [nn.Linear(TEXT_WIDTH, len(v) + 1) for v in VALUES.values()] + [nn.Linear(TEXT_WIDTH, 2)]
        )

    def forward(self, states: Tensor, ids: Tensor) -> tuple[Tensor, list[Tensor]]:
        end = (ids == TEXT_ENCODER["eos_token_id"]).int().argmax(1)
        state = states[torch.arange(len(ids)), end]
        return self.identity(state).view(-1, 2, len(TRAITS)), [head(state) for head in self.classes]


def train_text(folder: Path, words: Words, steps: int, batch: int = 128) -> Any:
    """Regresses identities and classifies attributes from captions of drawings that are never drawn."""
    torch.manual_seed(21)
    encoder = new_text_encoder()
    both = nn.ModuleDict({"encoder": encoder, "readout": Readout()})
    optimiser = MuonAdam(both, lr=0.01, adam_lr=3e-3, adam_names=("embedding", "readout"))
    training = Training(folder, "text", both, optimiser, steps)
    rng, known = np.random.default_rng((21, training.step)), celebrities()
    while not training.done:
        ids, identities, classes = _batch(rng, known, words, batch)
        with torch.autocast("cpu", torch.bfloat16):
            states = encoder(input_ids=ids).last_hidden_state
        read, logits = both["readout"](states.float(), ids)
        error = (read - identities).square().mean()
        confusion = torch.stack([F.cross_entropy(x, classes[:, i]) for i, x in enumerate(logits)]).mean()
        (8 * error + confusion).backward()
        training.update()
        if training.step % 100 == 0:
            training.log(rmse=error.sqrt().item(), cross_entropy=confusion.item())
        if training.step % 500 == 0 or training.done:
            training.save()
    return encoder


def _batch(rng: np.random.Generator, known: Any, words: Words, size: int) -> tuple[Tensor, Tensor, Tensor]:
    texts, identities, classes = [], [], []
    for _ in range(size):
        scene = random_scene(rng, known)
        caption = caption_of(rng, scene, name_rate=0.9)
        meaning = meaning_of(scene, caption)
        texts.append(caption.text)
        identities.append(meaning.identities)
        classes.append(meaning.classes)
    return words.batch(texts), torch.from_numpy(np.stack(identities)), torch.tensor(classes)
