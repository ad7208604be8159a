"""What is said about the photo while training: a template, the trigger word, and what is not the person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from celebbasis_ext.types import TrainConfig

if TYPE_CHECKING:
    import numpy as np

PLAIN_TEMPLATES = (
    "a photo of {}", "a portrait of {}", "a picture of {}", "the photo of {}", "a close-up photo of {}", "{}",
)  # fmt: skip
# The paper's: "face of @ person" in the ImageNet templates of Textual Inversion (Gal et al. 2022).
PERSON_TEMPLATES = tuple(
    template.format("face of {} person")
    for template in (
        "a photo of a {}", "a rendering of a {}", "a cropped photo of the {}", "the photo of a {}",
        "a photo of a clean {}", "a photo of a dirty {}", "a dark photo of the {}", "a photo of my {}",
        "a photo of the cool {}", "a close-up photo of a {}", "a bright photo of the {}", "a cropped photo of a {}",
        "a photo of the {}", "a good photo of the {}", "a photo of one {}", "a close-up photo of the {}",
        "a rendition of the {}", "a photo of the clean {}", "a rendition of a {}", "a photo of a nice {}",
        "a good photo of a {}", "a photo of the nice {}", "a photo of the small {}", "a photo of the weird {}",
        "a photo of the large {}", "a photo of a cool {}", "a photo of a small {}",
    )
)  # fmt: skip


def training_prompt(rng: np.random.Generator, name: str, description: Sequence[str], config: TrainConfig) -> str:
    """One prompt: "a photo of anna-cb, wearing glasses, red background", the phrases in random order."""
    templates = PERSON_TEMPLATES if config.templates == "person" else PLAIN_TEMPLATES
    head = templates[rng.integers(len(templates))].format(name)
    phrases = list(description) if config.explain else []
    rng.shuffle(phrases)
    return ", ".join([head, *phrases])


def scene_prompt(name: str, description: Sequence[str]) -> str:
    """The person in the photo's own scene: "a photo of anna-cb, wearing glasses, red background"."""
    return ", ".join([PLAIN_TEMPLATES[0].format(name), *description])
