"""The basis against an independent SVD, and its cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from celebbasis_ext.basis import (
    basis_fingerprint,
    cached_basis,
    fit_basis,
    load_basis,
    project,
    save_basis,
    word_vectors,
)
from celebbasis_ext.errors import TooFewNames
from tests.conftest import make_basis

RNG = np.random.default_rng(4)
VECTORS = RNG.standard_normal((40, 2, 24)).astype(np.float32) * np.linspace(0.2, 3, 24, dtype=np.float32)
NAMES = [f"a{i} b{i}" for i in range(40)]


def test_components_equal_an_independent_svd() -> None:
    basis = fit_basis(NAMES, {"clip_l": VECTORS})
    for t in range(2):
        centred = VECTORS[:, t].astype(np.float64) - VECTORS[:, t].astype(np.float64).mean(0)
        _, singular, rows = np.linalg.svd(centred, full_matrices=False)
        own = basis.components["clip_l"][t]
        assert np.abs(np.abs((own * rows[: len(own)]).sum(1)) - 1).max() < 1e-4
        assert np.allclose(basis.explained_variance[t], singular[: len(own)] ** 2 / 39, rtol=1e-4)
        assert np.allclose(basis.mean["clip_l"][t], VECTORS[:, t].mean(0), atol=1e-5)


def test_components_are_orthonormal_and_their_signs_are_fixed() -> None:
    basis = fit_basis(NAMES, {"clip_l": VECTORS})
    shuffled = fit_basis(NAMES, {"clip_l": VECTORS[::-1].copy()})
    for t in range(2):
        rows = basis.components["clip_l"][t]
        assert np.allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-5)
        assert (rows[np.arange(len(rows)), np.abs(rows).argmax(1)] > 0).all()
    assert np.allclose(basis.components["clip_l"], shuffled.components["clip_l"], atol=1e-4)


def test_names_lie_in_their_own_basis() -> None:
    basis = fit_basis(NAMES, {"clip_l": VECTORS})
    assert basis.shape == (2, 24)
    assert np.allclose(word_vectors(basis, basis.coefficients)["clip_l"], VECTORS, atol=1e-4)
    assert np.allclose(project(basis, {"clip_l": VECTORS}), basis.coefficients, atol=1e-4)


def test_components_are_limited_to_what_is_real() -> None:
    repeated = np.concatenate([VECTORS[:10]] * 3)
    assert fit_basis([f"n{i}" for i in range(30)], {"clip_l": repeated}).shape == (2, 9)
    assert fit_basis(NAMES, {"clip_l": VECTORS}, max_components=5).shape == (2, 5)


def test_radius_is_the_mean_distance_of_the_names() -> None:
    basis = fit_basis(NAMES, {"clip_l": VECTORS})
    distances = np.linalg.norm(VECTORS - VECTORS.mean(0), axis=-1).mean(0)
    assert np.allclose(basis.radius, distances, rtol=1e-4)


def test_two_encoders_share_coefficients() -> None:
    other = RNG.standard_normal((40, 2, 10)).astype(np.float32) * 7
    basis = fit_basis(NAMES, {"clip_l": VECTORS, "clip_g": other})
    vectors = word_vectors(basis, basis.coefficients)
    assert vectors["clip_g"].shape == (40, 2, 10)
    assert np.allclose(vectors["clip_g"], other, atol=1e-3)
    assert np.allclose(vectors["clip_l"], VECTORS, atol=1e-3)


def test_too_few_names_are_refused() -> None:
    with pytest.raises(TooFewNames, match="at least 3"):
        fit_basis(NAMES[:2], {"clip_l": VECTORS[:2]})


def test_cache_is_used_and_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    first = cached_basis(NAMES, {"clip_l": VECTORS}, tmp_path)
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    again = cached_basis(NAMES, {"clip_l": VECTORS}, tmp_path)
    assert path.stat().st_mtime_ns == written
    assert np.array_equal(first.components["clip_l"], again.components["clip_l"])
    assert again.names == tuple(NAMES)
    path.write_bytes(path.read_bytes()[:200])
    mended = cached_basis(NAMES, {"clip_l": VECTORS}, tmp_path)
    assert np.array_equal(first.components["clip_l"], mended.components["clip_l"])


def test_fingerprint_follows_names_and_table() -> None:
    own = basis_fingerprint(NAMES, {"clip_l": VECTORS})
    assert own == basis_fingerprint(list(NAMES), {"clip_l": VECTORS.copy()})
    assert own != basis_fingerprint(NAMES[::-1], {"clip_l": VECTORS})
    assert own != basis_fingerprint(NAMES, {"clip_l": VECTORS + 1e-3})


def test_save_and_load(tmp_path: Path) -> None:
    basis = make_basis()
    save_basis(basis, tmp_path / "b.safetensors")
    loaded = load_basis(tmp_path / "b.safetensors")
    assert loaded.fingerprint == "test"
    assert np.array_equal(loaded.radius, basis.radius)
