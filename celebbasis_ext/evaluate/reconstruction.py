"""Reconstruction: the person redrawn in the photo's own scene, and how near that comes to the photo.

The prompt is the trigger word with all that the training said beside it. What a plain prompt gives stands next to it:
the person alike, the scene by chance (the other task of arXiv 2304.07429).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from celebbasis_ext.evaluate.lab import LEAKS, SAMPLER_STEPS, TRIGGER, Lab, drawing_with, mean_and_error
from celebbasis_ext.faces.base import identities_in
from celebbasis_ext.prompts import scene_prompt
from celebbasis_ext.types import Embedding, Floats, Image

if TYPE_CHECKING:
    from celebbasis_ext.evaluate.baselines import Inserted

PICTURES = 4


@dataclass(frozen=True)
class Nearness:
    """How near pictures come to the photo, each [people].

    Attributes:
        face: Cosine of the recogniser's identity vectors; 1 is the photo itself.
        traits: Cosine of what the judge reads of the face.
        scene: Share of background, shirt, hat, glasses and expression that are the photo's.
    """

    face: Floats
    traits: Floats
    scene: Floats

    def summary(self) -> dict[str, dict[str, float]]:
        """{figure: {"mean": , "se": }} over people."""
        return {name: mean_and_error(values) for name, values in vars(self).items()}


@dataclass(frozen=True)
class Reconstructed:
    """Everybody in the photo's scene, and under a plain prompt.

    Attributes:
        scene: With the photo's description in the prompt.
        plain: Without.
        images: [people][pictures] of the first.
    """

    scene: Nearness
    plain: Nearness
    images: list[list[Image]]


def reconstruct(lab: Lab, inserted: Sequence[Inserted]) -> Reconstructed:
    """Draws everybody both ways, from the same noise."""
    described = [case.subject.description for case in lab.cases]
    scenes = [_drawn(lab, i, person, described[i]) for i, person in enumerate(inserted)]
    plain = [_drawn(lab, i, person, ()) for i, person in enumerate(inserted)]
    return Reconstructed(_nearness(lab, scenes), _nearness(lab, plain), scenes)


def _drawn(lab: Lab, index: int, person: Inserted, description: Sequence[str]) -> list[Image]:
    seeds = [(lab.seed * 1000 + index) * 100 + 50 + i for i in range(PICTURES)]
    prompts = [scene_prompt(TRIGGER, description)] * PICTURES
    with drawing_with(lab, person):
        return lab.workshop.host.generate(prompts, seeds, [Embedding(TRIGGER, person.vectors)], steps=SAMPLER_STEPS)


def _nearness(lab: Lab, drawn: Sequence[Sequence[Image]]) -> Nearness:
    rows = [_of_one(lab, index, images) for index, images in enumerate(drawn)]
    face, traits, scene = (np.array(values, np.float32) for values in zip(*rows, strict=True))
    return Nearness(face, traits, scene)


def _of_one(lab: Lab, index: int, images: Sequence[Image]) -> tuple[float, float, float]:
    case = lab.cases[index]
    faces = [float(vector @ case.subject.identity) for vector in identities_in(lab.workshop.faces, images)]
    photo, seen = lab.look_at([case.portrait]).traits[0], lab.look_at(images)
    norms = np.linalg.norm(seen.traits, axis=1) * np.linalg.norm(photo)
    same = [look[field] == getattr(case.look, field) for look in seen.looks for field in LEAKS]
    return float(np.mean(faces)) if faces else 0.0, float((seen.traits @ photo / norms).mean()), float(np.mean(same))
