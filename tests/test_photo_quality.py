"""Warnings of poor photos: they come where a photo was made poor, say how poor, and stay away from good ones."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest

from celebbasis_ext.faces.align import align
from celebbasis_ext.faces.base import FaceBackend, find_face
from celebbasis_ext.faces.opencv import OpenCVFaces
from celebbasis_ext.faces.quality import (
    BLURRED,
    DARK,
    FACE_IN_SQUARE,
    OVEREXPOSED,
    SMALL,
    TILTED,
    Quality,
    measure,
    overall,
    photo_warnings,
)
from celebbasis_ext.files.photo import read_photo
from celebbasis_ext.miniature.portraits import draw_portraits
from celebbasis_ext.miniature.workshop import Assets, open_faces
from celebbasis_ext.types import AlignedFace, Face, Floats, Image, PhotoWarning
from tests.test_faces import DETECTOR, PORTRAITS, RECOGNISER, needs_weights

GOOD = Quality(brightness=120, overexposed=0.0, sharpness=0.4, size=300, yaw=5, tilt=2, score=0.95)


@pytest.fixture(scope="module")
def backend() -> OpenCVFaces:
    return OpenCVFaces(DETECTOR, RECOGNISER)


@pytest.fixture(scope="module")
def portraits() -> list[Image]:
    return [read_photo(path) for path in PORTRAITS]


def kinds(backend: FaceBackend, photo: Image, resolution: int = 512) -> list[str]:
    return [warning.kind for warning in warnings_of(backend, photo, resolution)]


def warnings_of(backend: FaceBackend, photo: Image, resolution: int = 512) -> tuple[PhotoWarning, ...]:
    quality = measure(find_face(backend, photo), resolution)
    return photo_warnings(quality, resolution, backend.doubtful)


# --- good photos


@needs_weights
def test_good_portraits_are_not_warned_of(backend: OpenCVFaces, portraits: list[Image]) -> None:
    for photo in portraits:
        assert kinds(backend, photo) == []


def test_drawn_people_are_hardly_warned_of() -> None:
    """Any background, clothes, hat, glasses; a miniature's face has 50 pixels and is not small for its checkpoint."""
    backend = open_faces(Assets())
    warned = [kind for portrait in draw_portraits(40, seed=8).images for kind in kinds(backend, portrait, 96)]
    assert len(warned) <= 3, warned


# --- poor ones


def blurred(photo: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(photo, (0, 0), 8), np.uint8)


def dark(photo: Image) -> Image:
    return (photo * 0.15).astype(np.uint8)


def bright(photo: Image) -> Image:
    return np.clip(photo * 3.0, 0, 255).astype(np.uint8)


def small(photo: Image) -> Image:
    return np.asarray(cv2.resize(photo, (100, 100), interpolation=cv2.INTER_AREA), np.uint8)


def rotated(photo: Image, degrees: float) -> Image:
    matrix = cv2.getRotationMatrix2D((256, 256), -degrees, 0.7)
    return np.asarray(cv2.warpAffine(photo, matrix, (512, 512), borderValue=(127.0, 127.0, 127.0)), np.uint8)


@needs_weights
def test_what_was_done_to_a_photo_is_what_is_warned_of(backend: OpenCVFaces, portraits: list[Image]) -> None:
    for change in (blurred, dark, bright, small):
        warned = [kinds(backend, change(photo)) for photo in portraits[1:]]
        assert all(change.__name__ in found for found in warned), (change, warned)


@needs_weights
def test_small_is_not_taken_for_blurred(backend: OpenCVFaces, portraits: list[Image]) -> None:
    for photo in portraits:
        assert kinds(backend, small(photo)) == ["small"]


@needs_weights
def test_tilted_heads_and_photos_on_their_side(backend: OpenCVFaces, portraits: list[Image]) -> None:
    straight, tilted = (sum("tilted" in kinds(backend, rotated(p, a)) for p in portraits) for a in (8, 28))
    assert straight == 0 and tilted >= 5
    assert all("unsure" in kinds(backend, np.ascontiguousarray(np.rot90(photo))) for photo in portraits)


@needs_weights
def test_what_is_small_depends_on_the_checkpoint(backend: OpenCVFaces, portraits: list[Image]) -> None:
    photo = np.asarray(cv2.resize(portraits[1], (200, 200), interpolation=cv2.INTER_AREA), np.uint8)
    assert kinds(backend, photo, 512) == []
    assert kinds(backend, photo, 1024) == ["small"]


# --- the numbers


def posed(yaw: float, tilt: float) -> Floats:
    """[5, 2] a head in space, turned and tilted, seen from far away."""
    # Millimetres: the eyes are 64 apart, the nose stands 29 before them.
    points = np.array([[-32, 0, 0], [32, 0, 0], [0, 36, 29], [-25, 70, 5], [25, 70, 5]], np.float64)
    y, z = math.radians(yaw), math.radians(tilt)
    turn = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    roll = np.array([[math.cos(z), -math.sin(z), 0], [math.sin(z), math.cos(z), 0], [0, 0, 1]])
    flat = (points @ (roll @ turn).T)[:, :2]
    return (flat * 2 + 300).astype(np.float32)


def found_at(landmarks: Floats, photo: Image) -> AlignedFace:
    face = Face(np.array([200, 200, 400, 450], np.float32), landmarks, 0.95)
    return AlignedFace(align(photo, landmarks), np.ones(1, np.float32), face)


@pytest.mark.parametrize("tilt", [-25.0, 0.0, 18.0])
@pytest.mark.parametrize("yaw", [-45.0, -20.0, 0.0, 10.0, 50.0])
def test_pose_is_measured_as_a_head_in_space_was_turned(yaw: float, tilt: float) -> None:
    quality = measure(found_at(posed(yaw, tilt), np.zeros((600, 600, 3), np.uint8)), 512)
    assert quality.yaw == pytest.approx(yaw, abs=1.5)
    assert quality.tilt == pytest.approx(tilt, abs=1e-3)


def test_light_is_measured_as_it_is() -> None:
    grey = measure(found_at(posed(0, 0), np.full((600, 600, 3), 77, np.uint8)), 512)
    assert grey.brightness == pytest.approx(77, abs=0.1) and grey.overexposed == 0
    assert grey.sharpness == pytest.approx(0, abs=1e-6) and grey.size == 250
    white = measure(found_at(posed(0, 0), np.full((600, 600, 3), 255, np.uint8)), 512)
    assert white.overexposed == 1.0


def test_sharpness_does_not_depend_on_contrast_or_light() -> None:
    noise = np.random.default_rng(0).integers(0, 200, (600, 600, 1)).astype(np.float32).repeat(3, axis=2)
    full = measure(found_at(posed(0, 0), noise.astype(np.uint8)), 512).sharpness
    faint = measure(found_at(posed(0, 0), (noise * 0.3 + 90).astype(np.uint8)), 512).sharpness
    assert faint == pytest.approx(full, rel=0.02)


@pytest.mark.parametrize(
    ("kind", "poor", "value"),
    [
        ("dark", {"brightness": 31.0}, 31.0),
        ("bright", {"overexposed": 0.3}, 0.3),
        ("blurred", {"sharpness": 0.01}, 0.01),
        ("small", {"size": 70.0}, 70.0),
        ("profile", {"yaw": -48.0}, 48.0),
        ("tilted", {"tilt": -31.0}, 31.0),
        ("unsure", {"score": 0.72}, 0.72),
    ],
)
def test_a_warning_says_value_limit_and_what_to_change(kind: str, poor: dict[str, float], value: float) -> None:
    assert photo_warnings(GOOD, 512, 0.9) == ()
    (warning,) = photo_warnings(Quality(**{**vars(GOOD), **poor}), 512, 0.9)
    assert warning.kind == kind and warning.value == pytest.approx(value)
    shown = f"{value:.0%}".removesuffix("%") if kind == "bright" else f"{value:g}"
    assert shown in warning.sentence and " wanted" in warning.sentence
    advice = warning.sentence.partition("): ")[2]
    assert advice.split()[0].rstrip(",") in {"take", "choose", "turn"} and advice.endswith(".")


FRONTAL = Quality(brightness=120, overexposed=0.0, sharpness=0.3, size=400, yaw=0, tilt=0, score=0.95)


def test_a_good_face_weighs_one_and_half_of_a_limit_one_half() -> None:
    assert overall(FRONTAL, 512, 0.9) == 1
    for change in (
        {"brightness": DARK / 2}, {"sharpness": BLURRED / 2}, {"overexposed": 2 * OVEREXPOSED}, {"tilt": -2 * TILTED},
        {"score": 0.45}, {"yaw": 60.0}, {"size": SMALL * FACE_IN_SQUARE * 256},
    ):  # fmt: skip
        assert overall(dataclasses.replace(FRONTAL, **change), 512, 0.9) == pytest.approx(0.5)


def test_what_is_warned_of_weighs_less_and_nothing_weighs_less_than_nothing() -> None:
    bad = Quality(brightness=0, overexposed=1, sharpness=0, size=0, yaw=120, tilt=90, score=0)
    assert overall(bad, 512, 0.9) == 0
    dim = dataclasses.replace(FRONTAL, brightness=0.9 * DARK)
    dim_and_turned = dataclasses.replace(dim, yaw=40)
    assert 0 < overall(dim_and_turned, 512, 0.9) < overall(dim, 512, 0.9) < 1
