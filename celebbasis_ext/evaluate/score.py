"""How much the pictures look like the photo, beside what chance gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from celebbasis_ext.faces.align import align
from celebbasis_ext.faces.base import FaceBackend, largest
from celebbasis_ext.types import Floats, Image, Scores


def identities_in(backend: FaceBackend, images: Sequence[Image]) -> list[Floats]:
    """The identity vector of the largest face of every picture that shows one."""
    found = [(image, backend.detect(image)) for image in images]
    return [backend.identify(align(image, largest(faces).landmarks)) for image, faces in found if faces]


def score_pictures(
    backend: FaceBackend, identity: Floats, pictures: Sequence[Image], impostors: Sequence[Image]
) -> Scores:
    """Compares pictures of a person, and pictures of anybody, with the photo's identity vector [I]."""
    own, others = identities_in(backend, pictures), identities_in(backend, impostors)
    return Scores(_mean_cosine(own, identity), _mean_cosine(others, identity), len(own) / max(1, len(pictures)))


def _mean_cosine(vectors: Sequence[Floats], identity: Floats) -> float:
    return float(np.mean([vector @ identity for vector in vectors])) if vectors else 0.0
