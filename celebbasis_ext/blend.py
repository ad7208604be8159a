"""People out of people: mixed, made up, carried to another checkpoint, and compared. Plain linear algebra.

A person is c [T, K], relative to the celebrities' mean. The celebrities themselves are C [N, T, K].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from celebbasis_ext.basis import word_vectors
from celebbasis_ext.errors import InvalidSettings
from celebbasis_ext.types import CelebBasis, Floats

Route = Literal["sphere", "straight"]


def mix(coefficients: Floats, weights: Sequence[float], route: Route = "sphere") -> Floats:
    """Somebody between several people.

    "straight" is the weighted mean; it comes closer to the centre of all celebrities than the people themselves, and
    so to nobody in particular. "sphere" takes the mean's direction, and as distance from the centre the weighted mean
    of the people's own, for each token. For two people this is the arc that spherical interpolation walks along;
    unlike that it is defined for any number of them, in any order.

    A negative weight leads away from somebody (1.5 of one and -0.5 of another exaggerates how they differ); the
    weights together have to be positive, else the result lies on the far side of the centre from everybody named.

    Args:
        coefficients: [P, T, K].
        weights: [P], of any positive sum.
        route: Which way to go.

    Returns:
        [T, K].

    Raises:
        InvalidSettings: If the weights do not add up to something positive, or the people cancel out.
    """
    w = np.asarray(weights, np.float64)
    if not np.isfinite(w).all() or w.sum() <= 1e-6:
        raise InvalidSettings(
            f"The weights add up to {w.sum():g}; expected more than 0.", "Give the people you want more weight."
        )
    people = np.asarray(coefficients, np.float64)
    straight = np.einsum("p,ptk->tk", w / w.sum(), people)
    if route == "straight":
        return np.asarray(straight, np.float32)
    radii = np.einsum("p,pt->t", np.abs(w) / np.abs(w).sum(), np.linalg.norm(people, axis=-1))
    return _at_distance(straight, radii)


def _at_distance(directions: np.ndarray, radii: np.ndarray) -> Floats:
    """[T, K] with rows of the lengths [T]."""
    lengths = np.linalg.norm(directions, axis=-1)
    if (lengths <= 1e-9 * radii).any():
        raise InvalidSettings("These people cancel out: nobody is left between them.", "Change the weights.")
    return np.asarray(directions * (radii / lengths)[:, None], np.float32)


def sample(basis: CelebBasis, seed: int) -> Floats:
    """A fictional person [T, K] from the celebrities' own distribution, at their mean distance from the centre.

    g @ C / sqrt(N - 1) with g standard normal is Gaussian with exactly the covariance of the celebrities: the explained
    variance of each component, and also what first names and last names have to do with each other.
    """
    names = basis.coefficients - basis.coefficients.mean(axis=0)
    g = np.random.default_rng(seed).standard_normal(len(names))
    person = np.einsum("n,ntk->tk", g, names.astype(np.float64)) / np.sqrt(max(1, len(names) - 1))
    return _at_distance(person, basis.radius.astype(np.float64))


def carry_over(source: CelebBasis, target: CelebBasis, coefficients: Floats) -> Floats:
    """The same person in relation to the celebrities, over another checkpoint's basis.

    Principal components are not comparable one by one: where variances are close, a slightly different token table
    turns them into each other. The names are. So the person is written as a combination of the celebrities that both
    know, the smallest there is, and that combination is taken of the other checkpoint's celebrities.

    Args:
        source: The basis that the coefficients belong to.
        target: The other checkpoint's.
        coefficients: [T, K] of the source.

    Returns:
        [T, K] of the target.

    Raises:
        InvalidSettings: If the two have too few celebrities in common to say who somebody is.
    """
    places = {name: i for i, name in enumerate(target.names)}
    common = [(i, places[name]) for i, name in enumerate(source.names) if name in places]
    if len(common) < max(source.shape[1], 3):
        raise InvalidSettings(
            f"The two checkpoints have {len(common)} celebrities in common; {source.shape[1]} are needed.",
            "Learn the person from the photo again.",
        )
    here, there = (list(column) for column in zip(*common, strict=True))
    known, wanted = source.coefficients[here], target.coefficients[there]
    count = coefficients.shape[-1]
    combination = [np.linalg.pinv(known[:, t, :count].T) @ coefficients[t] for t in range(len(coefficients))]
    return np.stack([w @ wanted[:, t] for t, w in enumerate(combination)]).astype(np.float32)


def distances(basis: CelebBasis, coefficients: Floats) -> Floats:
    """[T] how far somebody is from the centre; 1 is as far as celebrities are on average."""
    return np.asarray(np.linalg.norm(coefficients, axis=-1) / basis.radius, np.float32)


def nearest(basis: CelebBasis, vectors: Mapping[str, Floats], count: int = 5) -> tuple[tuple[str, float], ...]:
    """The celebrities who are most like somebody.

    Args:
        basis: Of the checkpoint.
        vectors: {encoder: [T, D]} word vectors.
        count: How many.

    Returns:
        Names and cosines of the word vectors less the mean, over both tokens together; the mean of the encoders'.
    """
    everybody = word_vectors(basis, basis.coefficients)
    cosines = np.mean([_cosines(everybody[e] - mean, vectors[e] - mean) for e, mean in basis.mean.items()], axis=0)
    best = np.argsort(-cosines, kind="stable")[:count]
    return tuple((basis.names[i], float(cosines[i])) for i in best)


def _cosines(many: Floats, one: Floats) -> Floats:
    """[N, T, D] and [T, D] -> [N]."""
    rows, row = many.reshape(len(many), -1), one.ravel()
    return np.asarray(rows @ row / np.maximum(np.linalg.norm(rows, axis=-1) * np.linalg.norm(row), 1e-12))
