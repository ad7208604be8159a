"""What an embedding is, anybody's: what it fits, how it was made, and how it compares with real names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from celebbasis_ext import blend
from celebbasis_ext.basis import word_vectors
from celebbasis_ext.files.embedding import stored_coefficients, stored_fact
from celebbasis_ext.types import CelebBasis, Embedding, Floats

FAMILY_OF_WIDTHS = {
    (96,): "the miniature", (768,): "Stable Diffusion 1", (1024,): "Stable Diffusion 2", (768, 1280): "SDXL",
    (1280,): "SDXL, its second text encoder only",
}  # fmt: skip
_FACTS = (
    "made_by", "version", "checkpoint", "basis", "settings", "steps", "description", "describer", "faces", "scores",
    "mix", "sample", "moved",
)  # fmt: skip


@dataclass(frozen=True)
class Norms:
    """Lengths of word vectors beside those of real names.

    Attributes:
        encoder: Which text encoder.
        own: One for each vector.
        names: (5th percentile, mean, 95th percentile) over the names' tokens, one triple for each name column.
    """

    encoder: str
    own: tuple[float, ...]
    names: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Inspection:
    """What is known of an embedding.

    Attributes:
        name: The trigger word.
        ours: Whether Celeb Basis wrote it.
        fits: The family whose text encoders have its widths; "unknown" where none has.
        shape: {encoder: (vectors, width)}.
        facts: What the header says, ours or another trainer's.
        norms: For each text encoder.
        distances: From the centre of all celebrities, for each token; 1 is their mean. Empty without a basis.
        outside: Share of its offset from the centre that no combination of celebrities explains. None without a basis.
        nearest: The celebrities who are most like it, with cosines. Empty without a basis.
        compared_with: The checkpoint that these come from; empty without.
    """

    name: str
    ours: bool
    fits: str
    shape: Mapping[str, tuple[int, int]]
    facts: Mapping[str, Any]
    norms: tuple[Norms, ...]
    distances: tuple[float, ...] = ()
    outside: float | None = None
    nearest: tuple[tuple[str, float], ...] = ()
    compared_with: str = ""


def inspect_file(embedding: Embedding) -> Inspection:
    """What the file says by itself; raises InvalidEmbedding where its header is damaged."""
    shape = {e: (int(v.shape[0]), int(v.shape[1])) for e, v in embedding.vectors.items()}
    ours = stored_coefficients(embedding) is not None
    facts = {key: stored_fact(embedding, key) if key != "made_by" else embedding.metadata.get("celebbasis.made_by")
             for key in _FACTS if f"celebbasis.{key}" in embedding.metadata}  # fmt: skip
    return Inspection(
        embedding.name,
        ours,
        FAMILY_OF_WIDTHS.get(tuple(width for _, width in shape.values()), "unknown"),
        shape,
        facts if ours else dict(embedding.metadata),
        tuple(Norms(e, _lengths(v)) for e, v in embedding.vectors.items()),
    )


def compare(
    inspection: Inspection, embedding: Embedding, coefficients: Floats | None, basis: CelebBasis,
    name_vectors: Mapping[str, Floats], checkpoint: str,
) -> Inspection:  # fmt: skip
    """The same with what a checkpoint of the same widths adds.

    Args:
        inspection: Of the file alone.
        embedding: What it is of.
        coefficients: [T, K] in the basis; None where it has another number of vectors than names have.
        basis: The checkpoint's.
        name_vectors: {encoder: [N, T, D]} token embeddings of the names.
        checkpoint: Its name.
    """
    norms = tuple(Norms(n.encoder, n.own, _spread(name_vectors[n.encoder])) for n in inspection.norms)
    known = dataclasses.replace(inspection, norms=norms, compared_with=checkpoint)
    if coefficients is None:
        return known
    return dataclasses.replace(
        known,
        distances=tuple(round(float(d), 4) for d in blend.distances(basis, coefficients)),
        outside=round(_outside(basis, embedding.vectors, coefficients), 4),
        nearest=tuple((name, round(c, 4)) for name, c in blend.nearest(basis, embedding.vectors)),
    )


def _lengths(vectors: Floats) -> tuple[float, ...]:
    return tuple(round(float(length), 4) for length in np.linalg.norm(vectors, axis=-1))


def _spread(vectors: Floats) -> tuple[tuple[float, float, float], ...]:
    """[N, T, D] -> for each token (5th percentile, mean, 95th percentile) of the lengths."""
    lengths = np.linalg.norm(vectors, axis=-1)
    low, high = np.percentile(lengths, [5, 95], axis=0)
    rows = zip(low, lengths.mean(axis=0), high, strict=True)
    return tuple((round(float(a), 4), round(float(b), 4), round(float(c), 4)) for a, b, c in rows)


def _outside(basis: CelebBasis, vectors: Mapping[str, Floats], coefficients: Floats) -> float:
    explained = word_vectors(basis, coefficients)
    rest = sum(float(np.sum((vectors[e] - explained[e]) ** 2)) for e in basis.mean)
    whole = sum(float(np.sum((vectors[e] - mean) ** 2)) for e, mean in basis.mean.items())
    return float(np.sqrt(rest / max(whole, 1e-12)))
