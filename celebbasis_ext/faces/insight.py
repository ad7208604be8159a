"""Faces with the optional package insightface (0.7.3, 1.x, 2.x): a whole model pack, or two single ONNX files.

This is the only module that names insightface. Nothing is ever downloaded from here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from celebbasis_ext.errors import InvalidSettings, MissingModel, MissingPackage
from celebbasis_ext.faces.align import CROP
from celebbasis_ext.faces.base import face_within, largest_first, unit
from celebbasis_ext.faces.opencv import YuNet, damaged, model_file
from celebbasis_ext.types import Face, Floats, Image

DOUBTFUL: Final = 0.6
"""Of SCRFD, which reports faces from 0.5 on."""

Detect = Callable[[Image], tuple[Face, ...]]


class InsightFaces:
    """Face backend of insightface.

    Args:
        folder_or_pack: A folder with a pack's ONNX files, or the name of a pack, such as "buffalo_l", which is
            looked for in ~/.insightface/models.
        detector: Instead of a pack: an ONNX file of the SCRFD or RetinaFace kind, or a YuNet.
        recogniser: Instead of a pack: an ONNX file of the ArcFace kind.
        providers: ONNX Runtime's execution providers. The processor does: a photo takes less than a second, and
            the graphics card's memory is left to the training.
        det_size: Width and height in pixels of the square in which the detector looks at a photo.

    Attributes:
        name: "insightface:" and the pack's or the two files' names.
        doubtful: See `FaceBackend`; SCRFD's confidence in good faces is lower than YuNet's, and was not measured.

    Raises:
        MissingPackage: insightface or ONNX Runtime is not installed.
        MissingModel: A file or folder is missing, damaged, or of another kind.
        InvalidSettings: Neither a pack nor two files are named, or both are.
    """

    def __init__(
        self,
        folder_or_pack: Path | str | None = None,
        *,
        detector: Path | None = None,
        recogniser: Path | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        det_size: tuple[int, int] = (640, 640),
    ) -> None:
        self.doubtful = DOUBTFUL
        if folder_or_pack is not None and detector is None and recogniser is None:
            folder = _pack_folder(folder_or_pack)
            models = _pack_models(folder, providers, det_size)
            self.name = f"insightface:{folder.name}"
            self._detect: Detect = _Scrfd(models["detection"], folder).detect
            self._recogniser = models["recognition"]
        elif folder_or_pack is None and detector is not None and recogniser is not None:
            self.name = f"insightface:{detector.stem}+{recogniser.stem}"
            self._detect = _detector(detector, providers, det_size)
            self._recogniser = _single(recogniser, "recogniser", "recognition", providers, (CROP, CROP))
        else:
            raise InvalidSettings(
                "Expected either a model pack or two files, a detector and a recogniser.",
                "Choose the one or the other in the settings.",
            )
        self._try()

    def detect(self, image: Image) -> tuple[Face, ...]:
        """Find all faces, the largest first; see `FaceBackend.detect`."""
        return self._detect(image)

    def identify(self, crop: Image) -> Floats:
        """Say whose face it is; see `FaceBackend.identify`.

        Raises:
            MissingModel: The recogniser's answer is no direction.
        """
        return unit(self._recogniser.get_feat(np.ascontiguousarray(crop[..., ::-1])), self.name)

    def _try(self) -> None:
        """Look at a grey crop once, so that a wrong file is known at once and not after a minute."""
        try:
            self.identify(np.full((CROP, CROP, 3), 64, np.uint8))
        except Exception as error:
            if isinstance(error, MissingModel):
                raise
            raise damaged(Path(str(self._recogniser.model_file)), "recogniser", error) from error


class _Scrfd:
    """insightface's own detectors, made to find faces that fill the photo as well.

    Args:
        model: insightface's detection model, prepared.
        path: Where it comes from, for messages.
    """

    def __init__(self, model: Any, path: Path) -> None:
        self._model = model
        self._path = path

    def detect(self, image: Image) -> tuple[Face, ...]:
        """Find all faces, the largest first.

        A face larger than about three quarters of the photo is often missed. So where nothing is found the
        photo is looked at once more, in a black frame that makes the face smaller.

        Args:
            image: [h, w, 3] uint8, RGB.

        Raises:
            MissingModel: The detector gives no landmarks.
        """
        return self._look(image, 0) or self._look(image, max(image.shape[:2]) // 2)

    def _look(self, image: Image, frame: int) -> tuple[Face, ...]:
        """Find faces in the photo with a frame of so many pixels on each side; in pixels of the photo itself."""
        framed = np.pad(image[..., ::-1], ((frame, frame), (frame, frame), (0, 0)))
        boxes, landmarks = self._model.detect(framed, max_num=0, metric="default")
        if len(boxes) == 0:
            return ()
        if landmarks is None:
            raise damaged(self._path, "detector", "it gives boxes without landmarks, expected five landmarks")
        pairs = zip(boxes, landmarks, strict=True)
        return largest_first(
            [face_within(image, box[:4] - frame, points - frame, float(box[4])) for box, points in pairs]
        )


def _package(name: str) -> Any:
    """Import a module of insightface or ONNX Runtime.

    Raises:
        MissingPackage: It is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackage(
            f"The package {name.partition('.')[0]} cannot be imported: {error}",
            'Install it with: pip install "insightface>=0.7.3" onnxruntime, or choose the OpenCV backend.',
        ) from error


def _pack_folder(folder_or_pack: Path | str) -> Path:
    """The folder that holds a pack's ONNX files.

    The zip files of some packs, such as antelopev2, unpack into a folder of the same name within the folder.

    Raises:
        MissingModel: There is no such folder, or no ONNX file in it.
    """
    given = Path(folder_or_pack).expanduser()
    is_name = given.name == str(given) and not given.is_dir()
    folder = Path.home() / ".insightface" / "models" / given if is_name else given
    for candidate in (folder, folder / folder.name):
        if any(candidate.glob("*.onnx")):
            return candidate.resolve()
    raise MissingModel(
        f"The model pack {given.name} is not in the folder {folder}: no .onnx file was found there.",
        "Unpack the pack there, or choose another one in the settings.",
    )


def _pack_models(folder: Path, providers: Sequence[str], det_size: tuple[int, int]) -> dict[str, Any]:
    """Load a pack's detector and recogniser, and no other of its models.

    Args:
        folder: Absolute. All versions of insightface take it for a pack's name and find it present.
        providers: ONNX Runtime's execution providers.
        det_size: Pixels.

    Returns:
        insightface's models under "detection" and "recognition".

    Raises:
        MissingPackage: insightface is not installed.
        MissingModel: One of the two is missing, or a file is damaged.
    """
    tasks = ["detection", "recognition"]
    analysis = _package("insightface.app").FaceAnalysis
    try:
        pack = analysis(name=str(folder), allowed_modules=tasks, providers=list(providers))
        pack.prepare(ctx_id=_ctx_id(providers), det_size=det_size)
    except Exception as error:  # ONNX Runtime's errors share no base, and insightface asserts.
        raise damaged(folder, "model pack", error) from error
    if "recognition" not in pack.models:
        raise damaged(folder, "model pack", "it has no recognition model")
    return dict(pack.models)


def _detector(path: Path, providers: Sequence[str], det_size: tuple[int, int]) -> Detect:
    """Load a single detector; a YuNet, which insightface cannot run, with OpenCV.

    Raises:
        MissingPackage: insightface is not installed.
        MissingModel: The file is missing, damaged, or no detector.
    """
    if _is_yunet(path):
        return YuNet(path).detect
    return _Scrfd(_single(path, "detector", "detection", providers, det_size), path).detect


def _is_yunet(path: Path) -> bool:
    """Whether the file's outputs are named as YuNet's.

    Raises:
        MissingPackage: ONNX Runtime is not installed.
        MissingModel: The file is missing or damaged.
    """
    runtime = _package("onnxruntime")
    content = model_file(path, "detector").read_bytes()
    try:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base.
        raise damaged(path, "detector", error) from error
    return "obj_8" in {output.name for output in session.get_outputs()}


def _single(path: Path, role: str, task: str, providers: Sequence[str], size: tuple[int, int]) -> Any:
    """Load one ONNX file.

    Args:
        path: The file.
        role: "detector" or "recogniser", for messages.
        task: What insightface must take it for: "detection" or "recognition".
        providers: ONNX Runtime's execution providers.
        size: Width and height in pixels of what the model looks at.

    Raises:
        MissingPackage: insightface is not installed.
        MissingModel: The file is missing, damaged, or of another kind.
    """
    zoo = _package("insightface.model_zoo")
    file = str(model_file(path, role).resolve())
    try:
        model = zoo.get_model(file, providers=list(providers))
        found = getattr(model, "taskname", None)
        if found == task:
            model.prepare(_ctx_id(providers), input_size=size)
            return model
    except Exception as error:  # ONNX Runtime's errors share no base, and insightface asserts.
        raise damaged(path, role, error) from error
    raise damaged(path, role, f"insightface takes it for {found or 'nothing it knows'}, expected {task}")


def _ctx_id(providers: Sequence[str]) -> int:
    """insightface's number of the device; a negative one would undo the choice of any other provider."""
    return -1 if list(providers) == ["CPUExecutionProvider"] else 0
