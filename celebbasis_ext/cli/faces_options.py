"""Which face models a command uses, as options that commands share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from celebbasis_ext.errors import InvalidSettings

if TYPE_CHECKING:
    from celebbasis_ext.faces.base import FaceBackend
    from celebbasis_ext.files.download import Transfer


def add_face_options(command: argparse.ArgumentParser) -> None:
    """The options that `faces_from` reads."""
    group = command.add_argument_group("face models")
    group.add_argument(
        "--faces",
        choices=("auto", "yunet-sface", "insightface", "miniature"),
        default="auto",
        help="yunet-sface may be used for anything; insightface's packs are for non-commercial research only; "
        "miniature is for drawn people (default: auto, which is yunet-sface unless --face-pack is given)",
    )
    group.add_argument(
        "--face-pack", metavar="PACK", help="a model pack of insightface, by name or folder, such as buffalo_l"
    )
    group.add_argument("--face-detector", type=Path, metavar="FILE", help="an ONNX file that detects as YuNet does")
    group.add_argument(
        "--face-recogniser", type=Path, metavar="FILE", help="an ONNX file of the ArcFace kind, or SFace's"
    )
    group.add_argument("--webui", type=Path, metavar="FOLDER", help="a WebUI, whose models/insightface is searched too")
    group.add_argument("--offline", action="store_true", help="fetch nothing; say which file is missing instead")


def faces_from(options: argparse.Namespace) -> FaceBackend:
    """The face models that were chosen; what has to be fetched is announced first.

    Raises:
        InvalidSettings: Only one of detector and recogniser was given.
        MissingModel, MissingPackage: See `faces.weights.default_faces`.
    """
    detector, recogniser = options.face_detector, options.face_recogniser
    if (detector is None) != (recogniser is None):
        raise InvalidSettings(
            "Only one of --face-detector and --face-recogniser was given, expected both or none.",
            "Name the other file.",
        )
    if detector is not None:
        from celebbasis_ext.faces.opencv import OpenCVFaces

        return OpenCVFaces(detector, recogniser)
    if options.faces == "miniature":
        from celebbasis_ext.miniature.workshop import Assets, open_faces

        return open_faces(Assets().checked())
    from celebbasis_ext.faces.weights import default_faces

    return default_faces(options.faces, TransferBar(), options.offline, options.face_pack, options.webui)


def face_choice(text: str) -> int | Literal["largest"]:
    """What `--face` takes: a number or "largest"; argparse names this function where it is neither."""
    return "largest" if text == "largest" else int(text)


class TransferBar:
    """Says what is fetched, how large it is, its licence, from where and to where; then draws one line over itself."""

    def __init__(self) -> None:
        self._announced: set[str] = set()

    def __call__(self, transfer: Transfer) -> None:
        file, done = transfer.file, transfer.done
        if transfer.url not in self._announced:
            self._announced.add(transfer.url)
            print(
                f"Fetching {file.name}: {file.size / 1e6:.1f} MB, licence {file.licence}\n"
                f"  from   {transfer.url}\n  to     {transfer.path}\n  sha256 {file.sha256}",
                file=sys.stderr,
            )
        if sys.stderr.isatty():
            filled = 30 * done // file.size
            end = "\n" if done == file.size else ""
            bar = "#" * filled + "-" * (30 - filled)
            print(f"\r[{bar}] {done / 1e6:.1f} of {file.size / 1e6:.1f} MB", end=end, file=sys.stderr, flush=True)
