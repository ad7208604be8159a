"""Are people out of people what they claim to be? Seen by the miniature's judge, which took part in no training.

A mix should lie between its parents and move from one to the other with the weight; ten samples should be ten people,
each the same under every prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from celebbasis_ext.basis import word_vectors
from celebbasis_ext.blend import Route, mix
from celebbasis_ext.types import CelebBasis, Embedding, Floats, Image

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop
    from celebbasis_ext.miniature.tagger import LookReader

PROMPTS = (
    "a photo of {}", "a photo of {}, red background", "a photo of {}, at the beach",
    "a photo of {}, wearing a blue hat", "a photo of {}, smiling", "a photo of {}, in a white shirt",
)  # fmt: skip
_NAME = "somebody-cb"


@dataclass(frozen=True)
class Portrayed:
    """Somebody under several prompts.

    Attributes:
        pictures: One for each prompt.
        traits: [prompts, 16] as the judge reads them.
        faces: Share of the pictures in which the detector finds a face.
    """

    pictures: tuple[Image, ...]
    traits: Floats
    faces: float


@dataclass(frozen=True)
class MixCurve:
    """A walk from one person to another.

    Attributes:
        weights: [W] of the second person.
        position: [W] where the judge sees the mix on the line between the parents: 0 is the first, 1 the second.
        aside: [W] how far off that line, in units of the parents' distance.
        pictures: [W][prompts].
    """

    weights: tuple[float, ...]
    position: tuple[float, ...]
    aside: tuple[float, ...]
    pictures: tuple[tuple[Image, ...], ...]

    @property
    def smallest_step(self) -> float:
        """Positive where the walk is monotone."""
        return float(np.diff(self.position).min())


@dataclass(frozen=True)
class Crowd:
    """Several people who should be somebody each.

    Attributes:
        consistent: Mean cosine of traits between two pictures of the same person.
        different: The same between pictures of two people; 0 is what strangers have.
        recognised: Share of pictures that are closest to the other pictures of their own person, among all people.
        faces: Share of pictures with a face.
        spread: Standard deviation of people's traits, relative to that of the world's (uniform in [-1, 1]).
    """

    consistent: float
    different: float
    recognised: float
    faces: float
    spread: float


def portray(
    workshop: Workshop, judge: LookReader, basis: CelebBasis, person: Floats, seed: int, prompts: int = len(PROMPTS)
) -> Portrayed:
    """Draws a person [T, K] under the first prompts; equal seeds give everybody the same noise."""
    embedding = Embedding(_NAME, word_vectors(basis, person))
    wanted = [prompt.format(_NAME) for prompt in PROMPTS[:prompts]]
    pictures = workshop.host.generate(wanted, [seed * 100 + i for i in range(prompts)], [embedding])
    traits, _ = judge.read(pictures)
    assert traits is not None  # the judge reads identities
    faces = [len(workshop.faces.detect(picture)) > 0 for picture in pictures]
    return Portrayed(tuple(pictures), traits, float(np.mean(faces)))


def walk(
    workshop: Workshop, judge: LookReader, basis: CelebBasis, pair: Floats, weights: Sequence[float], seed: int,
    route: Route = "sphere", prompts: int = len(PROMPTS),
) -> MixCurve:  # fmt: skip
    """Mixes a pair [2, T, K] at several weights, which begin with 0 and end with 1."""
    steps = [portray(workshop, judge, basis, mix(pair, [1 - w, w], route), seed, prompts) for w in weights]
    seen = np.stack([step.traits.mean(axis=0) for step in steps])
    line = seen[-1] - seen[0]
    offsets = seen - seen[0]
    position = offsets @ line / (line @ line)
    aside = np.linalg.norm(offsets - position[:, None] * line, axis=1) / np.linalg.norm(line)
    return MixCurve(tuple(weights), tuple(position.tolist()), tuple(aside.tolist()), tuple(s.pictures for s in steps))


def crowd(people: Sequence[Portrayed]) -> Crowd:
    """How consistent people are, and how different from each other."""
    traits = np.stack([person.traits for person in people])
    unit = traits / np.linalg.norm(traits, axis=-1, keepdims=True)
    cosines = np.einsum("pad,qbd->pqab", unit, unit)
    count, pictures = traits.shape[:2]
    same = cosines[np.arange(count), np.arange(count)]
    others = cosines[~np.eye(count, dtype=bool)]
    return Crowd(
        consistent=float(same[:, ~np.eye(pictures, dtype=bool)].mean()),
        different=float(others.mean()),
        recognised=_recognised(unit),
        faces=float(np.mean([person.faces for person in people])),
        spread=float(traits.mean(axis=1).std(axis=0).mean() * np.sqrt(3)),
    )


def _recognised(unit: Floats) -> float:
    """[P, prompts, 16] of length 1: how often the mean of the person's other pictures is the closest."""
    count, pictures = unit.shape[:2]
    right = 0
    for p in range(count):
        for i in range(pictures):
            means = unit.mean(axis=1)
            means[p] = np.delete(unit[p], i, axis=0).mean(axis=0)
            means /= np.linalg.norm(means, axis=-1, keepdims=True)
            right += int(np.argmax(means @ unit[p, i])) == p
    return float(right / (count * pictures))
