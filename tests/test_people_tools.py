"""In the miniature, seen by its judge: a mix lies between its parents, and samples are people."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from celebbasis_ext.blend import sample
from celebbasis_ext.evaluate.people import Portrayed, crowd, portray, walk
from celebbasis_ext.jobs import Workshop, basis_of
from celebbasis_ext.miniature.tagger import LookReader
from celebbasis_ext.miniature.workshop import Assets, open_judge
from celebbasis_ext.types import CelebBasis


@pytest.fixture(scope="module")
def judge() -> LookReader:
    return open_judge(Assets())


@pytest.fixture(scope="module")
def basis(miniature: Workshop) -> CelebBasis:
    return basis_of(miniature)


def people(traits: np.ndarray) -> list[Portrayed]:
    return [Portrayed((), person.astype(np.float32), 1.0) for person in traits]


def test_the_measure_knows_people_from_noise() -> None:
    rng = np.random.default_rng(0)
    centres = rng.uniform(-1, 1, (10, 1, 16))
    real = crowd(people(centres + 0.2 * rng.standard_normal((10, 5, 16))))
    assert real.consistent > 0.85 and abs(real.different) < 0.15 and real.recognised > 0.95
    assert real.spread == pytest.approx(1, abs=0.15)
    noise = crowd(people(rng.uniform(-1, 1, (10, 5, 16))))
    assert abs(noise.consistent) < 0.15 and noise.recognised < 0.4
    same = crowd(people(np.broadcast_to(centres[:1], (10, 5, 16)) + 0.2 * rng.standard_normal((10, 5, 16))))
    assert same.different > 0.8 and same.recognised < 0.4


@pytest.mark.slow
def test_a_mix_is_between_its_parents_and_monotone_in_the_weight(
    miniature: Workshop, judge: LookReader, basis: CelebBasis
) -> None:
    for seed, (first, second) in enumerate([(3, 400), (77, 250)]):
        pair = np.stack([basis.coefficients[first], basis.coefficients[second]])
        curve = walk(miniature, judge, basis, pair, (0, 0.25, 0.5, 0.75, 1), seed, prompts=3)
        assert all(before < after for before, after in pairwise(curve.position))
        assert 0.15 < curve.position[2] < 0.85
        assert max(curve.aside) < 0.6, "not somebody else altogether"


@pytest.mark.slow
def test_ten_samples_are_ten_people(miniature: Workshop, judge: LookReader, basis: CelebBasis) -> None:
    seen = crowd([portray(miniature, judge, basis, sample(basis, seed), 50, prompts=4) for seed in range(10)])
    assert seen.faces == 1
    assert seen.consistent > 0.7
    assert abs(seen.different) < 0.25
    assert seen.recognised > 0.9
    assert seen.spread > 0.6
