"""The endless album: picture i of the world, always the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from celebbasis_ext.miniature.drawing import Drawing, Look, draw, draw_pair, random_look
from celebbasis_ext.miniature.people import HIDDEN, WORLD_SEED, Person, celebrities, identity_of

PAIR_RATE = 0.15
STRANGER_RATE = 0.15


@dataclass(frozen=True)
class Scene:
    """What a picture shows, before it is drawn: one or two people, a look for each."""

    people: tuple[Person, ...]
    looks: tuple[Look, ...]

    @property
    def look(self) -> Look:
        return self.looks[0]

    def drawn(self) -> Drawing:
        if len(self.people) == 2:
            return draw_pair((self.people[0], self.people[1]), (self.looks[0], self.looks[1]))
        return draw(self.people[0], self.look)


def _somebody(rng: np.random.Generator, known: tuple[Person, ...]) -> Person:
    if rng.random() < STRANGER_RATE:
        u, v = rng.standard_normal((2, HIDDEN)).astype(np.float32)
        return Person("", identity_of(u, v))
    return known[rng.integers(len(known))]


def random_scene(rng: np.random.Generator, known: tuple[Person, ...]) -> Scene:
    """One person or a pair, mostly celebrities, in any look."""
    count = 2 if rng.random() < PAIR_RATE else 1
    return Scene(tuple(_somebody(rng, known) for _ in range(count)), tuple(random_look(rng) for _ in range(count)))


def scene(index: int, known: tuple[Person, ...] | None = None) -> Scene:
    """Scene `index` of the world."""
    rng = np.random.default_rng((WORLD_SEED, 4, index))
    return random_scene(rng, celebrities() if known is None else known)
