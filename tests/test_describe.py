"""Who says what is in a photo beside the person: the user, nobody, and the miniature's tagger."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open

from celebbasis_ext.describe import GivenWords, NoWords
from celebbasis_ext.miniature.captions import WORDS, attribute_words
from celebbasis_ext.miniature.drawing import Drawing, Look, draw, random_look
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.miniature.portraits import READABLE
from celebbasis_ext.miniature.tagger import LookReader, Tagger, phrases
from celebbasis_ext.miniature.workshop import Assets, open_judge

FIELDS = ("background", "hat", "shirt", "glasses", "expression")
PEOPLE = 60


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return Tagger(Assets().tagger)


@pytest.fixture(scope="module")
def drawings() -> tuple[Drawing, ...]:
    """Photos of strangers whom no training has seen, in any look."""
    rng = np.random.default_rng((53, 1))
    looks = [replace(random_look(rng), style="photo") for _ in range(PEOPLE)]
    return tuple(draw(person, look) for person, look in zip(strangers(PEOPLE, 530_001), looks, strict=True))


def test_the_users_words_are_cut_at_commas(drawings: tuple[Drawing, ...]) -> None:
    image, face = drawings[0].image, drawings[0].faces[0]
    assert GivenWords(" red background ,, wearing glasses, ").describe(image, face) == (
        "red background",
        "wearing glasses",
    )
    assert GivenWords(" , ").describe(image, face) == GivenWords("").describe(image, face) == ()
    assert NoWords().describe(image, face) == ()
    assert len({GivenWords.name, NoWords.name, Tagger.name}) == 3


def test_the_tagger_reads_strangers_right(tagger: Tagger, drawings: tuple[Drawing, ...]) -> None:
    _, seen = tagger.looks.read([d.image for d in drawings])
    right = {f: np.mean([s[f] == getattr(d.look, f) for s, d in zip(seen, drawings, strict=True)]) for f in FIELDS}
    assert min(right.values()) >= 0.95, right


def test_the_tagger_says_what_the_captions_say(tagger: Tagger, drawings: tuple[Drawing, ...]) -> None:
    said = [tagger.describe(d.image, d.faces[0]) for d in drawings]
    true = [tuple(words[0] for words in attribute_words(d.look).values()) for d in drawings]
    assert np.mean([phrase in own for mine, own in zip(said, true, strict=True) for phrase in mine]) >= 0.95
    assert np.mean([phrase in mine for mine, own in zip(said, true, strict=True) for phrase in own]) >= 0.95
    assert {word for mine in said for phrase in mine for word in phrase.split()} <= set(WORDS)


def test_a_look_as_phrases() -> None:
    look = Look(background="beach", hat="red", shirt="green", expression="smiling", glasses=True)
    said = phrases(look)
    assert set(said) == {"at the beach", "wearing a red hat", "in a green shirt", "smiling", "with glasses"}
    assert phrases({field: getattr(look, field) for field in READABLE}) == said
    assert phrases(replace(look, style="sketch")) == (*said, "sketch")
    assert not [phrase for phrase in phrases(Look()) if "hat" in phrase.split() or "glasses" in phrase.split()]


def test_large_pictures_are_read_too(tagger: Tagger, drawings: tuple[Drawing, ...]) -> None:
    large = [draw(d.people[0], d.look, 192) for d in drawings[:10]]
    said = [tagger.describe(d.image, d.faces[0]) for d in large]
    assert said == [tagger.describe(d.image, d.faces[0]) for d in drawings[:10]]


def test_the_tagger_is_not_the_judge(tagger: Tagger, drawings: tuple[Drawing, ...]) -> None:
    """What helps to train must not be what marks the result; and the tagger knows nobody."""
    assets = Assets()
    assert assets.tagger.read_bytes() != assets.judge.read_bytes()
    keys = {}
    for path in (assets.tagger, assets.judge):
        with safe_open(path, framework="numpy") as file:
            keys[path.stem] = set(file.keys())
    assert not [key for key in keys["tagger"] if key.startswith("identity")]
    assert keys["judge"] - keys["tagger"] == {"identity.weight", "identity.bias"}

    judge = open_judge(assets)
    images = [d.image for d in drawings[:4]]
    assert isinstance(judge, LookReader)
    assert judge.read(images)[0].shape == (4, 16)
    assert tagger.looks.read(images)[0] is None
    own, other = (reader.state_dict()["fields.0.weight"] for reader in (tagger.looks.reader, judge.reader))
    assert abs(np.corrcoef(own.flatten(), other.flatten())[0, 1]) < 0.1
