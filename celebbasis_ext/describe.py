"""What is in a photo but is not the person.

The words go into the training prompts, so that they carry the red background and the two vectors need not.
"""

from __future__ import annotations

from typing import Protocol

from celebbasis_ext.types import Face, Image


class Describer(Protocol):
    """Says what a photo shows beside the person: background, clothes, hat, glasses, expression, light."""

    name: str

    def describe(self, image: Image, face: Face) -> tuple[str, ...]:
        """One short phrase for each thing seen, such as ("wearing glasses", "red background").

        Args:
            image: [h, w, 3] uint8 RGB, the square photo that is trained on.
            face: Where the person's face is in it.
        """
        ...


class GivenWords:
    """What the user says about the photo, phrases separated by commas."""

    name = "user"

    def __init__(self, text: str) -> None:
        self.phrases = tuple(phrase.strip() for phrase in text.split(",") if phrase.strip())

    def describe(self, image: Image, face: Face) -> tuple[str, ...]:
        return self.phrases


class NoWords:
    """Says nothing."""

    name = "none"

    def describe(self, image: Image, face: Face) -> tuple[str, ...]:
        return ()
