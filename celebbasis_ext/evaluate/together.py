"""Two people in one picture: are both there, and is each of them the right one?

A face belongs to whichever of the people it is more like. Both are right where two faces are found and they belong to
different people; that is what mixing people up, drawing one of them twice, or leaving one out fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from celebbasis_ext.errors import NoFaceFound
from celebbasis_ext.faces.base import FaceBackend, aligned, identities_in, largest_first
from celebbasis_ext.types import Embedding, Floats, Image

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop


@dataclass(frozen=True)
class Together:
    """What is seen in a picture that should show two people.

    Attributes:
        found: At least two faces.
        distinct: The two largest are each like another one of the people.
    """

    found: bool
    distinct: bool


def look_for_both(backend: FaceBackend, picture: Image, people: Floats) -> Together:
    """Looks for two people, of whom identity vectors [2, I] are known, in a picture."""
    faces = largest_first(backend.detect(picture))[:2]
    if len(faces) < 2:
        return Together(found=False, distinct=False)
    seen = np.stack([aligned(backend, picture, face).identity for face in faces])
    nearest = np.argmax(seen @ people.T, axis=1)
    return Together(found=True, distinct=bool(nearest[0] != nearest[1]))


def portraits_of(workshop: Workshop, people: Sequence[Embedding], steps: int = 20, count: int = 4) -> Floats:
    """[n, I] whose faces they are, from pictures of each alone.

    Raises:
        NoFaceFound: If somebody's pictures show no face.
    """
    means = []
    for person in people:
        prompts = [f"a photo of {person.name}"] * count
        identities = identities_in(workshop.faces, workshop.host.generate(prompts, range(count), [person], steps))
        if not identities:
            raise NoFaceFound(f"No face was found in pictures of {person.name} alone.", "Draw without checking.")
        mean = np.mean(identities, axis=0)
        means.append(mean / np.linalg.norm(mean))
    return np.stack(means)


def rates(seen: Sequence[Together]) -> dict[str, float]:
    """Shares of the pictures."""
    return {
        "found": round(float(np.mean([one.found for one in seen])), 4),
        "distinct": round(float(np.mean([one.distinct for one in seen])), 4),
        "pictures": len(seen),
    }
