"""The lab's strangers two by two in one picture, beside two celebrities whom the checkpoint knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from celebbasis_ext.evaluate.lab import SAMPLER_STEPS, Lab, drawing_with
from celebbasis_ext.evaluate.together import Together, look_for_both, rates
from celebbasis_ext.miniature.people import celebrities
from celebbasis_ext.types import Embedding, Image

if TYPE_CHECKING:
    from celebbasis_ext.evaluate.baselines import Inserted

PROMPT = "a photo of {} and {}"
PICTURES = 4
WORDS = ("left-cb", "right-cb")


def pairs_in_the_lab(lab: Lab, inserted: Sequence[Inserted]) -> tuple[dict[str, float], list[list[Image]]]:
    """Neighbours of the lab's list, two by two, drawn by their words; the rates, and the pictures of each pair."""
    seen: list[Together] = []
    pictures = []
    for first in range(0, len(inserted) - 1, 2):
        pair = inserted[first : first + 2]
        embeddings = [Embedding(word, person.vectors) for word, person in zip(WORDS, pair, strict=True)]
        with drawing_with(lab, pair[0]), drawing_with(lab, pair[1]):
            drawn = _drawn(lab, first, WORDS, embeddings)
        identities = np.stack([case.subject.identity for case in lab.cases[first : first + 2]])
        seen += [look_for_both(lab.workshop.faces, picture, identities) for picture in drawn]
        pictures.append(drawn)
    return rates(seen), pictures


def celebrities_in_pairs(lab: Lab) -> dict[str, float]:
    """The same for as many people whom the checkpoint knows by name: what can be had at all."""
    rng, seen = np.random.default_rng((23, lab.seed)), []
    for first in range(0, len(lab.cases) - 1, 2):
        pair = [celebrities()[i] for i in rng.choice(len(celebrities()), 2, replace=False)]
        identities = np.stack([lab.portrait_of(person, rng) for person in pair])
        drawn = _drawn(lab, first, [person.name for person in pair])
        seen += [look_for_both(lab.workshop.faces, picture, identities) for picture in drawn]
    return rates(seen)


def _drawn(lab: Lab, index: int, names: Sequence[str], embeddings: Sequence[Embedding] = ()) -> list[Image]:
    seeds = [(lab.seed * 1000 + index) * 100 + 70 + i for i in range(PICTURES)]
    prompts = [PROMPT.format(*names)] * PICTURES
    return lab.workshop.host.generate(prompts, seeds, embeddings, steps=SAMPLER_STEPS)
