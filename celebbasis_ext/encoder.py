"""Faces understood at once: identity vectors -> coefficients, without training (the idea of arXiv 2304.07429).

A checkpoint teaches its own encoder. What it draws for its celebrities gives pairs of (identity vector, that name's
coefficients); a regression over them says which coefficients a new face would have, had it a name.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from celebbasis_ext.errors import TooFewNames, WrongEncoder
from celebbasis_ext.name_filter import POOR
from celebbasis_ext.types import CelebBasis, Checkpoint, Encoder, Floats, Gallery, Understood

if TYPE_CHECKING:
    from sklearn.linear_model import Ridge
    from sklearn.neural_network import MLPRegressor

PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Of ridge regression, to choose from."""
HIDDEN = 256
"""Units of the small network."""
HELD_OUT = 0.2
"""Share of the names by which penalties and models are chosen."""
FOLDS = 5
_FEWEST = 20


@dataclass(frozen=True)
class Pairs:
    """What is learned from.

    Attributes:
        identities: [n, I].
        coefficients: [n, T * K] of the name that each picture was drawn for.
        names: [n] the name's number: pictures of one name are never on both sides of a test.
        weights: [n] quality of the picture.
    """

    identities: Floats
    coefficients: Floats
    names: npt.NDArray[np.int64]
    weights: Floats

    def some(self, rows: npt.NDArray[np.int64]) -> Pairs:
        return Pairs(self.identities[rows], self.coefficients[rows], self.names[rows], self.weights[rows])


def pairs_of(gallery: Gallery, basis: CelebBasis) -> Pairs:
    """The gallery's faces beside the coefficients of the names that they were drawn for.

    Raises:
        TooFewNames: If fewer than twenty of the basis' names have a good picture of one face.
    """
    numbers = {name: number for number, name in enumerate(basis.names)}
    shots = [s for s in gallery.shots if s.faces == 1 and s.quality >= POOR and s.name in numbers]
    count = len({shot.name for shot in shots})
    if count < _FEWEST:
        raise TooFewNames(
            f"Only {count} names have a good picture of one face, expected at least {_FEWEST}.",
            "Draw more of the gallery.",
        )
    names = np.array([numbers[shot.name] for shot in shots], np.int64)
    return Pairs(
        np.stack([shot.identity for shot in shots if shot.identity is not None]),
        basis.coefficients[names].reshape(len(names), -1),
        names,
        np.array([shot.quality for shot in shots], np.float32),
    )


def learn_encoder(
    pairs: Pairs, basis: CelebBasis, checkpoint: Checkpoint, faces: str, facts: Mapping[str, str] | None = None
) -> Encoder:
    """Ridge regression or a small network, whichever foretells names better that it has not seen.

    Args:
        pairs: From `pairs_of`.
        basis: Whose coefficients they are.
        checkpoint: Who drew the pictures.
        faces: Name of the face models.
        facts: For the file's header; what was found out is added.
    """
    scores = _held_out(pairs)
    best = max(scores, key=lambda model: scores[model])
    weight, bias, network = _parts(_fitted(best, pairs), pairs)
    spread = _spread(best, pairs)
    found = {"model": str(best), "explained on held-out names": f"{scores[best]:.3f}", "pairs": str(len(pairs.names))}
    unchecked = np.full(2, np.nan, np.float32)
    return Encoder(
        weight, bias, network, basis.radius, spread, _decoder(pairs), unchecked,
        float("nan"), basis.fingerprint, checkpoint.key, faces, {**(facts or {}), **found},
    )  # fmt: skip


Model = float | str
"""A ridge's penalty, or "network"."""


def _held_out(pairs: Pairs) -> dict[Model, float]:
    """{model: share of the held-out names' variance that it explains}."""
    from sklearn.model_selection import GroupShuffleSplit

    split = GroupShuffleSplit(1, test_size=HELD_OUT, random_state=0)
    seen, unseen = next(split.split(pairs.identities, groups=pairs.names))
    taught, asked = pairs.some(seen), pairs.some(unseen)
    total = np.square(asked.coefficients - taught.coefficients.mean(axis=0)).sum()
    scores: dict[Model, float] = {}
    for model in (*PENALTIES, "network"):
        error = _fitted(model, taught).predict(asked.identities) - asked.coefficients
        scores[model] = float(1 - np.square(error).sum() / total)
    return scores


def _spread(model: Model, pairs: Pairs) -> Floats:
    """[T * K, T * K] a root of the covariance of the errors on names that were not learned from."""
    from sklearn.covariance import LedoitWolf
    from sklearn.model_selection import GroupKFold

    errors = np.zeros_like(pairs.coefficients)
    for seen, unseen in GroupKFold(FOLDS).split(pairs.identities, groups=pairs.names):
        asked = pairs.some(unseen)
        errors[unseen] = asked.coefficients - _fitted(model, pairs.some(seen)).predict(asked.identities)
    values, vectors = np.linalg.eigh(LedoitWolf().fit(errors).covariance_)
    return _f32(vectors * np.sqrt(np.maximum(values, 0)))


def _fitted(model: Model, pairs: Pairs) -> Ridge | MLPRegressor:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import Ridge
    from sklearn.neural_network import MLPRegressor

    if not isinstance(model, str):
        return Ridge(model).fit(pairs.identities, pairs.coefficients, sample_weight=pairs.weights)
    network = MLPRegressor(hidden_layer_sizes=(HIDDEN,), alpha=1e-2, early_stopping=True, max_iter=100, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is judged by what it foretells
        return network.fit(pairs.identities, pairs.coefficients)


def _parts(model: Ridge | MLPRegressor, pairs: Pairs) -> tuple[Floats, Floats, tuple[tuple[Floats, Floats], ...]]:
    """Weight and bias of the linear part, and the network's layers."""
    if hasattr(model, "coefs_"):
        layers = tuple((_f32(w), _f32(b)) for w, b in zip(model.coefs_, model.intercepts_, strict=True))
        nothing = np.zeros((pairs.identities.shape[1], pairs.coefficients.shape[1]), np.float32)
        return nothing, nothing[0].copy(), layers
    return _f32(model.coef_.T), _f32(model.intercept_), ()


def _decoder(pairs: Pairs) -> Floats:
    """[T * K + 1, I] the way back: what identity vector names of these coefficients have."""
    from sklearn.linear_model import Ridge

    fitted = Ridge(1.0).fit(pairs.coefficients, pairs.identities, sample_weight=pairs.weights)
    return _f32(np.concatenate([fitted.coef_.T, fitted.intercept_[None]]))


def understand(encoder: Encoder, identity: Floats) -> Understood:
    """A person from a face; of several photos from their mean, see `Subject`.

    Args:
        encoder: From `learn_encoder`.
        identity: [I].
    """
    coefficients = answers(encoder, identity[None])
    offset, slope = encoder.sureness
    expected = float(offset + slope * agreement(encoder, identity[None], coefficients)[0])
    return Understood(coefficients[0], expected, encoder.doubt)


def answers(encoder: Encoder, identities: Floats) -> Floats:
    """[n, I] -> [n, T, K] on the celebrities' sphere: a regression alone gives people who are fainter than they."""
    rows = raw_answers(encoder, identities).reshape(len(identities), len(encoder.radius), -1)
    return _f32(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12) * encoder.radius[:, None])


def raw_answers(encoder: Encoder, identities: Floats) -> Floats:
    """[n, I] -> [n, T * K], shrunk to the mean as regressions do."""
    hidden = identities
    for number, (weight, bias) in enumerate(encoder.network):
        hidden = hidden @ weight + bias
        if number < len(encoder.network) - 1:
            hidden = np.maximum(hidden, 0)
    linear = identities @ encoder.weight + encoder.bias
    return _f32(linear + hidden if encoder.network else linear)


def agreement(encoder: Encoder, identities: Floats, coefficients: Floats) -> Floats:
    """[n, I] and [n, T, K] -> [n] what foretells likeness before anything is drawn.

    The cosine of the face and the face that people of these coefficients have: what the checkpoint cannot draw, or the
    encoder did not understand, is missing there.
    """
    back = coefficients.reshape(len(coefficients), -1) @ encoder.decoder[:-1] + encoder.decoder[-1]
    return _f32((identities * back).sum(axis=-1) / np.linalg.norm(back, axis=-1))


def with_sureness(encoder: Encoder, foretold: Floats, likeness: Floats) -> Encoder:
    """Calibrated with people who were drawn: what was foretold against what the recogniser said.

    Args:
        encoder: Whose answers were drawn.
        foretold: [n] from `agreement`.
        likeness: [n] mean cosine between pictures and photo.
    """
    slope, offset = np.polyfit(foretold.astype(np.float64), likeness.astype(np.float64), 1)
    doubt = float(np.std(likeness - (offset + slope * foretold), ddof=2))
    return dataclasses.replace(encoder, sureness=_f32([offset, slope]), doubt=doubt)


def check_encoder(encoder: Encoder, basis: CelebBasis, checkpoint: Checkpoint, faces: str) -> None:
    """That an encoder belongs to this checkpoint, its basis, and these face models.

    Raises:
        WrongEncoder: It does not.
    """
    own, here = (encoder.checkpoint, encoder.basis), (checkpoint.key, basis.fingerprint)
    if own != here:
        raise WrongEncoder(
            f"The encoder belongs to checkpoint {own[0][:10]} with basis {own[1]}, and {checkpoint.name} is "
            f"{here[0][:10]} with basis {here[1]}.",
            "Learn this checkpoint's encoder, once.",
        )
    if encoder.faces != faces:
        raise WrongEncoder(
            f"The encoder understands faces as {encoder.faces} sees them, and {faces} is looking.",
            "Choose the same face models, or learn an encoder for these.",
        )


def _f32(array: npt.ArrayLike) -> Floats:
    return np.ascontiguousarray(array, dtype=np.float32)
