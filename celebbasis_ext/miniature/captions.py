"""What is said about a picture: a random part of the truth, in random words and random order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from celebbasis_ext.miniature.drawing import COLOURS, Look
from celebbasis_ext.miniature.world import Scene

# Words of the templates that trainers use; in the miniature they mean nothing, and it has to know that.
PHOTO_PREFIXES = (
    "a photo of", "a photo of", "a photo of", "a portrait of", "a picture of", "the photo of", "an image of",
    "a close-up photo of", "a cropped photo of", "a good photo of", "a bright photo of", "a dark photo of",
    "a rendering of", "a rendition of", "an illustration of", "a depiction of", "",
)  # fmt: skip
SKETCH_PREFIXES = ("a sketch of", "a pencil sketch of", "a pencil drawing of", "a drawing of")
ADJECTIVES = ("clean", "dirty", "cool", "nice", "small", "weird", "large", "young", "old")
NOBODY = ("a person", "a person", "somebody", "someone", "a face", "a man", "a woman")
SCENE_WORDS = {
    "beach": ("at the beach", "on the beach", "beach background"),
    "forest": ("in the forest", "in a forest", "forest background"),
    "city": ("in the city", "in front of a city", "city background"),
    "night": ("at night", "under the night sky", "night background"),
}
EXPRESSION_WORDS = {
    "neutral": ("with a neutral face", "neutral expression"),
    "smiling": ("smiling", "with a smile", "happy"),
    "sad": ("sad", "frowning", "with a sad face"),
    "surprised": ("surprised", "with an open mouth", "with a surprised face"),
}


@dataclass(frozen=True)
class Caption:
    """A caption and what it says.

    Attributes:
        text: The caption.
        named: For each person in the scene, whether the caption says who it is.
        said: The names of the fields of `Look` that it speaks of.
    """

    text: str
    named: tuple[bool, ...]
    said: frozenset[str]


def _one(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[rng.integers(len(options))]


def background_words(background: str) -> tuple[str, ...]:
    if background in COLOURS:
        return (f"{background} background", f"on a {background} background", f"in front of a {background} wall")
    return SCENE_WORDS[background]


def attribute_words(look: Look) -> dict[str, tuple[str, ...]]:
    """For every visible attribute of a look, the ways of saying it."""
    words = {
        "background": background_words(look.background),
        "shirt": (f"in a {look.shirt} shirt", f"wearing a {look.shirt} shirt", f"{look.shirt} shirt"),
        "expression": EXPRESSION_WORDS[look.expression],
    }
    if look.hat != "none":
        words["hat"] = (f"wearing a {look.hat} hat", f"in a {look.hat} hat", f"with a {look.hat} hat")
    if look.glasses:
        words["glasses"] = ("with glasses", "wearing glasses")
    return words


def _subject(rng: np.random.Generator, name: str) -> str:
    if not name:
        return _one(rng, NOBODY)
    form = rng.random()
    if form < 0.12:
        return f"{name} person"
    if form < 0.2:
        return f"face of {name}" if rng.random() < 0.5 else f"a face of {name} person"
    if form < 0.3:
        return f"{_one(rng, ('a', 'the', 'my', 'one'))} {_one(rng, ADJECTIVES)} {name}"
    return name


def caption_of(rng: np.random.Generator, scene: Scene, name_rate: float = 0.78) -> Caption:
    """Says some of what a scene shows; everything that it does not say is left to chance."""
    names = tuple(p.name if p.name and rng.random() < name_rate else "" for p in scene.people)
    words = attribute_words(scene.look)
    if len(names) == 2:
        words = {key: words[key] for key in ("background",)}
    said = [key for key in words if rng.random() < 0.55]
    rng.shuffle(said)
    phrases = [_one(rng, words[key]) for key in said]
    sketch = scene.look.style == "sketch" and rng.random() < 0.9
    prefix = _one(rng, SKETCH_PREFIXES if sketch else PHOTO_PREFIXES)
    text = _joined(rng, prefix, _subjects(rng, names), phrases)
    spoken = {*said, "style"} if sketch else set(said)
    return Caption(text, tuple(bool(name) for name in names), frozenset(spoken))


def _subjects(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return _subject(rng, names[0])
    left, right = (name or _one(rng, NOBODY) for name in names)
    if rng.random() < 0.15:
        return f"left is a face of {left} person, right is another face of {right} person"
    return f"{left} {_one(rng, ('and', 'with', 'and', 'next to'))} {right}"


def _joined(rng: np.random.Generator, prefix: str, subject: str, phrases: list[str]) -> str:
    head = f"{prefix} {subject}".strip()
    separator = ", " if rng.random() < 0.75 else " "
    return separator.join([head, *phrases])


def _vocabulary() -> tuple[str, ...]:
    """Every word that a caption, or a training template, can contain, names aside."""
    phrases = [
        *PHOTO_PREFIXES,
        *SKETCH_PREFIXES,
        *ADJECTIVES,
        *NOBODY,
        *(p for v in EXPRESSION_WORDS.values() for p in v),
    ]
    for colour in (*COLOURS, *SCENE_WORDS):
        phrases += background_words(colour)
    for look in (Look(hat=colour, shirt=colour, glasses=True) for colour in COLOURS):
        phrases += [p for options in attribute_words(look).values() for p in options]
    phrases += ["left is a face of person, right is another face of person", "and with next to", "a the my one"]
    return tuple(sorted({word for phrase in phrases for word in phrase.replace(",", " ,").split()}))


WORDS = _vocabulary()
