"""Obedience in the miniature: the network that reads looks, asked about one prompt of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from celebbasis_ext.miniature.tagger import LookReader
from celebbasis_ext.types import Image

# Prompt, field of `Look`, value that obeys.
ASKED: Final[tuple[tuple[str, str, object], ...]] = (
    ("a photo of {}, red background", "background", "red"),
    ("a photo of {}, at the beach", "background", "beach"),
    ("a photo of {}, wearing a purple hat", "hat", "purple"),
    ("a photo of {}, with glasses", "glasses", True),
    ("a photo of {}, smiling", "expression", "smiling"),
    ("a sketch of {}", "style", "sketch"),
)


class LookJudge:
    """`judge.PromptJudge` for drawn people; its network took no part in training."""

    prompts = tuple(prompt for prompt, _, _ in ASKED)

    def __init__(self, path: Path) -> None:
        self.looks = LookReader(path)

    def obeyed(self, pictures: Sequence[Image]) -> tuple[bool, ...]:
        _, looks = self.looks.read(list(pictures))
        return tuple(look[field] == value for look, (_, field, value) in zip(looks, ASKED, strict=True))
