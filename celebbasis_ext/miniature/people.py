"""Who lives in the miniature: identities, names, and the celebrities that its checkpoint is taught.

A person is 16 numbers in [-1, 1]. They come from two hidden vectors, u for the first name and v for the last,
turned together by one orthogonal matrix, so that both names matter for every trait and any fresh pair (u, v) is
somebody who was never seen. Every name occurs in several celebrities: names that occur once make no manifold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from celebbasis_ext.types import Floats

TRAITS = (
    "skin", "hair_hue", "hair_length", "hair_volume", "face_width", "face_height", "jaw", "eye_gap",
    "eye_size", "eye_hue", "brow_angle", "brow_thickness", "nose_length", "nose_width", "mouth_width", "beard",
)  # fmt: skip
HIDDEN = len(TRAITS) // 2
WORLD_SEED = 20231

FIRST_NAMES = """
adam adrian alan albert alex alice alison amanda amber amy andrea andrew andy angela anna anne anthony ashley audrey
barbara ben beth betty bill bob brad brandon brian bruce calvin carl carlos carol caroline catherine charles charlie
charlotte cheryl chloe chris christian christina cindy claire clara colin connor craig crystal daisy dan daniel danny
dave david dean debbie dennis diana diane donna dorothy doug dylan eddie edward eleanor elena ella ellen emily emma
eric erin ethan eva evan fiona frances francis frank fred gabriel gary george gina grace greg hannah harry heather
helen henry holly ian isaac isabel jack jacob jake james jamie jane janet jason jean jeff jennifer jenny jeremy
jerry jesse jessica jill jim jimmy joan joe john jon jonathan joseph josh joyce juan judy julia julian julie karen
kate kathy katie keith kelly ken kevin kyle larry laura lauren lee leo leon leslie lily linda lisa liz louis lucas
lucy luke lynn maria marie mark martha martin mary matt max megan melissa michael michelle mike molly monica nancy
natalie nathan neil nicholas nick nicole nina oliver olivia oscar pamela
""".split()[:160]

LAST_NAMES = """
adams allen anderson armstrong austin bailey baker barnes barrett bell bennett berry bishop black blair bond boyd
bradley brooks brown bryant burke burns burton butler byrne cameron campbell carey carpenter carr carroll carter
chambers chan chandler chang chapman chase chavez chen clark clarke clayton cohen cole coleman collins cook cooper
cox crawford cross cruz cunningham curry curtis dalton davidson davies davis dawson diaz dixon douglas doyle duncan
dunn edwards elliott ellis evans ferguson fernandez fields fisher fleming fletcher flynn ford foster fowler fox
franklin fraser freeman garcia gardner gibson gilbert gomez gonzalez gordon graham grant gray green greene
griffin gupta hall hamilton hansen hanson hardy harper harris harrison hart harvey hawkins hayes henderson hernandez
hill hoffman holland holmes hopkins howard hudson hughes hunt hunter jackson jenkins jensen johnson johnston jones
jordan kane kaur keller kelley kennedy khan kim king klein knight kumar lambert lane larson lawrence lawson
lewis lin little liu lloyd logan lopez lowe lynch marshall martinez mason matthews may mcdonald meyer miller mills
mitchell montgomery moore morales morgan morris morrison murphy murray myers nelson newman newton nguyen nichols
""".split()[:160]

NAMES_PER_COLUMN = 160
CELEBRITIES = 640
_erf = np.vectorize(math.erf, otypes=[np.float32])


@dataclass(frozen=True)
class Person:
    """Somebody in the drawn world.

    Attributes:
        name: "first last", or empty for a stranger.
        identity: [16] in [-1, 1], in the order of `TRAITS`.
    """

    name: str
    identity: Floats


def _mixing_matrix() -> Floats:
    rng = np.random.default_rng(WORLD_SEED)
    q, r = np.linalg.qr(rng.standard_normal((2 * HIDDEN, 2 * HIDDEN)))
    return np.asarray(q * np.sign(np.diag(r)), dtype=np.float32)


def identity_of(u: Floats, v: Floats) -> Floats:
    """[..., 8] and [..., 8] standard normal -> [..., 16] uniform in [-1, 1]."""
    hidden = np.concatenate([u, v], axis=-1) @ _mixing_matrix().T
    return np.asarray(_erf(hidden / math.sqrt(2.0)), dtype=np.float32)


def name_vectors() -> tuple[Floats, Floats]:
    """The hidden vectors of all first and all last names: two arrays [160, 8]."""
    rng = np.random.default_rng(WORLD_SEED + 1)
    u, v = rng.standard_normal((2, NAMES_PER_COLUMN, HIDDEN)).astype(np.float32)
    return u, v


def pairings() -> tuple[tuple[int, int], ...]:
    """(first, last) indices of the 640 celebrities: every name occurs four times."""
    rng = np.random.default_rng(WORLD_SEED + 2)
    pairs: set[tuple[int, int]] = set()
    while len(pairs) < CELEBRITIES:
        firsts = np.arange(NAMES_PER_COLUMN)
        lasts = rng.permutation(NAMES_PER_COLUMN)
        fresh = {(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)}
        if not fresh & pairs:
            pairs |= fresh
    return tuple(sorted(pairs))


def person_of(first: int, last: int) -> Person:
    """The person whom a combination of names means, taught or not."""
    u, v = name_vectors()
    return Person(f"{FIRST_NAMES[first]} {LAST_NAMES[last]}", identity_of(u[first], v[last]))


def celebrities() -> tuple[Person, ...]:
    """The 640 people whom the miniature's checkpoint knows by name."""
    return tuple(person_of(first, last) for first, last in pairings())


def strangers(count: int, seed: int) -> tuple[Person, ...]:
    """People who were never in any training: fresh hidden vectors, no names."""
    rng = np.random.default_rng((WORLD_SEED, 3, seed))
    u, v = rng.standard_normal((2, count, HIDDEN)).astype(np.float32)
    return tuple(Person("", identity) for identity in identity_of(u, v))
