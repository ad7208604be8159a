"""Which names does a checkpoint know? Judged by what it draws for them.

gallery -> similarity of a name's own pictures, and to those of other names -> thresholds from all names -> verdicts.

A name is kept when its pictures show exactly one face, well enough, and the same person each time who is not everybody
else. What "the same" means to a recogniser is not fixed by hand: names that are known and names that are not form
clusters of their own, and pictures shuffled among names say what chance gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from celebbasis_ext.types import Floats, Gallery, Shot

Reason = Literal[
    "no face", "several faces", "poor pictures", "never the same person", "looks like everybody", "too few pictures"
]

_Doubles = npt.NDArray[np.float64]

POOR = 0.5
"""Quality below which a picture does not count: a limit of `faces.quality` is missed by half."""
NEIGHBOURS = 5
"""Other names that a name is compared with. One or two may be twins, or the same person under another name."""
APART = 2.0
"""Distance of two clusters' means in units of their common spread, from which on they are two."""
SHUFFLES = 20
_FEWEST = 10
"""Names below which there are no clusters to speak of."""


@dataclass(frozen=True)
class Verdict:
    """What is thought of a name.

    Attributes:
        name: Which.
        reason: Why it is not kept; None where it is.
        within: Mean cosine between identity vectors of its own pictures; nan with fewer than two to compare.
        nearest: Mean cosine between its pictures and those of the five other names that are closest to it; nan too.
    """

    name: str
    reason: Reason | None
    within: float
    nearest: float

    @property
    def kept(self) -> bool:
        return self.reason is None


@dataclass(frozen=True)
class FilteredNames:
    """All verdicts, and how they came about.

    Attributes:
        verdicts: In the gallery's order.
        threshold: The least `within` of the same person.
        chance: The largest `within` to be expected of as many names, were their pictures shuffled.
    """

    verdicts: tuple[Verdict, ...]
    threshold: float
    chance: float

    @property
    def kept(self) -> tuple[str, ...]:
        return tuple(verdict.name for verdict in self.verdicts if verdict.kept)


def filter_names(gallery: Gallery) -> FilteredNames:
    """Says for every name whether the checkpoint knows it.

    Two bounds together decide which pictures show the same person, and neither is set by hand:

    - Chance. Pictures are shuffled among names, twenty times; the bound is what one name of all reaches in that way.
      Where all names are known, this is the only bound, and all are kept that are beyond it.
    - Clusters. Two normal distributions are fitted to all names' similarities, and one. Where two explain more than
      their additional numbers cost (Schwarz 1978) and lie clearly apart (Ashman et al. 1994), the upper one holds the
      known names, and the bound is where the lower becomes as likely.

    With hardly any known names these form no cluster: then all that is beyond chance is kept, which may be too much.
    A name that is no celebrity's is kept too where the checkpoint makes one person of it: half a known name often is.
    """
    by_name: dict[str, list[Shot]] = {}
    for shot in gallery.shots:
        by_name.setdefault(shot.name, []).append(shot)
    faults = {name: _fault(shots) for name, shots in by_name.items()}
    vectors = {name: _vectors(by_name[name]) for name, fault in faults.items() if fault is None}
    pictures = list(vectors.values())
    within, nearest = _within(pictures), _nearest(pictures)
    chance = _chance([own for own, w, n in zip(pictures, within, nearest, strict=True) if w > n], len(pictures))
    threshold = max(chance, _cluster_bound(within))
    seen = {name: (float(w), float(n)) for name, w, n in zip(vectors, within, nearest, strict=True)}
    verdicts = (
        Verdict(name, fault or _person_fault(*seen[name], threshold), *seen.get(name, (np.nan, np.nan)))
        for name, fault in faults.items()
    )
    return FilteredNames(tuple(verdicts), threshold, chance)


def _fault(shots: Sequence[Shot]) -> Reason | None:
    """What is wrong with most of a name's pictures, or with so many that no two are left."""
    kinds = [_picture_fault(shot) for shot in shots]
    good = kinds.count(None)
    if len(shots) < 2:
        return "too few pictures"
    if good >= 2 and 2 * good > len(shots):
        return None
    faults = [kind for kind in kinds if kind is not None]
    return max(faults, key=faults.count)


def _picture_fault(shot: Shot) -> Reason | None:
    if shot.identity is None:
        return "no face"
    if shot.faces > 1:
        return "several faces"
    return "poor pictures" if shot.quality < POOR else None


def _person_fault(within: float, nearest: float, threshold: float) -> Reason | None:
    if within <= threshold:
        return "never the same person"
    return "looks like everybody" if within <= nearest else None


def _vectors(shots: Sequence[Shot]) -> Floats:
    """[n, I] of the pictures that count."""
    return np.stack([s.identity for s in shots if s.identity is not None and _picture_fault(s) is None])


def _within(vectors: Sequence[Floats]) -> _Doubles:
    """[N] mean cosine between two different pictures of each name."""
    sums, counts = _sums(vectors)
    return np.asarray((np.square(sums).sum(axis=1) - counts) / (counts * (counts - 1)))


def _nearest(vectors: Sequence[Floats]) -> _Doubles:
    """[N] mean cosine between a name's pictures and those of its nearest other names; -1 where there is no other."""
    sums, counts = _sums(vectors)
    between = sums @ sums.T / np.outer(counts, counts)
    np.fill_diagonal(between, -1.0)
    others = -np.sort(-between, axis=1)[:, : max(1, min(NEIGHBOURS, len(vectors) - 1))]
    return np.asarray(others.sum(axis=1) / max(1, others.shape[1]))


def _sums(vectors: Sequence[Floats]) -> tuple[_Doubles, _Doubles]:
    """[N, I] and [N]: of all pairs of pictures, the mean cosine is that of the sums, over how many there are."""
    if not vectors:
        return np.zeros((0, 0)), np.zeros(0)
    return np.stack([own.sum(axis=0, dtype=np.float64) for own in vectors]), np.array([len(v) for v in vectors], float)


def _chance(vectors: Sequence[Floats], count: int) -> float:
    """What one of `count` names reaches whose pictures are anybody's; 1, which nobody reaches, for fewer than three.

    Args:
        vectors: Pictures of those that are not everybody: a face that many names share would pass for chance.
        count: How many names are judged.
    """
    if len(vectors) < 3:
        return 1.0
    rng = np.random.default_rng(0)
    ends = np.cumsum([len(own) for own in vectors])[:-1]
    pictures = np.concatenate(vectors)
    shuffled = [_within(np.split(rng.permutation(pictures), ends)) for _ in range(SHUFFLES)]
    return float(np.quantile(np.concatenate(shuffled), 1 - 1 / count))


def _cluster_bound(within: _Doubles) -> float:
    """The similarity below which the lower cluster is the likelier; -1 where there is but one."""
    from sklearn.mixture import GaussianMixture

    if len(within) < _FEWEST:
        return -1.0
    column = within[:, None]
    one, two = (GaussianMixture(n, n_init=3, reg_covar=1e-4, random_state=0).fit(column) for n in (1, 2))
    apart = np.ptp(two.means_) / np.sqrt(two.covariances_.mean())
    if two.bic(column) > one.bic(column) or apart < APART:
        return -1.0
    upper = int(two.means_.argmax())
    grid = np.linspace(-1.0, float(two.means_[upper, 0]), 2001)
    below = grid[two.predict_proba(grid[:, None])[:, upper] < 0.5]
    return float(below.max()) if len(below) else -1.0
