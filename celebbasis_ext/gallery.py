"""The checkpoint shows its celebrities: pictures are drawn for every name, and the faces in them are kept.

names -> prompts, seeds -> host.generate -> faces found -> shards on disk -> Gallery. Long work that may end at any
moment: what is stored is not drawn again.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from celebbasis_ext.basis import basis_fingerprint
from celebbasis_ext.errors import CheckpointChanged, InvalidGallery, InvalidSettings, NoFaceFound, UnsupportedCheckpoint
from celebbasis_ext.faces.base import FaceBackend, aligned, largest, numbered
from celebbasis_ext.faces.quality import measure, overall
from celebbasis_ext.files.checksum import cached_sha256
from celebbasis_ext.files.folders import cache_dir
from celebbasis_ext.files.gallery import (
    Plan,
    add_shots,
    gallery_folder,
    plans_in,
    read_gallery,
    read_shots,
    write_plan,
)
from celebbasis_ext.jobs import Workshop, usable_names
from celebbasis_ext.memory import out_of_memory_explained
from celebbasis_ext.name_filter import filter_names
from celebbasis_ext.types import Checkpoint, Drawn, Gallery, Gathered, Image, Shot

PROMPTS = (
    "a photo of {}", "a portrait of {}, smiling", "a photo of {} at the beach", "a close-up photo of {}",
)  # fmt: skip
"""Whoever is one person in all of these is known. The words are such that every checkpoint knows them."""
IMAGES = 4
STEPS = 10
"""Of the sampler: as many as a face needs to be somebody; the lab's pictures have no more."""
BATCH = 8
"""Pictures that are drawn and stored together; a stop loses no more than these."""


def galleries_dir() -> Path:
    return cache_dir() / "galleries"


def latest_gallery(checkpoint: Path, galleries: Path | None = None) -> Path:
    """The folder of the gallery that was begun last of a checkpoint, a file or a folder.

    Raises:
        InvalidGallery: There is none.
        UnsupportedCheckpoint: There is no such checkpoint.
    """
    if not checkpoint.exists():
        raise UnsupportedCheckpoint(f"There is no checkpoint {checkpoint}.", "Check the path.")
    home = galleries or galleries_dir()
    sha256 = "" if checkpoint.is_dir() else cached_sha256(checkpoint)
    for plan in plans_in(home):
        if plan.checkpoint.sha256 == sha256 and (sha256 or plan.checkpoint.name == checkpoint.name):
            return gallery_folder(plan, home)
    raise InvalidGallery(f"Nothing was drawn with {checkpoint.name} yet.", "Draw its gallery first.")


def with_known_names(workshop: Workshop, gallery: Gallery) -> Workshop:
    """The workshop with those names alone that the checkpoint knows: its basis is made of them."""
    return dataclasses.replace(workshop, names=filter_names(gallery).kept)


def drawable_names(workshop: Workshop) -> tuple[str, ...]:
    """The names that a basis can be made of."""
    return tuple(name.name for name in usable_names(workshop).usable)


def stored_pictures(plan: Plan, folder: Path | None = None) -> int:
    """About how many pictures of a gallery have been drawn: the last of a run's batches may be a small one."""
    shards = gallery_folder(plan, folder or galleries_dir()).glob("shots-*.safetensors")
    return min(BATCH * sum(1 for _ in shards), len(plan.keys))


def plan_of(workshop: Workshop, names: Sequence[str], images: int = IMAGES, steps: int = STEPS) -> Plan:
    """What is to be drawn.

    Raises:
        InvalidSettings: That would be nothing.
    """
    if not names or images < 1 or steps < 1:
        raise InvalidSettings(
            f"Expected at least one name, one picture of each and one step, got {len(names)}, {images} and {steps}.",
            "Ask for more.",
        )
    host = workshop.host
    tables = host.token_tables()
    ids = [token for name in names for token in host.tokenize(name)]
    tokens = basis_fingerprint(names, {encoder: table[ids] for encoder, table in tables.items()})
    return Plan(host.checkpoint, tokens, workshop.faces.name, tuple(names), images, PROMPTS, steps)


def gather(
    workshop: Workshop, names: Sequence[str], images: int = IMAGES, folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False, steps: int = STEPS, rest: Callable[[], Workshop] | None = None,
) -> Iterator[Drawn | Gathered]:  # fmt: skip
    """Draws what is missing of a gallery; yields a `Drawn` for every batch, and `Gathered` at the end.

    Where `stop` turns true, or the iteration is closed, or the process is killed, the pictures of all earlier batches
    are stored.

    Args:
        workshop: Whose host draws and whose face models look.
        names: Whose pictures.
        images: Of each name.
        folder: Where galleries are kept, each under its fingerprint; None for the cache.
        stop: Asked before every batch.
        steps: Of the sampler.
        rest: Called between two batches, so that somebody else may use the host; returns the workshop anew.

    Raises:
        CheckpointChanged: After a rest another checkpoint is loaded.
        InvalidSettings, CannotWrite, OutOfMemory: See there.
    """
    plan = plan_of(workshop, names, images, steps)
    here = write_plan(plan, folder or galleries_dir())
    stored = {(shot.name, shot.prompt, shot.seed) for shot in read_shots(here)}
    missing = [key for key in plan.keys if key not in stored]
    total, started = len(plan.keys), time.perf_counter()
    for at in range(0, len(missing), BATCH):
        if at and rest:
            workshop = same_checkpoint(plan.checkpoint, rest())
        if stop():
            break
        shots = _shots(workshop, missing[at : at + BATCH], steps)
        if not shots:
            break  # the host was interrupted
        add_shots(here, shots)
        done = at + len(shots)
        left = (time.perf_counter() - started) / done * (len(missing) - done)
        yield Drawn(shots, total - len(missing) + done, total, left)
    gallery = read_gallery(here)
    yield Gathered(gallery, here, finished=len(gallery.shots) == total)


def same_checkpoint(before: Checkpoint, workshop: Workshop) -> Workshop:
    """The workshop as it is after a rest.

    Raises:
        CheckpointChanged: Another checkpoint is loaded now.
    """
    now = workshop.host.checkpoint
    if now != before:
        raise CheckpointChanged(
            f"The checkpoint was switched under way: the gallery is {before.name}'s, now {now.name} is loaded.",
            f"Select {before.name} again and start once more: what was drawn is kept.",
        )
    return workshop


def _shots(workshop: Workshop, keys: Sequence[tuple[str, str, int]], steps: int) -> tuple[Shot, ...]:
    """Draws pictures and looks at them; fewer than asked for where the host was interrupted."""
    prompts = [prompt.replace("{}", name) for name, prompt, _ in keys]
    with out_of_memory_explained("Close other programs, or draw at a lower resolution."):
        pictures = workshop.host.generate(prompts, [seed for *_, seed in keys], steps=steps)
    resolution = workshop.host.checkpoint.resolution
    return tuple(
        look_at(workshop.faces, picture, Shot(*key, 0, None, None, 0.0), resolution)
        for key, picture in zip(keys, pictures, strict=False)
    )


def look_at(backend: FaceBackend, picture: Image, shot: Shot, resolution: int) -> Shot:
    """The shot with what is seen in its picture [h, w, 3]; as it is where no face is seen."""
    faces = backend.detect(picture)
    if not faces:
        return shot
    try:
        found = aligned(backend, picture, largest(faces))
    except NoFaceFound:  # its landmarks lie all on one point
        return shot
    quality = overall(measure(found, resolution), resolution, backend.doubtful)
    return dataclasses.replace(
        shot, faces=len(numbered(faces)), crop=found.crop, identity=found.identity, quality=quality
    )
