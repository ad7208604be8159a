"""Which detector and recogniser to use, where people have them already, and from where they come otherwise.

YuNet and SFace may be used for anything (MIT, Apache-2.0), so they are the default and can be fetched. The model packs
of insightface, such as buffalo_l, are for non-commercial research only: they are used where somebody names them and
has them, and never fetched from here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from celebbasis_ext.errors import MissingModel
from celebbasis_ext.faces.base import FaceBackend
from celebbasis_ext.files.download import Progress, RemoteFile, fetch
from celebbasis_ext.files.folders import models_dir

FacesChoice = Literal["auto", "yunet-sface", "insightface"]

PACK: Final = "buffalo_l"
"""insightface's own default."""

_ZOO: Final = (
    "https://github.com/opencv/opencv_zoo/raw/966be4cb6eefc2a4f586ed0581bf4bbaa2533070/models/",
    "https://huggingface.co/opencv/opencv_zoo/resolve/main/models/",
)
"""OpenCV's own collection, in the two places where OpenCV keeps it."""

YUNET: Final = RemoteFile(
    "face_detection_yunet_2023mar.onnx",
    tuple(f"{zoo}face_detection_yunet/face_detection_yunet_2023mar.onnx" for zoo in _ZOO),
    232_589,
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    "MIT",
)
SFACE: Final = RemoteFile(
    "face_recognition_sface_2021dec.onnx",
    tuple(f"{zoo}face_recognition_sface/face_recognition_sface_2021dec.onnx" for zoo in _ZOO),
    38_696_353,
    "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
    "Apache-2.0",
)


def default_faces(
    choice: FacesChoice = "auto",
    progress: Progress = lambda transfer: None,
    offline: bool = False,
    pack: str | None = None,
    webui: Path | None = None,
) -> FaceBackend:
    """Open the face models that somebody chose, or YuNet and SFace.

    Args:
        choice: "auto" is insightface where a pack is named, else YuNet and SFace.
        progress: Told what is fetched, from where, under which licence, before and while it is.
        offline: Fetch nothing.
        pack: A model pack of insightface: its name, or its folder.
        webui: The folder of a WebUI, whose `models/insightface` is looked into as well; else $CELEBBASIS_WEBUI.

    Raises:
        MissingModel: The models are not on this computer and cannot be fetched, or are damaged.
        MissingPackage: insightface was chosen and is not installed.
    """
    shelves = _shelves(webui)
    if choice == "insightface" or (choice == "auto" and pack is not None):
        from celebbasis_ext.faces.insight import InsightFaces

        return InsightFaces(find_pack(pack or PACK, shelves))

    from celebbasis_ext.faces.opencv import OpenCVFaces

    detector, recogniser = (_found_or_fetched(file, shelves, progress, offline) for file in (YUNET, SFACE))
    return OpenCVFaces(detector, recogniser)


def missing_files(webui: Path | None = None) -> tuple[RemoteFile, ...]:
    """What `default_faces` would have to fetch."""
    return tuple(file for file in (YUNET, SFACE) if _found(file, _shelves(webui)) is None)


def _shelves(webui: Path | None) -> tuple[Path, ...]:
    """Folders in which face models may lie: our own, a WebUI's, and insightface's."""
    root = webui or (Path(named) if (named := os.environ.get("CELEBBASIS_WEBUI")) else None)
    hosts = () if root is None else (root / "models" / "insightface", root / "models" / "insightface" / "models")
    return (models_dir(), *hosts, Path.home() / ".insightface" / "models")


def find_pack(pack: str, shelves: Sequence[Path]) -> Path:
    """The folder of a model pack.

    Args:
        pack: Its name, looked for on the shelves, or its folder.
        shelves: Folders of packs.

    Raises:
        MissingModel: It is nowhere.
    """
    given = Path(pack).expanduser()
    candidates = [given] if given.is_dir() else [shelf / pack for shelf in shelves]
    for candidate in candidates:
        if any(candidate.glob("*.onnx")) or any((candidate / candidate.name).glob("*.onnx")):
            return candidate
    raise MissingModel(
        f"insightface's model pack {pack} is in none of the folders {', '.join(map(str, candidates))}.",
        f"Unpack it in {candidates[-1]} (for non-commercial research only), or choose YuNet and SFace.",
    )


def _found_or_fetched(file: RemoteFile, shelves: Sequence[Path], progress: Progress, offline: bool) -> Path:
    return _found(file, shelves) or fetch(file, models_dir(), progress, offline)


def _found(file: RemoteFile, shelves: Sequence[Path]) -> Path | None:
    paths = (shelf / file.name for shelf in shelves)
    return next((path for path in paths if path.is_file() and path.stat().st_size == file.size), None)
