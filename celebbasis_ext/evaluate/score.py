"""How much the pictures look like the photo, beside what chance gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from celebbasis_ext.faces.base import FaceBackend, identities_in
from celebbasis_ext.types import Floats, Image, Scores


def score_pictures(
    backend: FaceBackend, identity: Floats, pictures: Sequence[Image], impostors: Sequence[Image]
) -> Scores:
    """Compares pictures of a person, and pictures of anybody, with the photo's identity vector [I]."""
    own, others = identities_in(backend, pictures), identities_in(backend, impostors)
    return Scores(_mean_cosine(own, identity), _mean_cosine(others, identity), len(own) / max(1, len(pictures)))


def _mean_cosine(vectors: Sequence[Floats], identity: Floats) -> float:
    return float(np.mean([vector @ identity for vector in vectors])) if vectors else 0.0
