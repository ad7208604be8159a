"""Whether a picture shows what its prompt asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from celebbasis_ext.types import Image


class PromptJudge(Protocol):
    """Judges obedience on prompts of its own choice.

    Attributes:
        prompts: In each, {} stands for the trigger word.
    """

    prompts: tuple[str, ...]

    def obeyed(self, pictures: Sequence[Image]) -> tuple[bool, ...]:
        """For each picture whether it shows what the prompt at the same place asked for.

        Args:
            pictures: [h, w, 3] uint8 RGB, one for each of `prompts`.
        """
        ...
