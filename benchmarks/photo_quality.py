"""How bad may a photo be? Good portraits are made worse step by step, until the recogniser loses the person.

The limits of `celebbasis_ext/faces/quality.py` stand on these figures. Every portrait is compared with itself: a cosine
of 1 is the untouched photo, that of two strangers is printed first. Heads are turned by the plain relief of a face.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from celebbasis_ext.errors import NoFaceFound
from celebbasis_ext.faces.base import FaceBackend, find_face
from celebbasis_ext.faces.opencv import OpenCVFaces
from celebbasis_ext.faces.quality import FACE_IN_SQUARE, measure, photo_warnings
from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.files.photo import read_photo
from celebbasis_ext.miniature.portraits import draw_portraits
from celebbasis_ext.miniature.workshop import Assets, open_faces
from celebbasis_ext.types import AlignedFace, Face, Floats, Image

RESULT = Path(__file__).resolve().parent / "results" / "photo_quality.json"
RESOLUTION = 512
DRAWN_RESOLUTION = 96
Change = Callable[[Image, Face, float], Image]


@dataclass(frozen=True)
class Sweep:
    """One way of making photos worse.

    Attributes:
        unit: Of the values.
        values: How much.
        change: photo, its face, value -> a worse photo.
        quality: The field of `Quality` that should tell.
    """

    unit: str
    values: tuple[float, ...]
    change: Change
    quality: str


def height(face: Face) -> float:
    return float(face.box[3] - face.box[1])


def blurred(photo: Image, face: Face, share: float) -> Image:
    return np.asarray(cv2.GaussianBlur(photo, (0, 0), share * height(face)), np.uint8)


def exposed(photo: Image, face: Face, factor: float) -> Image:
    return np.clip(photo * np.float32(factor), 0, 255).astype(np.uint8)


def shrunk(photo: Image, face: Face, pixels: float) -> Image:
    side = pixels / height(face)
    size = round(photo.shape[1] * side), round(photo.shape[0] * side)
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def tilted(photo: Image, face: Face, degrees: float) -> Image:
    """A little smaller, so that the face stays in the photo."""
    rows, columns = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), -degrees, 0.7)
    return np.asarray(cv2.warpAffine(photo, matrix, (columns, rows), borderValue=(127.0, 127.0, 127.0)), np.uint8)


def turned(photo: Image, face: Face, degrees: float) -> Image:
    """The head turned to the picture's right, seen from far away: what stands out moves aside.

    Where a point of the new picture came from depends on the relief there, so it is found by iteration.
    """
    relief, centre = relief_of(photo.shape[:2], face)
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]].astype(np.float32)
    angle, source = np.radians(degrees), x
    for _ in range(60):
        depth = cv2.remap(relief, source, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        target = centre + (x - centre - depth * np.sin(angle)) / np.cos(angle)
        source = (0.7 * source + 0.3 * target).astype(np.float32)
    return np.asarray(cv2.remap(photo, source, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.uint8)


def relief_of(shape: tuple[int, int], face: Face) -> tuple[Floats, float]:
    """[h, w] pixels in front of the head's axis, and the axis' x: half an egg with a nose."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    left, right, nose = face.landmarks[:3]
    eyes = float(np.hypot(*(right - left)))
    centre = float(left[0] + right[0]) / 2
    middle = float(face.box[1] + face.box[3]) / 2
    inside = 1 - ((x - centre) / (1.25 * eyes)) ** 2 - ((y - middle) / (1.75 * eyes)) ** 2
    bump = np.exp(-(((x - nose[0]) / (0.22 * eyes)) ** 2) - ((y - nose[1]) / (0.35 * eyes)) ** 2)
    return (1.15 * eyes * np.sqrt(np.clip(inside, 0, 1)) + 0.38 * eyes * bump).astype(np.float32), centre


SWEEPS = {
    "blurred": Sweep("sigma, in heights of the face", (0.005, 0.01, 0.015, 0.02, 0.03, 0.04), blurred, "sharpness"),
    "darker": Sweep("factor", (0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07), exposed, "brightness"),
    "overexposed": Sweep("factor", (1.15, 1.3, 1.45, 1.6, 2.0, 2.5, 3.0), exposed, "overexposed"),
    "smaller": Sweep("height of the face in pixels", (233, 160, 116, 96, 80, 64, 56, 48), shrunk, "size"),
    "turned": Sweep("degrees", (-50, -40, -30, -20, -10, 10, 20, 30, 40, 50), turned, "yaw"),
    "tilted": Sweep("degrees", (10, 20, 25, 30, 35, 40, 60, 75, 90, 180), tilted, "tilt"),
}


def run(sweep: Sweep, backend: FaceBackend, photos: Sequence[Image], found: Sequence[AlignedFace]) -> dict[str, Any]:
    rows = [row(sweep, value, backend, photos, found) for value in sweep.values]
    return {"unit": sweep.unit, "measured": sweep.quality, "rows": rows}


def row(
    sweep: Sweep, value: float, backend: FaceBackend, photos: Sequence[Image], found: Sequence[AlignedFace]
) -> dict[str, Any]:
    cosines, measured, scores, warned = [], [], [], Counter[str]()
    for photo, known in zip(photos, found, strict=True):
        try:
            face = find_face(backend, sweep.change(photo, known.face, value), "largest")
        except NoFaceFound:
            continue
        quality = measure(face, RESOLUTION)
        cosines.append(float(face.identity @ known.identity))
        measured.append(float(getattr(quality, sweep.quality)))
        scores.append(quality.score)
        warned.update(warning.kind for warning in photo_warnings(quality, RESOLUTION, backend.doubtful))
    return {
        "value": value, "faces_found": len(cosines), "cosine": spread(cosines), "measured": spread(measured),
        "detector_score": spread(scores), "warned": dict(sorted(warned.items())),
    }  # fmt: skip


def spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {name: round(float(of(values)), 4) for name, of in (("lowest", min), ("mean", np.mean), ("highest", max))}


def detail_left(photos: Sequence[Image], found: Sequence[AlignedFace], sizes: Sequence[float]) -> dict[str, float]:
    """{height of the face: share of the fine detail that a training square shows once it is enlarged}; mean.

    Fine detail is the variance of the Laplacian, beside that of a face that is as large as the square shows it.
    """
    full = RESOLUTION * FACE_IN_SQUARE
    shares: dict[str, list[float]] = {f"{size:.0f}": [] for size in sizes if size <= full}
    for photo, known in zip(photos, found, strict=True):
        best = shrunk(photo, known.face, full)
        for size in shares:
            small = shrunk(photo, known.face, float(size))
            again = cv2.resize(small, best.shape[1::-1], interpolation=cv2.INTER_CUBIC)
            shares[size].append(float(cv2.Laplacian(again, cv2.CV_32F).var() / cv2.Laplacian(best, cv2.CV_32F).var()))
    return {size: round(float(np.mean(values)), 3) for size, values in shares.items()}


def drawn_people(people: int) -> dict[str, Any]:
    """How often drawn people, whom nobody can photograph again, are warned of."""
    backend, portraits = open_faces(Assets()), draw_portraits(people, seed=3).images
    warned: Counter[str] = Counter()
    for portrait in portraits:
        quality = measure(find_face(backend, portrait), DRAWN_RESOLUTION)
        warned.update(warning.kind for warning in photo_warnings(quality, DRAWN_RESOLUTION, backend.doubtful))
    return {"portraits": len(portraits), "warned": dict(warned)}


def report_of(backend: OpenCVFaces, photos: Sequence[Image]) -> dict[str, Any]:
    found = [find_face(backend, photo) for photo in photos]
    identities = np.stack([one.identity for one in found])
    strangers = (identities @ identities.T)[~np.eye(len(found), dtype=bool)]
    untouched = Sweep("none", (0,), lambda photo, face, value: photo, "sharpness")
    return {
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        "faces": backend.name,
        "photos": len(photos),
        "cosine_of_strangers": spread(strangers.tolist()),
        "untouched": run(untouched, backend, photos, found),
        "detail_left_by_size": detail_left(photos, found, SWEEPS["smaller"].values),
        "drawn_people": drawn_people(100),
        **{name: run(sweep, backend, photos, found) for name, sweep in SWEEPS.items()},
    }


def show(report: dict[str, Any]) -> None:
    print(
        f"{report['photos']} photos, {report['faces']}; cosine of strangers {report['cosine_of_strangers']['mean']:.2f}"
    )
    print(f"drawn people: {report['drawn_people']}; detail left by size: {report['detail_left_by_size']}")
    for name in ("untouched", *SWEEPS):
        print(f"{name} ({report[name]['unit']}):")
        for line in report[name]["rows"]:
            cosine, measured = line["cosine"].get("mean", 0), line["measured"].get("mean", 0)
            print(
                f"  {line['value']:7.3f}  found {line['faces_found']}  cosine {cosine:.3f}  "
                f"{report[name]['measured']} {measured:.3f}  score {line['detector_score'].get('mean', 0):.2f}  "
                f"warned {line['warned']}"
            )


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("photos", nargs="+", type=Path, help="good portraits, one person each")
    options.add_argument("--face-detector", type=Path, required=True, help="an ONNX file of the YuNet kind")
    options.add_argument("--face-recogniser", type=Path, required=True, help="an ONNX file of the ArcFace kind")
    options.add_argument("--out", type=Path, default=RESULT)
    chosen = options.parse_args()
    report = report_of(
        OpenCVFaces(chosen.face_detector, chosen.face_recogniser), [read_photo(path) for path in chosen.photos]
    )
    show(report)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(chosen.out) as unfinished:
        unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
