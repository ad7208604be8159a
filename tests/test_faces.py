"""Faces: detection, the choice of one, alignment, identity; on synthetic portraits and real weights."""

from __future__ import annotations

import importlib.util
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as pillow

from celebbasis_ext.errors import (
    InvalidSettings,
    MissingModel,
    MissingPackage,
    NoFaceFound,
    SeveralFaces,
)
from celebbasis_ext.faces.align import TEMPLATE, align, align_matrix
from celebbasis_ext.faces.base import choose, face_within, find_face, largest, numbered, unit
from celebbasis_ext.faces.insight import InsightFaces
from celebbasis_ext.faces.opencv import OpenCVFaces, YuNet
from celebbasis_ext.files.photo import read_photo
from celebbasis_ext.types import Face, Floats, Image

SHARED = Path(__file__).parents[2] / "shared"
PORTRAITS = sorted((SHARED / "faces").glob("person_*.jpg"))
DETECTOR = SHARED / "facepack" / "yunet_n_640_640.onnx"
RECOGNISER = SHARED / "facepack" / "mobilefacenet_casia_112.onnx"

needs_weights = pytest.mark.skipif(
    not (PORTRAITS and DETECTOR.is_file() and RECOGNISER.is_file()),
    reason="the portraits or the face weights are not in ../shared/faces and ../shared/facepack",
)
needs_insightface = pytest.mark.skipif(
    importlib.util.find_spec("insightface") is None, reason="the package insightface is not installed"
)
needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnx") is None, reason="the package onnx is not installed")


@pytest.fixture(scope="module")
def backend() -> OpenCVFaces:
    return OpenCVFaces(DETECTOR, RECOGNISER)


@pytest.fixture(scope="module")
def portraits() -> list[Image]:
    return [read_photo(path) for path in PORTRAITS]


@pytest.fixture(scope="module")
def identities(backend: OpenCVFaces, portraits: list[Image]) -> Floats:
    """[people, I]."""
    return np.stack([find_face(backend, image).identity for image in portraits])


# --- augmentations: what happens to photos


def flipped(image: Image) -> Image:
    return np.ascontiguousarray(image[:, ::-1])


def darker(image: Image) -> Image:
    return np.asarray(image * 0.55, dtype=np.uint8)


def brighter(image: Image) -> Image:
    return np.asarray(np.clip(image * 1.3 + 15, 0, 255), dtype=np.uint8)


def compressed(image: Image) -> Image:
    memory = io.BytesIO()
    pillow.fromarray(image).save(memory, "JPEG", quality=25)
    return read_photo(memory.getvalue())


def turned(image: Image) -> Image:
    return np.array(pillow.fromarray(image).rotate(12, pillow.Resampling.BICUBIC))


def shrunk(image: Image) -> Image:
    return scaled(image, 160)


def scaled(image: Image, side: int) -> Image:
    return np.array(pillow.fromarray(image).resize((side, side), pillow.Resampling.LANCZOS))


# --- detection


def assert_plausible(face: Face, image: Image) -> None:
    """Eyes above nose above mouth, left left of right, all within the box, the box within the photo."""
    left, top, right, bottom = face.box.tolist()
    height, width = image.shape[:2]
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    eye, other_eye, nose, corner, other_corner = face.landmarks
    assert eye[0] < nose[0] < other_eye[0] and corner[0] < other_corner[0]
    assert max(eye[1], other_eye[1]) < nose[1] < min(corner[1], other_corner[1])
    assert np.all(face.landmarks > [left, top]) and np.all(face.landmarks < [right, bottom])
    assert 0.7 <= face.score <= 1.0


@needs_weights
def test_every_portrait_has_one_face(backend: OpenCVFaces, portraits: list[Image]) -> None:
    for image in portraits:
        faces = backend.detect(image)
        assert len(faces) == 1
        assert_plausible(faces[0], image)


@needs_weights
@pytest.mark.parametrize("side", [64, 100, 320, 700, 1024, 1500, 2048])
def test_the_face_is_found_in_the_same_place_in_every_size(
    side: int, backend: OpenCVFaces, portraits: list[Image]
) -> None:
    for image in portraits:
        faces = backend.detect(scaled(image, side))
        assert len(faces) == 1
        expected = backend.detect(image)[0].landmarks / 512
        assert np.abs(faces[0].landmarks / side - expected).max() < 0.035


@needs_weights
def test_a_face_that_fills_the_photo_is_found(backend: OpenCVFaces, portraits: list[Image]) -> None:
    for image in portraits:
        assert len(backend.detect(scaled(image[95:380, 90:380], 1200))) == 1


@needs_weights
def test_resolution_hardly_changes_the_identity(
    backend: OpenCVFaces, portraits: list[Image], identities: Floats
) -> None:
    """Without the sizes between the largest and the smallest, the cosine falls to 0.92."""
    for image, identity in zip(portraits, identities, strict=True):
        assert find_face(backend, scaled(image, 1024)).identity @ identity > 0.98


@needs_weights
def test_detection_uses_a_photo_of_any_shape(backend: OpenCVFaces, portraits: list[Image]) -> None:
    wide = np.zeros((512, 1700, 3), np.uint8)
    wide[:, 1100:1612] = portraits[0]
    (face,) = backend.detect(wide)
    (alone,) = backend.detect(portraits[0])
    assert np.abs(face.landmarks - [1100, 0] - alone.landmarks).max() < 8


@needs_weights
def test_enlarging_makes_the_landmarks_of_small_photos_exact(backend: OpenCVFaces, portraits: list[Image]) -> None:
    def error(detector: YuNet) -> float:
        """Mean distance, as a share of the photo's side, from the landmarks in the large photo."""
        distances = [
            np.abs(detector.detect(scaled(image, 64))[0].landmarks / 64 - backend.detect(image)[0].landmarks / 512)
            for image in portraits
        ]
        return float(np.mean(distances))

    enlarged = error(YuNet(DETECTOR, min_side=320))
    assert enlarged < 0.015
    assert enlarged < 0.9 * error(YuNet(DETECTOR, min_side=64))


@needs_weights
def test_no_face_in_blank_or_noisy_images(backend: OpenCVFaces) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for image in (np.full((512, 512, 3), 255, np.uint8), noise, np.zeros((1, 1, 3), np.uint8)):
        with pytest.raises(NoFaceFound) as caught:
            find_face(backend, image)
        assert caught.value.hint


# --- identity


@needs_weights
def test_different_people_are_different(identities: Floats) -> None:
    cosines = identities @ identities.T
    assert np.allclose(np.diag(cosines), 1, atol=1e-5)
    assert cosines[~np.eye(len(cosines), dtype=bool)].max() < 0.35


@needs_weights
@pytest.mark.parametrize("change", [flipped, darker, brighter, compressed, turned, shrunk])
def test_the_same_person_stays_closest(
    change: Callable[[Image], Image], backend: OpenCVFaces, portraits: list[Image], identities: Floats
) -> None:
    cosines = np.stack([find_face(backend, change(image)).identity for image in portraits]) @ identities.T
    same = np.diag(cosines)
    others = cosines - 2 * np.eye(len(cosines))
    assert np.all(same > others.max(axis=1) + 0.2)
    assert same.min() > 0.6


@needs_weights
def test_find_face_gives_crop_identity_and_place(backend: OpenCVFaces, portraits: list[Image]) -> None:
    found = find_face(backend, portraits[0])
    assert found.crop.shape == (112, 112, 3) and found.crop.dtype == np.uint8
    assert found.identity.dtype == np.float32 and np.linalg.norm(found.identity) == pytest.approx(1)
    assert np.array_equal(found.crop, align(portraits[0], found.face.landmarks))
    assert "yunet" in backend.name and "mobilefacenet" in backend.name


@needs_weights
def test_colours_are_not_swapped(backend: OpenCVFaces) -> None:
    """The recogniser takes RGB in [-1, 1]: the same numbers as its own definition gives in ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime")
    crop = np.random.default_rng(1).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    batch = ((crop.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
    session = runtime.InferenceSession(str(RECOGNISER), providers=["CPUExecutionProvider"])
    expected = session.run(None, {session.get_inputs()[0].name: batch})[0][0]
    assert np.abs(backend.identify(crop) - expected / np.linalg.norm(expected)).max() < 1e-4


def test_unit_refuses_what_is_no_direction() -> None:
    assert unit([[3.0, 4.0]], "r") == pytest.approx([0.6, 0.8])
    for vector in ([0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]):
        with pytest.raises(MissingModel, match="recogniser r"):
            unit(vector, "r")


# --- which face


def side_by_side(left: Image, right: Image) -> Image:
    return np.concatenate([left, right], axis=1)


@needs_weights
def test_two_faces_must_be_chosen_from(backend: OpenCVFaces, portraits: list[Image], identities: Floats) -> None:
    photo = side_by_side(portraits[3], portraits[1])
    with pytest.raises(SeveralFaces, match="2 faces") as caught:
        find_face(backend, photo)
    assert "1 (left) to 2 (right)" in caught.value.hint and "the largest" in caught.value.hint
    for choice, person in ((1, 3), (2, 1)):
        cosines = identities @ find_face(backend, photo, choice).identity
        assert cosines.argmax() == person and cosines[person] > 0.9
    for choice in (0, 3, -1):
        with pytest.raises(InvalidSettings, match="shows 2"):
            find_face(backend, photo, choice)


@needs_weights
def test_a_passer_by_is_no_rival(backend: OpenCVFaces, portraits: list[Image], identities: Floats) -> None:
    photo = side_by_side(np.zeros((512, 200, 3), np.uint8), portraits[0])
    photo[300:480, 10:190] = scaled(portraits[1], 180)
    assert len(backend.detect(photo)) == 2
    assert (identities @ find_face(backend, photo).identity).argmax() == 0


@needs_weights
def test_a_face_below_32_pixels_is_refused_with_its_size(backend: OpenCVFaces, portraits: list[Image]) -> None:
    with pytest.raises(NoFaceFound, match=r"is 1\d x 2\d pixels, expected at least 32"):
        find_face(backend, scaled(portraits[0], 32))


def boxed(left: float, top: float, right: float, bottom: float) -> Face:
    return Face(np.array([left, top, right, bottom], np.float32), TEMPLATE.astype(np.float32), 0.9)


def test_faces_are_numbered_from_the_left_and_small_ones_left_out() -> None:
    right, left, small = boxed(300, 0, 400, 100), boxed(0, 0, 60, 60), boxed(150, 0, 199, 50)
    assert numbered([right, left, small]) == (left, right)
    assert choose([right, left, small], 2) is right
    assert largest([left, right]) is right
    assert choose([right, small]) is right
    assert choose([small, left, right], "largest") is right
    with pytest.raises(NoFaceFound, match="at least 32"):
        choose([boxed(0, 0, 20, 20)], "largest")
    with pytest.raises(NoFaceFound):
        choose([], "largest")
    assert numbered([]) == ()
    with pytest.raises(NoFaceFound):
        largest([])
    with pytest.raises(NoFaceFound, match="100 x 31"):
        choose([boxed(0, 0, 100, 31)])
    assert choose([boxed(0, 0, 100, 32)], 1).box[3] == 32


def test_boxes_end_at_the_photos_edge() -> None:
    face = face_within(np.zeros((50, 80, 3), np.uint8), [-5, 3, 90, 70], np.arange(10), 1.2)
    assert face.box.tolist() == [0, 3, 80, 50]
    assert face.landmarks.tolist() == np.arange(10).reshape(5, 2).tolist()
    assert face.score == 1.0


# --- alignment


def landmark_sets() -> list[Floats]:
    """The template turned, scaled, shifted and disturbed; one of them nearly upside down."""
    random = np.random.default_rng(2)
    sets = []
    for angle in (0.0, 0.3, -0.8, 2.9):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = TEMPLATE @ turn.T * random.uniform(0.4, 5) + random.uniform(0, 300, 2)
        sets.append((points + random.normal(0, 2, (5, 2))).astype(np.float32))
    return sets


@pytest.mark.parametrize("landmarks", landmark_sets())
def test_alignment_is_the_least_squares_similarity(landmarks: Floats) -> None:
    x, y = landmarks.astype(np.float64).T
    one, zero = np.ones(5), np.zeros(5)
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, right, down = np.linalg.lstsq(rows, TEMPLATE.T.reshape(-1), rcond=None)[0]
    assert align_matrix(landmarks) == pytest.approx(np.array([[a, -b, right], [b, a, down]]), abs=1e-6)


def test_alignment_puts_landmarks_where_the_template_has_them() -> None:
    moved = TEMPLATE @ np.array([[0, 2.5], [-2.5, 0]]) + [400, 30]
    matrix = align_matrix(moved.astype(np.float32))
    assert moved @ matrix[:, :2].T + matrix[:, 2] == pytest.approx(TEMPLATE, abs=1e-3)


def test_alignment_refuses_landmarks_on_one_point() -> None:
    for landmarks in (np.ones((5, 2), np.float32), np.full((5, 2), np.nan, np.float32)):
        with pytest.raises(NoFaceFound, match="landmarks"):
            align_matrix(landmarks)


@pytest.mark.parametrize("landmarks", landmark_sets())
def test_alignment_equals_skimage(landmarks: Floats) -> None:
    transform = pytest.importorskip("skimage.transform").SimilarityTransform()
    transform.estimate(landmarks, TEMPLATE)
    assert align_matrix(landmarks) == pytest.approx(transform.params[:2], abs=1e-4)


@needs_weights
@needs_insightface
def test_alignment_equals_norm_crop(backend: OpenCVFaces, portraits: list[Image]) -> None:
    norm_crop = importlib.import_module("insightface.utils.face_align").norm_crop
    for image in portraits:
        landmarks = backend.detect(image)[0].landmarks
        difference = np.abs(align(image, landmarks).astype(int) - norm_crop(image, landmarks).astype(int))
        assert difference.max() <= 3 and difference.mean() < 0.01


# --- model files


@pytest.mark.parametrize("make", [OpenCVFaces, lambda d, r: InsightFaces(detector=d, recogniser=r)])
@needs_weights
def test_missing_and_damaged_models_are_named(make: Callable[[Path, Path], object], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    rubbish, empty = tmp_path / "rubbish.onnx", tmp_path / "empty.onnx"
    rubbish.write_bytes(b"<html>404 not found</html>" * 100)
    empty.write_bytes(b"")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(DETECTOR.read_bytes()[:100_000])
    for wrong in (tmp_path / "absent.onnx", rubbish, empty, cut, tmp_path):
        with pytest.raises(MissingModel) as caught:
            make(wrong, RECOGNISER)
        assert wrong.name in caught.value.message and str(wrong.parent) in caught.value.message
        assert caught.value.hint


@needs_weights
@pytest.mark.parametrize("content", [None, b"", b"rubbish" * 1000])
def test_missing_and_damaged_recognisers_are_named(content: bytes | None, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.onnx"
    if content is not None:
        wrong.write_bytes(content)
    with pytest.raises(MissingModel, match=r"wrong\.onnx") as caught:
        OpenCVFaces(DETECTOR, wrong)
    assert "recogniser" in caught.value.message and str(tmp_path) in caught.value.message


@needs_weights
def test_swapped_models_are_refused() -> None:
    with pytest.raises(MissingModel, match="cannot be used as face detector"):
        OpenCVFaces(RECOGNISER, RECOGNISER)


@needs_weights
def test_models_in_a_folder_with_accents(tmp_path: Path, portraits: list[Image], identities: Floats) -> None:
    folder = tmp_path / "Büro – 顔"
    folder.mkdir()
    shutil.copy(DETECTOR, folder / "a.onnx")
    shutil.copy(RECOGNISER, folder / "b.onnx")
    here = OpenCVFaces(folder / "a.onnx", folder / "b.onnx")
    assert find_face(here, portraits[2]).identity @ identities[2] > 0.999


def colour_sums(path: Path, offset: float) -> Path:
    """An ONNX file [n, 3, 112, 112] -> "fc1" [n, 3]: each channel's mean plus the offset."""
    from onnx import TensorProto, helper, numpy_helper, save

    shift = numpy_helper.from_array(np.array([offset], np.float32), "offset")
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Add", ["flat", "offset"], ["fc1"]),
    ]
    photo = helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])
    answer = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "sums", [photo], [answer], [shift])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@needs_weights
@needs_onnx
def test_sface_is_fed_as_sface_and_others_as_arcface(tmp_path: Path) -> None:
    """SFace's network takes RGB in [0, 255]; OpenCV's wrapper swaps the BGR that it is given."""
    crop = np.zeros((112, 112, 3), np.uint8)
    crop[..., 0], crop[..., 1], crop[..., 2] = 200, 100, 50
    named = OpenCVFaces(DETECTOR, colour_sums(tmp_path / "face_recognition_SFace.onnx", 1.0))
    assert named.identify(crop) == pytest.approx(unit([201, 101, 51], ""), abs=1e-4)
    plain = colour_sums(tmp_path / "plain.onnx", 2.0)
    arcface = unit(np.array([200, 100, 50]) / 127.5 + 1, "")
    assert OpenCVFaces(DETECTOR, plain).identify(crop) == pytest.approx(arcface, abs=1e-4)
    told = OpenCVFaces(DETECTOR, plain, normalisation="sface")
    assert told.identify(crop) == pytest.approx(unit([202, 102, 52], ""), abs=1e-4)


# --- insightface, the real one


@needs_weights
@needs_insightface
def test_insightface_sees_the_same_identity(portraits: list[Image], identities: Floats) -> None:
    insight = InsightFaces(detector=DETECTOR, recogniser=RECOGNISER)
    for image, identity in zip(portraits, identities, strict=True):
        assert find_face(insight, image).identity @ identity > 0.99


@needs_weights
@needs_insightface
def test_insightface_refuses_a_recogniser_as_detector_and_the_reverse() -> None:
    with pytest.raises(MissingModel, match="recognition, expected detection"):
        InsightFaces(detector=RECOGNISER, recogniser=RECOGNISER)
    with pytest.raises(MissingModel, match="cannot be used as face recogniser"):
        InsightFaces(detector=DETECTOR, recogniser=DETECTOR)


def scrfd_like(path: Path, side: int, landmarks: Floats) -> Path:
    """An ONNX file with SCRFD's nine outputs that finds one face, in the middle cell, in every picture.

    Args:
        path: Where to write it.
        side: Pixels of the square input.
        landmarks: [5, 2] what it answers, in pixels of the square.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    constants, outputs = [], []
    for number, (kind, columns) in enumerate((k, c) for k, c in (("s", 1), ("b", 4), ("k", 10)) for _ in "abc"):
        stride = (8, 16, 32)[number % 3]
        cells = side // stride
        values = np.zeros((cells * cells * 2, columns), np.float32)
        if stride == 8:
            cell = (cells // 2) * cells + cells // 2
            centre = np.array([cells // 2, cells // 2]) * 8
            one = {"s": [0.9], "b": [20.0] * 4, "k": ((landmarks - centre) / 8).reshape(-1)}[kind]
            values[cell * 2] = one
        constants.append(numpy_helper.from_array(values, f"{kind}{stride}_values"))
        outputs.append(helper.make_tensor_value_info(f"{kind}{stride}", TensorProto.FLOAT, values.shape))
    nodes = [helper.make_node("Identity", [f"{out.name}_values"], [out.name]) for out in outputs]
    photo = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, side, side])
    graph = helper.make_graph(nodes, "scrfd", [photo], outputs, constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@needs_weights
@needs_insightface
def test_insightface_runs_packs_and_its_own_detectors(
    tmp_path: Path, backend: OpenCVFaces, portraits: list[Image], identities: Floats
) -> None:
    landmarks = backend.detect(portraits[0])[0].landmarks
    folder = tmp_path / "pack" / "pack"
    folder.mkdir(parents=True)
    scrfd = scrfd_like(folder / "det.onnx", 640, landmarks * np.float32(640 / 512))
    shutil.copy(RECOGNISER, folder / "rec.onnx")
    single = InsightFaces(detector=scrfd, recogniser=RECOGNISER)
    for insight in (InsightFaces(tmp_path / "pack"), InsightFaces(str(folder)), single):
        found = find_face(insight, portraits[0])
        assert np.abs(found.face.landmarks - landmarks).max() < 0.5
        assert found.identity @ identities[0] > 0.98
    assert InsightFaces(tmp_path / "pack").name == "insightface:pack"
    (folder / "rec.onnx").unlink()
    with pytest.raises(MissingModel, match="no recognition model"):
        InsightFaces(folder)


# --- insightface, a stand-in: what can be tested without the package


class StandIn:
    """Takes the place of an insightface model.

    Attributes:
        seen: Shapes of the pictures that the detector was given.
    """

    def __init__(self, taskname: str, frames: bool = False, landmarks: bool = True) -> None:
        self.taskname = taskname
        self.model_file = f"{taskname}.onnx"
        self.seen: list[tuple[int, ...]] = []
        self.prepared: dict[str, Any] = {}
        self._frames = frames
        self._landmarks = landmarks

    def prepare(self, ctx_id: int, **options: Any) -> None:
        self.prepared = {"ctx_id": ctx_id, **options}

    def detect(self, image: Image, max_num: int = 0, metric: str = "default") -> tuple[Any, Any]:
        """One face, 40 pixels from the first bright pixel; only in a frame, where `frames` says so."""
        self.seen.append(image.shape)
        if self._frames and len(self.seen) == 1:
            return np.zeros((0, 5)), None
        top, left = (int(axis[0]) for axis in np.nonzero(image[..., 2])[:2])
        box = np.array([[left + 40, top + 40, left + 100, top + 120, 0.8]])
        return box, (TEMPLATE[None] + [left, top] if self._landmarks else None)

    def get_feat(self, bgr: Image) -> Floats:
        return np.asarray(bgr.reshape(-1, 3).mean(axis=0)[None], dtype=np.float32)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., InsightFaces]:
    """Makes an InsightFaces whose models are stand-ins, which come from a pack."""
    (tmp_path / "det.onnx").write_bytes(b"x")

    def make(**options: Any) -> InsightFaces:
        models = {"detection": StandIn("detection", **options), "recognition": StandIn("recognition")}

        def analysis(name: str, allowed_modules: list[str], providers: list[str]) -> SimpleNamespace:
            assert (allowed_modules, providers) == (["detection", "recognition"], ["CPUExecutionProvider"])
            return SimpleNamespace(models=models, prepare=models["detection"].prepare)

        monkeypatch.setitem(sys.modules, "insightface", SimpleNamespace())
        monkeypatch.setitem(sys.modules, "insightface.app", SimpleNamespace(FaceAnalysis=analysis))
        backend = InsightFaces(tmp_path)
        assert models["detection"].prepared == {"ctx_id": -1, "det_size": (640, 640)}
        return backend

    return make


def test_insight_gives_insightface_bgr(stand_in: Callable[..., InsightFaces]) -> None:
    crop = np.zeros((112, 112, 3), np.uint8)
    crop[..., 0] = 200
    assert stand_in().identify(crop) == pytest.approx([0, 0, 1])


def test_insight_looks_again_in_a_frame(stand_in: Callable[..., InsightFaces]) -> None:
    photo = np.full((200, 300, 3), 255, np.uint8)
    (plain,), (framed,) = stand_in().detect(photo), stand_in(frames=True).detect(photo)
    assert plain.box.tolist() == framed.box.tolist() == [40, 40, 100, 120]
    assert framed.landmarks == pytest.approx(TEMPLATE, abs=1e-3)
    assert framed.score == pytest.approx(0.8)


def test_insight_needs_landmarks(stand_in: Callable[..., InsightFaces]) -> None:
    with pytest.raises(MissingModel, match="without landmarks"):
        stand_in(landmarks=False).detect(np.full((200, 300, 3), 255, np.uint8))


def test_insight_takes_a_pack_or_two_files() -> None:
    for arguments in ({}, {"detector": DETECTOR}, {"folder_or_pack": "x", "recogniser": RECOGNISER}):
        with pytest.raises(InvalidSettings):
            InsightFaces(**arguments)


def test_insight_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    with pytest.raises(MissingModel, match="buffalo_l") as caught:
        InsightFaces("buffalo_l")
    assert str(tmp_path / ".insightface" / "models" / "buffalo_l") in caught.value.message
    with pytest.raises(MissingModel) as caught:
        InsightFaces(tmp_path / "elsewhere" / "buffalo_l")
    assert str(tmp_path / "elsewhere" / "buffalo_l") in caught.value.message


def test_a_missing_insightface_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "det.onnx").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "insightface", None)
    monkeypatch.setitem(sys.modules, "insightface.app", None)
    with pytest.raises(MissingPackage, match="insightface") as caught:
        InsightFaces(tmp_path)
    assert 'pip install "insightface>=0.7.3"' in caught.value.hint


def test_opencv_picture_and_matrix_fit_masks() -> None:
    """The matrix warps masks of the photo to where the crop has them."""
    mask = np.zeros((300, 300), np.uint8)
    mask[100:212, 50:162] = 255
    matrix = align_matrix((TEMPLATE + np.array([50, 100])).astype(np.float32))
    assert cv2.warpAffine(mask, matrix, (112, 112)).min() >= 250
