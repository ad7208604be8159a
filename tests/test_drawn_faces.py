"""The miniature's face pack on drawn strangers: found, in the right place, told apart. `test_faces.py` has photos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from celebbasis_ext.errors import NoFaceFound, SeveralFaces
from celebbasis_ext.faces.base import find_face
from celebbasis_ext.faces.opencv import OpenCVFaces
from celebbasis_ext.miniature.drawing import BACKGROUNDS, COLOURS, Drawing, draw, draw_pair, random_look
from celebbasis_ext.miniature.drawing import _background as empty_scene
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.miniature.workshop import Assets, open_faces
from celebbasis_ext.types import Face, Floats, Image

PEOPLE = 40


@pytest.fixture(scope="module")
def faces() -> OpenCVFaces:
    return open_faces(Assets().checked())


def photos(seed: int) -> tuple[Drawing, ...]:
    """The same strangers for every seed, in other looks."""
    rng = np.random.default_rng((59, seed))
    looks = [replace(random_look(rng), style="photo") for _ in range(PEOPLE)]
    return tuple(draw(person, look) for person, look in zip(strangers(PEOPLE, 590_001), looks, strict=True))


@pytest.fixture(scope="module")
def drawings() -> tuple[Drawing, ...]:
    return photos(1)


@pytest.fixture(scope="module")
def found(faces: OpenCVFaces, drawings: tuple[Drawing, ...]) -> list[tuple[Face, ...]]:
    return [faces.detect(d.image) for d in drawings]


def pairs(size: int) -> tuple[Drawing, ...]:
    rng = np.random.default_rng((59, 3))
    people = strangers(2 * PEOPLE, 590_002)
    return tuple(
        draw_pair((left, right), (replace(random_look(rng), style="photo"), random_look(rng)), size)
        for left, right in zip(people[::2], people[1::2], strict=True)
    )


def scene_without_people(background: str) -> Image:
    canvas = empty_scene(background, 96)
    return canvas[::4, ::4].round().astype(np.uint8)


def test_every_drawing_shows_exactly_one_face(found: list[tuple[Face, ...]]) -> None:
    assert [len(own) for own in found] == [1] * PEOPLE


def test_faces_are_where_they_were_drawn(found: list[tuple[Face, ...]], drawings: tuple[Drawing, ...]) -> None:
    both = [(own[0], d.faces[0]) for own, d in zip(found, drawings, strict=True)]
    landmarks = np.array([np.linalg.norm(a.landmarks - b.landmarks, axis=-1) for a, b in both])
    assert landmarks.mean() < 3
    assert landmarks.mean(axis=0).max() < 4
    assert np.mean([np.abs(a.box - b.box).mean() for a, b in both]) < 4


def test_the_same_person_in_another_look_is_the_most_alike_of_all(
    faces: OpenCVFaces, drawings: tuple[Drawing, ...]
) -> None:
    one, other = (identities(faces, own) for own in (drawings, photos(2)))
    cosines = one @ other.T
    assert np.allclose(np.linalg.norm(one, axis=-1), 1, atol=1e-5)
    assert (cosines.argmax(axis=1) == np.arange(PEOPLE)).mean() >= 0.95
    assert (cosines.argmax(axis=0) == np.arange(PEOPLE)).mean() >= 0.95
    assert np.diag(cosines).mean() > cosines[~np.eye(PEOPLE, dtype=bool)].mean() + 0.4


def identities(faces: OpenCVFaces, drawings: tuple[Drawing, ...]) -> Floats:
    return np.stack([find_face(faces, d.image).identity for d in drawings])


@pytest.mark.parametrize("size", [96, 192])
def test_pairs_are_two_faces_and_one_must_be_chosen(faces: OpenCVFaces, size: int) -> None:
    """The detector, which was trained on whole portraits, may overlook somebody now and then."""
    shown = [pair for pair in pairs(size) if len(faces.detect(pair.image)) == 2]
    assert len(shown) >= 0.95 * PEOPLE
    for pair in shown:
        with pytest.raises(SeveralFaces, match="2 faces"):
            find_face(faces, pair.image)


def test_either_of_a_pair_can_be_chosen(faces: OpenCVFaces) -> None:
    shown = [pair for pair in pairs(192)[:12] if len(faces.detect(pair.image)) == 2]
    chosen = np.stack([[find_face(faces, p.image, n).face.landmarks for n in (1, 2)] for p in shown])
    true = np.stack([[face.landmarks for face in p.faces] for p in shown])
    distances = np.linalg.norm(chosen[:, :, None] - true[:, None], axis=-1).mean(axis=-1)
    assert (distances.argmin(axis=2) == [0, 1]).all()
    assert distances.min(axis=2).mean() < 6


def test_scenes_without_people_have_no_face(faces: OpenCVFaces) -> None:
    assert np.array_equal(scene_without_people("red")[0, 0], COLOURS["red"])
    for background in BACKGROUNDS:
        with pytest.raises(NoFaceFound):
            find_face(faces, scene_without_people(background))
