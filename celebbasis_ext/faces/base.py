"""What a face backend must do, and how the one face of a photo is chosen.

photo [h, w, 3] -> backend.detect -> find_face chooses and aligns -> backend.identify -> AlignedFace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from celebbasis_ext.errors import InvalidSettings, MissingModel, NoFaceFound, SeveralFaces
from celebbasis_ext.faces.align import align
from celebbasis_ext.types import AlignedFace, Face, FaceChoice, Floats, Image

MIN_FACE = 32
"""Pixels; a smaller face is mostly interpolation once it is enlarged to 112 pixels."""

COMPARABLE = 0.25
"""Share of the largest face's area from which on another face is a rival and not a passer-by."""

_BETTER_PHOTO = "Choose a sharp, well-lit photo in which the face is large and seen from the front."


class FaceBackend(Protocol):
    """Finds faces and says whose they are.

    Attributes:
        name: The library and the models, such as "opencv:yunet+mobilefacenet". Identity vectors can be compared
            only where they come from the same recogniser.
        doubtful: The detector's confidence below which a face may be none, or lie on its side.
    """

    name: str
    doubtful: float

    def detect(self, image: Image) -> tuple[Face, ...]:
        """Find all faces, the largest first.

        Args:
            image: [h, w, 3] uint8, RGB.

        Returns:
            The faces, in pixels of `image`; empty where there is none.
        """
        ...

    def identify(self, crop: Image) -> Floats:
        """Say whose face it is.

        Args:
            crop: [112, 112, 3] uint8, RGB, aligned as by `align.align`.

        Returns:
            [I] identity vector of length 1; the cosine of two is their dot product.
        """
        ...


def face_within(image: Image, box: npt.ArrayLike, landmarks: npt.ArrayLike, score: float) -> Face:
    """Build a Face whose box ends where the photo ends.

    Detectors report boxes that reach beyond the edge; a negative coordinate would be a wrong slice later on.

    Args:
        image: [h, w, 3] the photo.
        box: [4] left, top, right, bottom in pixels.
        landmarks: [5, 2] or [10] x and y in pixels, in the order that `Face` names.
        score: The detector's confidence; it is held within [0, 1].
    """
    height, width = image.shape[:2]
    corners = np.clip(np.asarray(box, dtype=np.float32), 0, np.array([width, height, width, height]))
    points = np.asarray(landmarks, dtype=np.float32).reshape(5, 2)
    return Face(corners.astype(np.float32), points, float(np.clip(score, 0.0, 1.0)))


def area(face: Face) -> float:
    """Area of the face's box in square pixels."""
    left, top, right, bottom = face.box.tolist()
    return float(max(right - left, 0.0) * max(bottom - top, 0.0))


def largest_first(faces: Sequence[Face]) -> tuple[Face, ...]:
    """The faces by falling area."""
    return tuple(sorted(faces, key=area, reverse=True))


def largest(faces: Sequence[Face]) -> Face:
    """The face with the largest box.

    Raises:
        NoFaceFound: There is none.
    """
    if not faces:
        raise NoFaceFound("No face was found in the photo.", _BETTER_PHOTO)
    return max(faces, key=area)


def numbered(faces: Sequence[Face]) -> tuple[Face, ...]:
    """The faces that a person may choose from, from left to right: number 1 is the first.

    Passers-by, whose area is less than a quarter of the largest face's, are left out.
    """
    if not faces:
        return ()
    smallest = COMPARABLE * area(largest(faces))
    comparable = [face for face in faces if area(face) >= smallest]
    return tuple(sorted(comparable, key=lambda face: float(face.box[0])))


def choose(faces: Sequence[Face], choice: FaceChoice = None) -> Face:
    """The one face that is meant.

    Args:
        faces: All faces of the photo.
        choice: Its number as in `numbered`, from 1, or "largest"; None where the photo is expected to show one.

    Raises:
        NoFaceFound: There is no face, or the one that is meant is narrower than 32 pixels.
        SeveralFaces: There is more than one of comparable size, and none was chosen.
        InvalidSettings: There is no face of that number.
    """
    candidates = numbered(faces)
    if not candidates or choice == "largest":
        return _large_enough(largest(faces))
    count = len(candidates)
    if choice is None and count > 1:
        raise SeveralFaces(
            f"The photo shows {count} faces of similar size and none was chosen.",
            f"Choose one by its number, from 1 (left) to {count} (right), or the largest, or crop the photo to one.",
        )
    number = 1 if choice is None else choice
    if not 1 <= number <= count:
        raise InvalidSettings(
            f"Face number {number} was chosen, but the photo shows {count}.",
            f"Choose a number from 1 (left) to {count} (right).",
        )
    return _large_enough(candidates[number - 1])


def find_face(backend: FaceBackend, image: Image, choice: FaceChoice = None) -> AlignedFace:
    """Find the one face of a photo, align it, and say whose it is.

    Args:
        backend: Detector and recogniser.
        image: [h, w, 3] uint8, RGB.
        choice: Which face, counted from the left from 1, or "largest"; None where the photo shows one.

    Returns:
        The aligned crop [112, 112, 3], the identity vector [I], and where the face is in `image`.

    Raises:
        NoFaceFound: There is no face, or it is narrower than 32 pixels.
        SeveralFaces: There is more than one of comparable size, and none was chosen.
        InvalidSettings: There is no face of that number.
    """
    return aligned(backend, image, choose(backend.detect(image), choice))


def aligned(backend: FaceBackend, image: Image, face: Face) -> AlignedFace:
    """Align a face that was found, and say whose it is.

    Raises:
        NoFaceFound: Its landmarks lie all on one point.
    """
    crop = align(image, face.landmarks)
    return AlignedFace(crop, backend.identify(crop), face)


def identities_in(backend: FaceBackend, images: Sequence[Image]) -> list[Floats]:
    """The identity vector of the largest face of every picture that shows one."""
    found = [(image, backend.detect(image)) for image in images]
    return [aligned(backend, image, largest(faces)).identity for image, faces in found if faces]


def unit(vector: npt.ArrayLike, recogniser: str) -> Floats:
    """Scale a recogniser's answer to length 1.

    Args:
        vector: [I] or [1, I].
        recogniser: The model's name, for the message.

    Returns:
        [I] float32 of length 1.

    Raises:
        MissingModel: The answer is no direction: all zero, or not finite.
    """
    values = np.asarray(vector, dtype=np.float64).reshape(-1)
    length = float(np.linalg.norm(values))
    if not np.isfinite(length) or length == 0.0:
        raise MissingModel(
            f"The recogniser {recogniser} answered with a vector of length {length}, expected a positive number.",
            "Download the file again, or choose another recogniser.",
        )
    return np.asarray(values / length, dtype=np.float32)


def _large_enough(face: Face) -> Face:
    """The face itself, where its shorter side has 32 pixels.

    Raises:
        NoFaceFound: It is smaller.
    """
    left, top, right, bottom = face.box.tolist()
    width, height = right - left, bottom - top
    if min(width, height) < MIN_FACE:
        raise NoFaceFound(
            f"The face is {width:.0f} x {height:.0f} pixels, expected at least {MIN_FACE} on both sides.",
            "Choose a photo in which the face is larger.",
        )
    return face
