"""`celebbasis faces`: what is found in photos, how good it is, and how `--face` counts."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.command import add_command
from celebbasis_ext.cli.faces_options import add_face_options, faces_from
from celebbasis_ext.errors import InvalidSettings, NoFaceFound, SeveralFaces

if TYPE_CHECKING:
    from celebbasis_ext.faces.base import FaceBackend
    from celebbasis_ext.faces.quality import Quality
    from celebbasis_ext.types import Face, Image, PhotoWarning


def add(commands: Any) -> None:
    faces = add_command(
        commands, "faces", "number the faces in photos and measure how good they are",
        "PHOTO [PHOTO ...]", "celebbasis faces party.jpg --out party.faces.png",
    )  # fmt: skip
    faces.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="any picture file, one or more")
    faces.add_argument(
        "--out", type=Path, metavar="FILE.png", help="draw a sheet of the numbered faces; for one photo only"
    )
    faces.add_argument("--json", action="store_true", help="print the figures for programs, as JSON")
    faces.add_argument(
        "--resolution", type=int, default=512, metavar="PX",
        help="picture size of the checkpoint that will learn the face, in pixels; smaller faces are good enough for a "
        "smaller one (default: %(default)s)",
    )  # fmt: skip
    faces.set_defaults(command=_faces)
    add_face_options(faces)


@dataclass(frozen=True)
class FoundFace:
    """A numbered face of a photo."""

    number: int
    face: Face
    crop: Image
    quality: Quality
    warnings: tuple[PhotoWarning, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "box": [round(v, 1) for v in self.face.box.tolist()],
            "quality": {name: round(value, 4) for name, value in dataclasses.asdict(self.quality).items()},
            "warnings": [dataclasses.asdict(warning) for warning in self.warnings],
        }


def _faces(options: argparse.Namespace) -> int:
    from celebbasis_ext.files.photo import read_photo

    if options.out and len(options.photos) > 1:
        raise InvalidSettings(
            f"--out names one file for {len(options.photos)} photos.", "Give one photo, or leave --out away."
        )
    photos = [read_photo(path) for path in options.photos]
    backend = faces_from(options)
    found = [backend.detect(photo) for photo in photos]
    numbered = [
        _numbered(backend, photo, faces, options.resolution) for photo, faces in zip(photos, found, strict=True)
    ]
    if options.json:
        files = [str(path) for path in options.photos]
        print(json.dumps([_as_json(*row) for row in zip(files, found, numbered, strict=True)], indent=2))
    else:
        for path, faces, row in zip(options.photos, found, numbered, strict=True):
            _show(path, len(faces) - len(row), row)
    if options.out:
        _draw(options.out, options.photos[0].name, photos[0], found[0], numbered[0])
        if not options.json:
            print(options.out)
    _refuse_none(options.photos, numbered)
    return 0


def _numbered(backend: FaceBackend, photo: Image, faces: Sequence[Face], resolution: int) -> tuple[FoundFace, ...]:
    from celebbasis_ext.faces.base import aligned, numbered
    from celebbasis_ext.faces.quality import measure, photo_warnings

    rows = []
    for number, face in enumerate(numbered(faces), start=1):
        whole = aligned(backend, photo, face)
        quality = measure(whole, resolution)
        warnings = photo_warnings(quality, resolution, backend.doubtful)
        rows.append(FoundFace(number, face, whole.crop, quality, warnings))
    return tuple(rows)


def _as_json(photo: str, faces: Sequence[Face], numbered: Sequence[FoundFace]) -> dict[str, Any]:
    return {
        "photo": photo,
        "faces": [row.as_json() for row in numbered],
        "too_small_to_be_meant": len(faces) - len(numbered),
    }


def _show(path: Path, passers_by: int, numbered: Sequence[FoundFace]) -> None:
    count = f"{len(numbered)} face{'s' * (len(numbered) != 1)}"
    more = f", and {passers_by} too small to be meant" if passers_by else ""
    print(f"{path}: {count}{more}")
    for row in numbered:
        quality = row.quality
        print(
            f"  {row.number}: {quality.size:.0f} pixels high, brightness {quality.brightness:.0f}, "
            f"sharpness {quality.sharpness:.2f}, turned {quality.yaw:.0f}, tilted {quality.tilt:.0f} degrees, "
            f"confidence {quality.score:.2f}"
        )
        for warning in row.warnings:
            print(f"     {warning.sentence}")


def _draw(out: Path, name: str, photo: Image, faces: Sequence[Face], numbered: Sequence[FoundFace]) -> None:
    from celebbasis_ext.cli.pictures import write_picture
    from celebbasis_ext.evaluate.face_sheet import FaceNote, face_sheet

    notes = [
        FaceNote(
            f"{row.quality.size:.0f} px high, {', '.join(warning.kind for warning in row.warnings) or 'good'}", row.crop
        )
        for row in numbered
    ]
    write_picture(face_sheet(photo, faces, name, notes), out)


def _refuse_none(paths: Sequence[Path], numbered: Sequence[Sequence[FoundFace]]) -> None:
    """Raises NoFaceFound where a photo shows nobody, after everything else was shown."""
    empty = [str(path) for path, row in zip(paths, numbered, strict=True) if not row]
    if empty:
        raise NoFaceFound(
            f"No face was found in {', '.join(empty)}.",
            "Choose a sharp, well-lit photo in which the face is large and seen from the front.",
        )


@contextmanager
def numbering(backend: FaceBackend, paths: Sequence[Path], photos: Sequence[Image], out: Path) -> Iterator[None]:
    """Where somebody has to choose from several faces, sheets that number them are written, and the hint names them."""
    try:
        yield
    except SeveralFaces as error:
        try:
            sheets = list(_write_sheets(backend, paths, photos, out))
        except InvalidSettings:  # A folder that cannot be written to is the smaller trouble.
            raise error from None
        hint = f"Choose with --face N or --face largest; the numbers are in {', '.join(sheets)}."
        raise SeveralFaces(error.message, hint) from error


def _write_sheets(backend: FaceBackend, paths: Sequence[Path], photos: Sequence[Image], out: Path) -> Iterator[str]:
    from celebbasis_ext.cli.pictures import write_picture
    from celebbasis_ext.evaluate.face_sheet import face_sheet
    from celebbasis_ext.faces.base import numbered

    for path, photo in zip(paths, photos, strict=True):
        faces = backend.detect(photo)
        if len(numbered(faces)) > 1:
            sheet = out / f"{path.stem}.faces.png"
            write_picture(face_sheet(photo, faces, path.name), sheet)
            yield str(sheet)
