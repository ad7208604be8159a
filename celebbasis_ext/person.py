"""Between a person's coefficients and a person's file: names, word vectors, provenance."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celebbasis_ext import __version__
from celebbasis_ext.basis import project, word_vectors
from celebbasis_ext.errors import InvalidEmbedding
from celebbasis_ext.files.embedding import (
    LEARNED,
    check_free,
    check_width,
    embeddings_in,
    pack_metadata,
    save_embedding,
    stored_coefficients,
    stored_fact,
)
from celebbasis_ext.files.name_rules import NameWarning, check_trigger, name_warnings
from celebbasis_ext.types import CelebBasis, Embedding, Floats

if TYPE_CHECKING:
    from celebbasis_ext.hosts.base import Host


def check_new_name(host: Host, name: str, overwrite: bool = False) -> None:
    """That a new embedding may have this name, before any work is done for it.

    Raises:
        InvalidName, NameTaken: See `files/name_rules.py` and `check_free`.
    """
    check_free(host.embeddings_dir, name, overwrite)
    check_trigger(name, host.tokenize, _other_names(host, name))


def surprises_of_name(host: Host, name: str) -> tuple[NameWarning, ...]:
    """What is surprising about a name beside the embeddings that the host has."""
    return name_warnings(name, host.tokenize, _other_names(host, name))


def _other_names(host: Host, name: str) -> list[str]:
    return sorted({path.stem for path in embeddings_in(host.embeddings_dir)} - {name})


def save_person(
    host: Host, basis: CelebBasis, name: str, coefficients: Floats, facts: Mapping[str, Any],
    *, origin: str = LEARNED, overwrite: bool = False, also_pt: bool = False,
) -> tuple[Embedding, Path]:  # fmt: skip
    """Writes the file of a person [T, K] and makes the host notice it.

    Args:
        host: Whose checkpoint the person belongs to.
        basis: The checkpoint's basis.
        name: The trigger word.
        coefficients: [T, K], K at most the basis'.
        facts: How this person came about, as JSON values; the common ones are added.
        origin: The same in words, for the header.
        overwrite: Replace an embedding of this name.
        also_pt: Write the old format beside it.

    Raises:
        InvalidName, NameTaken, CannotWrite: See `save_embedding`.
    """
    common = {
        "version": __version__,
        "checkpoint": dataclasses.asdict(host.checkpoint),
        "basis": basis.fingerprint,
        "radius": basis.radius.tolist(),
    }
    metadata = pack_metadata(coefficients, origin, **common, **facts)
    embedding = Embedding(name, word_vectors(basis, coefficients), metadata)
    path = save_embedding(embedding, host.embeddings_dir, overwrite=overwrite, also_pt=also_pt)
    host.publish(path)
    return embedding, path


def coefficients_in(basis: CelebBasis, embedding: Embedding) -> Floats:
    """[T, K] of anybody's embedding: those in its header if they belong to this basis, else the closest.

    Raises:
        InvalidEmbedding: If it belongs to text encoders of another width, or has another number of vectors.
    """
    check_width(embedding, {encoder: mean.shape[-1] for encoder, mean in basis.mean.items()})
    tokens, count = basis.shape
    vectors = len(next(iter(embedding.vectors.values())))
    if vectors != tokens:
        raise InvalidEmbedding(
            f"{embedding.name} is no person of this basis: expected {tokens} vectors, got {vectors}.",
            f"Choose an embedding with {tokens} vectors.",
        )
    own = stored_coefficients(embedding)
    if own is not None and stored_fact(embedding, "basis") == basis.fingerprint and len(own) == tokens:
        return np.pad(own[:, :count], ((0, 0), (0, max(0, count - own.shape[1]))))
    return project(basis, embedding.vectors)
