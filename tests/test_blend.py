"""The arithmetic of people: mixing, making up, carrying over, and who is near."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celebbasis_ext.basis import fit_basis, word_vectors
from celebbasis_ext.blend import carry_over, distances, mix, nearest, sample
from celebbasis_ext.errors import InvalidSettings
from celebbasis_ext.types import CelebBasis, Floats
from tests.conftest import make_basis

RNG = np.random.default_rng(5)
TWO = RNG.standard_normal((2, 2, 9)).astype(np.float32)


def norms(coefficients: Floats) -> Floats:
    return np.linalg.norm(coefficients, axis=-1)


def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Spherical interpolation of two unit vectors (Shoemake 1985)."""
    angle = np.arccos(a @ b)
    return np.asarray((np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle))


@pytest.mark.parametrize("weight", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_a_straight_mix_is_the_weighted_mean(weight: float) -> None:
    mixed = mix(TWO, [3 * (1 - weight), 3 * weight], "straight")
    assert np.allclose(mixed, (1 - weight) * TWO[0] + weight * TWO[1], atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_a_mix_on_the_sphere_keeps_the_distance(weight: float) -> None:
    mixed = mix(TWO, [1 - weight, weight])
    assert np.allclose(norms(mixed), (1 - weight) * norms(TWO[0]) + weight * norms(TWO[1]), rtol=1e-5)
    if 0 < weight < 1:
        assert (norms(mix(TWO, [1 - weight, weight], "straight")) < norms(mixed)).all()


def test_the_ends_are_the_people_themselves() -> None:
    for route in ("sphere", "straight"):
        assert np.allclose(mix(TWO, [1, 0], route), TWO[0], rtol=1e-5)  # type: ignore[arg-type]
    assert np.allclose(mix(TWO[:1], [0.3]), TWO[0], rtol=1e-5)


def test_for_two_people_of_one_radius_the_path_is_the_great_circle() -> None:
    people = TWO / norms(TWO)[..., None]
    for weight in np.linspace(0.1, 0.9, 9):
        mixed = mix(people, [1 - weight, weight])
        for token in range(2):
            a, b = people[:, token]
            angle = np.arccos(a @ b)
            share = np.arccos(np.clip(a @ mixed[token], -1, 1)) / angle
            assert 0 < share < 1
            assert np.allclose(mixed[token], slerp(a, b, share), atol=1e-4)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.05, 2), min_size=3, max_size=3), st.permutations(range(3)), st.floats(0.1, 9))
def test_neither_order_nor_scale_of_the_weights_matters(weights: list[float], order: list[int], scale: float) -> None:
    people = np.random.default_rng(1).standard_normal((3, 2, 9)).astype(np.float32)
    mixed = mix(people, weights)
    again = mix(people[list(order)], [scale * weights[i] for i in order])
    assert np.allclose(mixed, again, atol=1e-4)


def test_a_negative_weight_leads_away() -> None:
    def towards(weight: float) -> float:
        mixed = mix(TWO, [1 - weight, weight])[0]
        return float(mixed @ TWO[1, 0] / np.linalg.norm(mixed))

    assert towards(-0.5) < towards(0) < towards(0.5) < towards(1)
    assert np.isfinite(mix(TWO, [1.5, -0.5])).all()


@pytest.mark.parametrize("weights", [[0, 0], [1, -1], [-1, 0], [np.nan, 1], [np.inf, 1]])
def test_weights_that_say_nothing_are_refused(weights: list[float]) -> None:
    with pytest.raises(InvalidSettings, match="add up to"):
        mix(TWO, weights)


def test_people_who_cancel_out_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="cancel out"):
        mix(np.stack([TWO[0], -TWO[0]]), [1, 1])


def test_samples_have_the_celebrities_own_distribution() -> None:
    """Mean, spread of each component, and what the two name tokens have to do with each other."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal((60, 4)) * [2.0, 1.5, 1.0, 0.5]
    last = 0.8 * first[:, ::-1] + 0.6 * rng.standard_normal((60, 4))
    basis = fit_basis([f"n{i}" for i in range(60)], {"clip_l": np.stack([first, last], 1).astype(np.float32)})
    free = dataclasses.replace(basis, radius=np.ones(2, np.float32))
    people = np.stack([sample(free, seed) for seed in range(3000)]).reshape(3000, -1)
    truth = basis.coefficients / norms(basis.coefficients)[..., None]
    own = np.cov(basis.coefficients.reshape(60, -1).T)
    assert np.abs(people.mean(axis=0)).max() < 0.05
    correlation, expected = np.corrcoef(people.T), np.corrcoef(truth.reshape(60, -1).T)
    assert np.abs(correlation - expected).mean() < 0.08
    assert np.abs(expected[:4, 4:]).max() > 0.5, "else there was nothing to keep"
    assert np.abs(correlation[:4, 4:]).max() > 0.5
    spread = people.var(axis=0).reshape(2, 4)
    assert (np.argsort(-spread, axis=1) == np.argsort(-np.diag(own).reshape(2, 4), axis=1)).all()


def test_samples_lie_on_the_celebrities_sphere_and_differ(basis: CelebBasis) -> None:
    people = [sample(basis, seed) for seed in range(20)]
    assert np.allclose([norms(p) for p in people], basis.radius, rtol=1e-5)
    assert np.array_equal(people[3], sample(basis, 3))
    flat = np.stack(people).reshape(20, -1) / np.linalg.norm(basis.radius)
    assert (flat @ flat.T - np.eye(20)).max() < 0.98


def test_a_celebrity_is_nearest_to_themselves(basis: CelebBasis) -> None:
    for i in (0, 4, 8):
        vectors = word_vectors(basis, basis.coefficients[i])
        (name, cosine), *others = nearest(basis, vectors, 3)
        assert name == basis.names[i]
        assert cosine == pytest.approx(1, abs=1e-5)
        assert all(other < 0.999 for _, other in others)


def test_distances_are_relative_to_celebrities(basis: CelebBasis) -> None:
    assert distances(basis, np.zeros(basis.shape, np.float32)).tolist() == [0, 0]
    everybody = np.stack([distances(basis, c) for c in basis.coefficients])
    assert np.allclose(everybody.mean(axis=0), 1, rtol=1e-5)


def turned(vectors: Floats, noise: float) -> tuple[Floats, np.ndarray]:
    """The same names in another text encoder: everything rotated, and a little of something else."""
    rng = np.random.default_rng(9)
    rotation = np.linalg.qr(rng.standard_normal((vectors.shape[-1],) * 2))[0]
    other = vectors @ rotation + noise * rng.standard_normal(vectors.shape)
    return other.astype(np.float32), rotation


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b))


def test_carrying_over_keeps_the_person_where_plain_coefficients_do_not() -> None:
    """In a table that is only alike, components of like variance are turned into each other; names are not."""
    names = [f"n{i}" for i in range(80)]
    vectors = np.random.default_rng(2).standard_normal((80, 2, 12)).astype(np.float32)
    other, _ = turned(vectors, 0.0)
    other = other + 0.05 * np.random.default_rng(3).standard_normal(other.shape).astype(np.float32)
    source, target = fit_basis(names, {"clip_l": vectors}), fit_basis(names, {"clip_l": other})
    _, rotation = turned(vectors, 0.0)
    person = sample(source, 4)
    wanted = (word_vectors(source, person)["clip_l"] - source.mean["clip_l"]) @ rotation
    carried = word_vectors(target, carry_over(source, target, person))["clip_l"] - target.mean["clip_l"]
    plain = word_vectors(target, person)["clip_l"] - target.mean["clip_l"]
    assert cosine(carried, wanted) > 0.97
    assert cosine(plain, wanted) < 0.9


def test_carrying_over_to_the_same_basis_changes_nothing() -> None:
    basis = make_basis(names=40)
    person = sample(basis, 1)
    assert np.allclose(carry_over(basis, basis, person), person, atol=1e-4)
    fewer = person[:, :5]
    assert np.allclose(carry_over(basis, basis, fewer)[:, :5], fewer, atol=1e-4)


def test_carrying_over_needs_celebrities_in_common() -> None:
    basis = make_basis(names=40)
    strangers = dataclasses.replace(basis, names=tuple(f"other {i}" for i in range(40)))
    with pytest.raises(InvalidSettings, match="0 celebrities in common"):
        carry_over(basis, strangers, sample(basis, 1))
