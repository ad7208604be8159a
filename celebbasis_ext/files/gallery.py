"""A gallery on disk: a note that says what it is, and small shards of pictures that are only ever added.

    galleries/<fingerprint>/gallery.json
                            shots-<digest>.safetensors   identities [f, I], crops (a PNG strip), and who they are

A shard is whole or not there, and is named by what is in it: whoever is killed loses what was not yet written, and two
who draw the same gallery do not disturb each other. A damaged shard is removed, so that its pictures are drawn again.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from celebbasis_ext.errors import InvalidGallery
from celebbasis_ext.files.atomic import write_whole
from celebbasis_ext.types import Checkpoint, Floats, Gallery, Image, Shot

NOTE = "gallery.json"
CROP = 112
"""Pixels on each side of an aligned crop."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a gallery is to hold: picture i of every name, for i < images.

    Attributes:
        checkpoint: Who draws.
        tokens: Fingerprint of the names and their token embeddings.
        faces: Name of the face models.
        names: Whose pictures.
        images: Of each name.
        prompts: In turn; {} stands for the name.
        steps: Of the sampler.
    """

    checkpoint: Checkpoint
    tokens: str
    faces: str
    names: tuple[str, ...]
    images: int
    prompts: tuple[str, ...]
    steps: int

    @property
    def fingerprint(self) -> str:
        """16 hex digits over everything that decides what the pictures show."""
        return hashlib.sha256(json.dumps(_as_json(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def keys(self) -> tuple[tuple[str, str, int], ...]:
        """(name, prompt, seed) of every picture; a picture of a name is the same whoever else is in the list."""
        return tuple(
            (name, self.prompts[i % len(self.prompts)], _seed(name) + i)
            for name in self.names
            for i in range(self.images)
        )


def _seed(name: str) -> int:
    """31 bits, for noise of the name's own."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1


def _as_json(plan: Plan) -> dict[str, Any]:
    return {**vars(plan), "checkpoint": vars(plan.checkpoint)}


def gallery_folder(plan: Plan, galleries: Path) -> Path:
    return galleries / plan.fingerprint


def write_plan(plan: Plan, galleries: Path) -> Path:
    """Makes a gallery's folder with its note, if need be; raises CannotWrite."""
    folder = gallery_folder(plan, galleries)
    if not (folder / NOTE).exists():
        write_whole(folder / NOTE, json.dumps(_as_json(plan), indent=1).encode())
    return folder


def read_plan(folder: Path) -> Plan:
    """The note in a gallery's folder.

    Raises:
        InvalidGallery: There is none, or it cannot be read.
    """
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        checkpoint = Checkpoint(**note.pop("checkpoint"))
        plan = Plan(checkpoint, names=tuple(note.pop("names")), prompts=tuple(note.pop("prompts")), **note)
        if plan.fingerprint != folder.name:
            raise ValueError(f"it describes the gallery {plan.fingerprint}")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidGallery(
            f"There is no gallery in {folder} ({error}).", "Draw the checkpoint's gallery first."
        ) from error
    return plan


def plans_in(galleries: Path) -> tuple[Plan, ...]:
    """The galleries in a folder, the one that was begun last first; what cannot be read is left out."""
    notes = sorted(galleries.glob(f"*/{NOTE}"), key=lambda note: note.stat().st_mtime, reverse=True)
    found = []
    for note in notes:
        try:
            found.append(read_plan(note.parent))
        except InvalidGallery:
            continue
    return tuple(found)


def read_gallery(folder: Path) -> Gallery:
    """What has been drawn of a gallery so far, in the plan's order.

    Raises:
        InvalidGallery: See `read_plan`.
    """
    plan = read_plan(folder)
    stored = {(shot.name, shot.prompt, shot.seed): shot for shot in read_shots(folder)}
    shots = tuple(stored[key] for key in plan.keys if key in stored)
    return Gallery(shots, plan.fingerprint, plan.faces)


def add_shots(folder: Path, shots: Sequence[Shot]) -> Path:
    """Writes a shard; raises CannotWrite."""
    from safetensors.numpy import save

    digest = hashlib.sha256(repr([(s.name, s.prompt, s.seed) for s in shots]).encode()).hexdigest()[:16]
    identities = [shot.identity for shot in shots if shot.identity is not None]
    tensors = {
        "identities": np.stack(identities).astype(np.float32) if identities else np.zeros((0, 0), np.float32),
        "crops": _as_png([shot.crop for shot in shots if shot.crop is not None]),
        "found": np.array([shot.crop is not None for shot in shots], np.uint8),
        "faces": np.array([shot.faces for shot in shots], np.int32),
        "quality": np.array([shot.quality for shot in shots], np.float32),
        "seeds": np.array([shot.seed for shot in shots], np.int64),
    }
    words = {key: json.dumps([getattr(shot, key) for shot in shots]) for key in ("name", "prompt")}
    path = folder / f"shots-{digest}.safetensors"
    write_whole(path, save(tensors, words))
    return path


def read_shots(folder: Path) -> Iterator[Shot]:
    """All that is in a folder's shards, in no particular order; a damaged shard is removed, with a word to the log."""
    for path in sorted(folder.glob("shots-*.safetensors")):
        try:
            shots = _read_shard(path)
        except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
            _log.warning("%s is damaged (%s); its pictures will be drawn again.", path, error)
            path.unlink(missing_ok=True)
            continue
        yield from shots


def _read_shard(path: Path) -> tuple[Shot, ...]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
            words = {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return tuple(_shots(tensors, words))


def _shots(tensors: Mapping[str, Any], words: Mapping[str, Any]) -> Iterator[Shot]:
    found = tensors["found"].astype(bool)
    if len(tensors["identities"]) != found.sum() or not np.isfinite(tensors["identities"]).all():
        raise ValueError("identity vectors are missing")
    faces: Iterator[tuple[Image, Floats]] = zip(
        _from_png(tensors["crops"], int(found.sum())), tensors["identities"], strict=True
    )
    columns = (words["name"], words["prompt"], tensors["seeds"], tensors["faces"], found, tensors["quality"])
    for name, prompt, seed, count, seen, quality in zip(*columns, strict=True):
        crop, identity = next(faces) if seen else (None, None)
        yield Shot(str(name), str(prompt), int(seed), int(count), crop, identity, float(quality))


def _as_png(crops: Sequence[Image]) -> Any:
    """[bytes] the crops side by side in one picture; nothing where there are none."""
    from PIL import Image as Pillow

    if not crops:
        return np.zeros(0, np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(np.concatenate(crops, axis=1)).save(buffer, "PNG")
    return np.frombuffer(buffer.getvalue(), np.uint8)


def _from_png(content: Any, count: int) -> list[Image]:
    """The crops again; raises ValueError or OSError where they are not all there."""
    from PIL import Image as Pillow

    if not count:
        return []
    with Pillow.open(io.BytesIO(content.tobytes()), formats=("PNG",)) as picture:
        if picture.size != (CROP * count, CROP):
            raise ValueError(f"{count} crops expected, got a picture of {picture.size}")
        strip = np.asarray(picture.convert("RGB"), np.uint8)
    return [np.ascontiguousarray(strip[:, CROP * i : CROP * (i + 1)]) for i in range(count)]
