"""The miniature's world: who lives in it, how they are drawn, and that captions say nothing but the truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from celebbasis_ext.files.clip_tokenizer import clip_tokenizer
from celebbasis_ext.miniature.captions import (
    EXPRESSION_WORDS,
    SCENE_WORDS,
    SKETCH_PREFIXES,
    WORDS,
    attribute_words,
    background_words,
    caption_of,
)
from celebbasis_ext.miniature.drawing import (
    BACKGROUNDS,
    COLOURS,
    EXPRESSIONS,
    HATS,
    SCENES,
    SHIRTS,
    Look,
    draw,
    draw_pair,
    random_look,
)
from celebbasis_ext.miniature.people import (
    CELEBRITIES,
    FIRST_NAMES,
    LAST_NAMES,
    TRAITS,
    Person,
    celebrities,
    name_vectors,
    pairings,
    person_of,
    strangers,
)
from celebbasis_ext.miniature.world import Scene, scene
from celebbasis_ext.types import Image

STRANGER = strangers(1, 640_001)[0]
KNOWN = celebrities()
SCENES_DRAWN = tuple(scene(index, KNOWN) for index in range(400))


# People.


def test_there_are_640_celebrities_and_every_name_stands_in_four() -> None:
    assert len(KNOWN) == len({p.name for p in KNOWN}) == CELEBRITIES == 640
    firsts, lasts = zip(*(p.name.split() for p in KNOWN), strict=True)
    assert Counter(firsts) == dict.fromkeys(FIRST_NAMES, 4)
    assert Counter(lasts) == dict.fromkeys(LAST_NAMES, 4)


def test_every_name_is_one_token_of_clip() -> None:
    tokens = clip_tokenizer()([*FIRST_NAMES, *LAST_NAMES], add_special_tokens=False)["input_ids"]
    assert {len(ids) for ids in tokens} == {1}
    assert len({ids[0] for ids in tokens[:160]}) == len({ids[0] for ids in tokens[160:]}) == 160


def test_celebrities_are_the_same_every_time_and_are_what_their_names_mean() -> None:
    assert pairings() == pairings()
    assert all(np.array_equal(a, b) for a, b in zip(name_vectors(), name_vectors(), strict=True))
    for (first, last), known in list(zip(pairings(), KNOWN, strict=True))[::80]:
        again = person_of(first, last)
        assert again.name == known.name
        assert np.array_equal(again.identity, known.identity)


def test_both_names_matter_for_every_trait() -> None:
    someone, other_first, other_last = (person_of(*pair).identity for pair in ((3, 5), (4, 5), (3, 6)))
    assert (np.abs(someone - other_first) > 1e-3).all()
    assert (np.abs(someone - other_last) > 1e-3).all()


@pytest.mark.parametrize("kind", ["strangers", "celebrities"])
def test_traits_are_uniform(kind: str) -> None:
    """Kolmogorov-Smirnov; the celebrities' share their names, so that their traits are rougher."""
    people = strangers(4000, 7) if kind == "strangers" else KNOWN
    traits = np.sort(np.stack([p.identity for p in people]), axis=0)
    assert traits.shape == (len(people), len(TRAITS))
    assert np.abs(traits).max() <= 1
    uniform = (np.arange(len(people)) + 0.5) / len(people)
    distance = np.abs((traits + 1) / 2 - uniform[:, None]).max(axis=0)
    assert distance.max() < (0.035 if kind == "strangers" else 0.15)


def test_traits_of_strangers_do_not_hang_together() -> None:
    correlation = np.corrcoef(np.stack([p.identity for p in strangers(4000, 8)]).T)
    assert np.abs(correlation - np.eye(len(TRAITS))).max() < 0.08


def test_strangers_have_no_names_and_are_nobody_else() -> None:
    people = [*strangers(500, 1), *strangers(500, 2)]
    assert {p.name for p in people} == {""}
    identities = np.stack([p.identity for p in (*people, *KNOWN)])
    gaps = np.linalg.norm(identities[:1000, None] - identities[None], axis=-1)
    gaps[np.arange(1000), np.arange(1000)] = np.inf
    assert gaps.min() > 0.3
    again = strangers(500, 2)
    assert all(np.array_equal(a.identity, b.identity) for a, b in zip(people[500:], again, strict=True))


# Drawings.


def changed(field: str, value: object, look: Look | None = None, person: Person = STRANGER) -> np.ndarray:
    """[96, 96] where the picture changes by more than a little when one attribute does."""
    look = Look() if look is None else look
    before, after = draw(person, look).image, draw(person, replace(look, **{field: value})).image
    return np.abs(before.astype(int) - after.astype(int)).max(axis=-1) > 12


def corner(image: Image) -> list[int]:
    return [int(v) for v in image[1, 1]]


def test_drawings_are_the_same_every_time() -> None:
    for index in (0, 17, 256):
        first, second = scene(index, KNOWN), scene(index)
        assert first.looks == second.looks
        assert np.array_equal(first.drawn().image, second.drawn().image)
        assert first.drawn().image.shape == (96, 96, 3)
    assert not np.array_equal(scene(1, KNOWN).drawn().image, scene(2, KNOWN).drawn().image)


@pytest.mark.parametrize("colour", COLOURS)
def test_background_and_shirt_have_their_colours(colour: str) -> None:
    other = "red" if colour != "red" else "blue"
    image = draw(STRANGER, Look(background=colour, shirt=other)).image
    assert np.abs(np.array(corner(image)) - COLOURS[colour]).max() <= 1
    image = draw(STRANGER, Look(background=other, shirt=colour)).image
    assert np.abs(image[93, 48].astype(int) - COLOURS[colour]).max() <= 1


def test_all_backgrounds_look_different() -> None:
    images = np.stack([draw(STRANGER, Look(background=b)).image.astype(int) for b in BACKGROUNDS])
    for i in range(len(images)):
        for j in range(i):
            assert np.abs(images[i] - images[j]).max(axis=-1)[:40].mean() > 10, (BACKGROUNDS[i], BACKGROUNDS[j])


def test_attributes_change_the_pixels_that_they_should_and_no_others() -> None:
    face = draw(STRANGER, Look()).faces[0]
    eyes, mouth = face.landmarks[:2, 1].mean(), face.landmarks[3:, 1].mean()
    top = float(face.box[1])

    background = changed("background", "red")
    assert background[:8, :8].all()
    assert not background[int(eyes) : int(mouth), 44:52].any()

    shirt = changed("shirt", "red")
    assert shirt[90:, 40:56].all()
    assert not shirt[: int(mouth)].any()

    hat = changed("hat", "red")
    assert hat[int(top) : int(top) + 6, 44:52].all()
    assert not hat[int(eyes) + 2 :].any()

    glasses = changed("glasses", True)
    rows = np.flatnonzero(glasses.any(axis=1))
    assert eyes - 10 < rows.min() < eyes < rows.max() < eyes + 10

    for expression in ("smiling", "sad", "surprised"):
        moved = changed("expression", expression)
        assert moved[int(mouth) - 6 : int(mouth) + 9].any()
        assert not moved[:, :20].any()
        assert not moved[80:].any()


def test_a_sketch_is_grey_and_light_changes_the_sides() -> None:
    sketch = draw(STRANGER, Look(background="red", style="sketch")).image.astype(int)
    assert np.ptp(sketch, axis=-1).max() == 0
    left, right = (draw(STRANGER, Look(background="orange", light=light)).image for light in (-1.0, 1.0))
    assert corner(left) > corner(right)
    assert left[1, 94].tolist() < right[1, 94].tolist()


def test_people_differ_and_every_trait_shows() -> None:
    shaved = np.where(np.array(TRAITS) == "beard", -0.5, STRANGER.identity).astype(np.float32)
    for i, trait in enumerate(TRAITS):
        low, high = shaved.copy(), shaved.copy()
        low[i], high[i] = -0.9, 0.9
        pictures = [draw(Person("", identity), Look()).image.astype(int) for identity in (low, high)]
        assert np.abs(pictures[0] - pictures[1]).max() > 25, trait


def test_the_truth_about_faces_moves_with_the_head() -> None:
    still = draw(STRANGER, Look()).faces[0]
    moved = draw(STRANGER, Look(shift=(0.03, 0.0))).faces[0]
    assert np.allclose(moved.box - still.box, [0.03 * 1.1 * 96, 0] * 2, atol=1e-3)
    turned = draw(STRANGER, Look(tilt=5.0)).faces[0]
    rise = turned.landmarks[1] - turned.landmarks[0]
    assert np.degrees(np.arctan2(rise[1], rise[0])) == pytest.approx(5, abs=0.01)
    assert np.allclose(draw(STRANGER, Look(), 192).faces[0].landmarks, 2 * still.landmarks, atol=1e-3)


def test_pairs_stand_from_left_to_right() -> None:
    pair = draw_pair((KNOWN[0], KNOWN[1]), (Look(background="red"), Look(background="blue")))
    assert pair.people == (KNOWN[0], KNOWN[1])
    assert pair.faces[0].box[2] < pair.faces[1].box[0] + 12
    assert pair.faces[0].landmarks[:, 0].max() < 48 < pair.faces[1].landmarks[:, 0].min()
    assert corner(pair.image) == list(COLOURS["red"])


def test_random_looks_have_every_value() -> None:
    rng = np.random.default_rng(3)
    looks = [random_look(rng) for _ in range(600)]
    assert {x.background for x in looks} == set(BACKGROUNDS)
    assert {x.hat for x in looks} == set(HATS)
    assert {x.shirt for x in looks} == set(SHIRTS)
    assert {x.expression for x in looks} == set(EXPRESSIONS)
    assert 0.2 < np.mean([x.glasses for x in looks]) < 0.4
    assert 0.06 < np.mean([x.style == "sketch" for x in looks]) < 0.18


# Captions.


def false_phrases(drawn: Scene) -> set[str]:
    """Everything that a caption could say and that is not so in this scene."""
    everything = {p for b in BACKGROUNDS for p in background_words(b)}
    everything |= {p for options in EXPRESSION_WORDS.values() for p in options}
    for look in (Look(hat=colour, shirt=colour, glasses=True) for colour in COLOURS):
        everything |= {p for field in ("hat", "shirt", "glasses") for p in attribute_words(look)[field]}
    return everything - {p for options in attribute_words(drawn.look).values() for p in options}


def test_captions_say_nothing_but_the_truth() -> None:
    rng = np.random.default_rng(5)
    for drawn in SCENES_DRAWN:
        text = caption_of(rng, drawn).text
        look = drawn.look
        rest = text
        for person in drawn.people:
            rest = rest.replace(person.name, "") if person.name else rest
        words = rest.replace(",", " ").split()
        colours = {word for word in words if word in COLOURS}
        assert colours <= {look.background, look.hat, look.shirt}, text
        assert {word for word in words if word in SCENES} <= {look.background}, text
        assert not [phrase for phrase in false_phrases(drawn) if f" {phrase} " in f" {' '.join(words)} "], text
        if any(rest.startswith(prefix + " ") for prefix in SKETCH_PREFIXES):
            assert look.style == "sketch", text


def test_captions_name_only_who_is_there_and_tell_what_they_say() -> None:
    rng = np.random.default_rng(6)
    for drawn in SCENES_DRAWN:
        caption = caption_of(rng, drawn)
        present = {p.name for p in drawn.people if p.name}
        assert {p.name for p in KNOWN if f" {p.name} " in f" {caption.text.replace(',', ' ')} "} <= present
        for person, named in zip(drawn.people, caption.named, strict=True):
            assert not named or (person.name and person.name in caption.text)
        plain = caption.text.replace(",", "")
        for field in caption.said - {"style"}:
            assert any(phrase in plain for phrase in attribute_words(drawn.look)[field]), (field, caption.text)


def test_every_word_of_a_caption_is_known() -> None:
    rng = np.random.default_rng(7)
    known = {*WORDS, *FIRST_NAMES, *LAST_NAMES}
    captions = [caption_of(rng, drawn).text for drawn in SCENES_DRAWN]
    spoken = {word for text in captions for word in text.replace(",", " , ").split()}
    assert spoken <= known
    assert set(SCENE_WORDS) == set(SCENES)
    assert len(set(captions)) > 350


def test_captions_leave_things_out_by_chance() -> None:
    rng = np.random.default_rng(9)
    single = next(s for s in SCENES_DRAWN if len(s.people) == 1 and s.people[0].name and s.look.hat != "none")
    captions = [caption_of(rng, single) for _ in range(200)]
    assert 0.4 < np.mean(["background" in c.said for c in captions]) < 0.7
    assert 0.65 < np.mean([c.named[0] for c in captions]) < 0.9
