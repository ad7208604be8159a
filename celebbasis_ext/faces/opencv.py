"""Faces with OpenCV alone: YuNet finds them, an ArcFace-shaped network or SFace says whose they are.

OpenCV's networks keep their last picture, so that threads (a job's, a page's, a request's) take turns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from celebbasis_ext.errors import MissingModel
from celebbasis_ext.faces.align import CROP
from celebbasis_ext.faces.base import area, face_within, largest_first, unit
from celebbasis_ext.types import Face, Floats, Image

if TYPE_CHECKING:
    import cv2

DOUBTFUL: Final = 0.9
"""YuNet's confidence in sharp, upright faces is 0.93 and more, in ones that lie on their side at most 0.89."""

Normalisation = Literal["arcface", "sface"]
_Model = TypeVar("_Model")


class YuNet:
    """The YuNet detector, for faces from some ten pixels up to ones that fill the photo.

    Args:
        path: The ONNX file.
        min_side: Photos are enlarged until their longer side has so many pixels.
        max_side: Photos are shrunk until their longer side has no more pixels.
        min_score: Faces below this confidence, in [0, 1], are dropped.

    Raises:
        MissingModel: The file is missing, damaged, or no YuNet.
    """

    def __init__(self, path: Path, min_side: int = 320, max_side: int = 1024, min_score: float = 0.7) -> None:
        self._min_side = min_side
        self._max_side = max_side

        def load(*source: Any) -> cv2.FaceDetectorYN:
            import cv2

            create: Callable[..., cv2.FaceDetectorYN] = cv2.FaceDetectorYN.create
            return create(*source, (min_side, min_side), min_score)

        def use(detector: cv2.FaceDetectorYN) -> object:
            return detector.detect(np.zeros((min_side, min_side, 3), np.uint8))

        self._detector = _loaded(path, "detector", load, use)

    def detect(self, image: Image) -> tuple[Face, ...]:
        """Find all faces, the largest first.

        YuNet breaks faces of more than about 500 pixels into pieces, and its landmarks are coarse on tiny ones.
        So the photo is looked at in several sizes, each half the one before, and each face's best view is kept.

        Args:
            image: [h, w, 3] uint8, RGB.
        """
        bgr = np.ascontiguousarray(image[..., ::-1])
        found = [face for side in self._sides(max(image.shape[:2])) for face in self._look(bgr, side)]
        return largest_first(_without_doubles(found))

    def _sides(self, longer_side: int) -> list[int]:
        """The sizes, in pixels of the longer side, in which a photo is looked at; the smallest is `min_side`."""
        side = min(max(longer_side, self._min_side), self._max_side)
        sides = []
        while side > self._min_side:
            sides.append(side)
            side //= 2
        return [*sides, self._min_side]

    def _look(self, bgr: Image, side: int) -> list[Face]:
        """Find faces in the photo scaled so that its longer side has `side` pixels.

        Args:
            bgr: [h, w, 3] uint8, BGR.
            side: Pixels.

        Returns:
            Faces in pixels of `bgr`.
        """
        import cv2

        height, width = bgr.shape[:2]
        scale = side / max(height, width)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        self._detector.setInputSize(size)
        rows = self._detector.detect(cv2.resize(bgr, size, interpolation=method))[1]
        # OpenCV answers None where there is no face, whatever its type hints promise.
        found = np.zeros((0, 15)) if rows is None else np.asarray(rows, dtype=np.float64)
        back = np.array([width / size[0], height / size[1]])
        return [_from_row(bgr, row, back) for row in found]


class OpenCVFaces:
    """Face backend that needs OpenCV and two ONNX files.

    Args:
        detector: A YuNet file.
        recogniser: A network that takes [n, 3, 112, 112] and answers [n, I].
        normalisation: What the recogniser takes: "arcface" RGB in [-1, 1], "sface" OpenCV's SFace, which takes
            values in [0, 255] and prepares them itself. None decides by "sface" in the file's name.
        min_side: See `YuNet`.

    Attributes:
        name: "opencv:" and the two files' names.
        doubtful: See `FaceBackend`.

    Raises:
        MissingModel: A file is missing, damaged, or of another kind.
    """

    def __init__(
        self,
        detector: Path,
        recogniser: Path,
        normalisation: Normalisation | None = None,
        min_side: int = 320,
    ) -> None:
        self.name = f"opencv:{detector.stem}+{recogniser.stem}"
        self.doubtful = DOUBTFUL
        self._recogniser = recogniser.name
        self._detector = YuNet(detector, min_side)
        self._turn = threading.Lock()
        sface = "sface" in recogniser.name.lower() if normalisation is None else normalisation == "sface"
        self._embed = _loaded(recogniser, "recogniser", _sface if sface else _arcface, self._try)

    def detect(self, image: Image) -> tuple[Face, ...]:
        """Find all faces, the largest first; see `FaceBackend.detect`."""
        with self._turn:
            return self._detector.detect(image)

    def identify(self, crop: Image) -> Floats:
        """Say whose face it is; see `FaceBackend.identify`.

        Raises:
            MissingModel: The recogniser's answer is no direction.
        """
        with self._turn:
            return unit(self._embed(crop), self._recogniser)

    def _try(self, embed: Callable[[Image], Floats]) -> object:
        """Look at a grey crop once, so that a wrong file is known at once and not after a minute."""
        return unit(embed(np.full((CROP, CROP, 3), 64, np.uint8)), self._recogniser)


def _arcface(*source: Any) -> Callable[[Image], Floats]:
    """Load a recogniser that takes RGB in [-1, 1].

    Args:
        source: See `_source`.

    Returns:
        crop [112, 112, 3] RGB -> [1, I], not normalised.
    """
    import cv2

    network = cv2.dnn.readNetFromONNX(source[-2])

    def embed(crop: Image) -> Floats:
        network.setInput(cv2.dnn.blobFromImage(crop, 1 / 127.5, (CROP, CROP), (127.5, 127.5, 127.5)))
        return np.asarray(network.forward(), dtype=np.float32)

    return embed


def _sface(*source: Any) -> Callable[[Image], Floats]:
    """Load SFace, which wants BGR in [0, 255] at its door.

    Args:
        source: See `_source`.

    Returns:
        crop [112, 112, 3] RGB -> [1, I], not normalised.
    """
    import cv2

    recogniser = cv2.FaceRecognizerSF.create(*source)

    def embed(crop: Image) -> Floats:
        return np.asarray(recogniser.feature(np.ascontiguousarray(crop[..., ::-1])), dtype=np.float32)

    return embed


def _loaded(path: Path, role: str, load: Callable[..., _Model], use: Callable[[_Model], object]) -> _Model:
    """Load a model and use it once.

    Args:
        path: The ONNX file.
        role: "detector" or "recogniser", for the message.
        load: Makes a model of what `_source` gives.
        use: Runs the model once; OpenCV accepts some wrong files and fails at their first use.

    Raises:
        MissingModel: The file is missing, damaged, or of another kind.
    """
    import cv2

    source = _source(model_file(path, role))
    try:
        with _quiet():
            model = load(*source)
            use(model)
    except (cv2.error, SystemError, TypeError, ValueError) as error:
        raise damaged(path, role, error) from error
    return model


def _source(path: Path) -> tuple[str, str] | tuple[str, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """What OpenCV's factories take first: model and configuration, which ONNX does not have.

    OpenCV cannot open paths with accents on Windows, and before 4.9 it cannot take a file's content. So the
    content is handed over only where the path is not plain.

    Returns:
        The path and "", or the format, the content [bytes] and an empty array: the model stands last but one.
    """
    if str(path).isascii():
        return str(path), ""
    return "onnx", np.frombuffer(path.read_bytes(), np.uint8), np.zeros(0, np.uint8)


def model_file(path: Path, role: str) -> Path:
    """The path itself, where there is a file.

    Args:
        path: The model's file.
        role: "detector" or "recogniser", for the message.

    Raises:
        MissingModel: There is none, or it is empty.
    """
    if not path.is_file():
        raise MissingModel(
            f"The face {role} {path.name} is not in the folder {path.parent}.",
            "Put the file there, or choose another file in the settings.",
        )
    if path.stat().st_size == 0:
        raise damaged(path, role, "the file is empty")
    return path


def damaged(path: Path, role: str, reason: object) -> MissingModel:
    """The error for a file that is there and cannot be used."""
    lines = str(reason).strip().splitlines() or [type(reason).__name__]
    return MissingModel(
        f"{path.name} in the folder {path.parent} cannot be used as face {role}: {lines[0][:200]}",
        f"Download the file again, or choose another {role} in the settings.",
    )


def _from_row(bgr: Image, row: npt.NDArray[np.float64], back: npt.NDArray[np.float64]) -> Face:
    """Translate YuNet's row.

    Args:
        bgr: [h, w, 3] the photo.
        row: [15] left, top, width, height, five points, score; in pixels of the scaled photo.
        back: [2] the photo's pixels per pixel of the scaled photo, in x and y.
    """
    corner, extent, points = row[:2] * back, row[2:4] * back, row[4:14].reshape(5, 2) * back
    return face_within(bgr, np.concatenate([corner, corner + extent]), points, float(row[14]))


def _without_doubles(faces: Sequence[Face]) -> list[Face]:
    """Keep the surest of the faces that cover each other.

    Two cover each other where half of the smaller one lies in the larger one. That, not the overlap's share of
    both, because a face that is too large for YuNet shows up as small pieces of itself.
    """
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: face.score, reverse=True):
        if all(_covered(face, other) < 0.5 for other in kept):
            kept.append(face)
    return kept


def _covered(one: Face, other: Face) -> float:
    """Share of the smaller face's area, in [0, 1], that lies in the larger one."""
    left, top = np.maximum(one.box[:2], other.box[:2]).tolist()
    right, bottom = np.minimum(one.box[2:], other.box[2:]).tolist()
    common = max(right - left, 0.0) * max(bottom - top, 0.0)
    return float(common / max(min(area(one), area(other)), 1e-9))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence OpenCV's own log: OpenCV 5 warns at every load, and prints what is raised as an error anyway."""
    import cv2

    # OpenCV 4 has these two at the top, OpenCV 5 in a module of their own.
    log: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    before = log.setLogLevel(0)
    try:
        yield
    finally:
        log.setLogLevel(before)
