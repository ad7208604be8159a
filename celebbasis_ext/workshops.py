"""Where host, faces, describer and names come together: a workshop for any checkpoint, or for the miniature."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from celebbasis_ext.encoder_job import with_encoder
from celebbasis_ext.errors import InvalidSettings, MissingModel, MissingPackage
from celebbasis_ext.faces.weights import default_faces
from celebbasis_ext.files.checkpoint import recognise
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.memory import out_of_memory_explained
from celebbasis_ext.names import load_names

if TYPE_CHECKING:
    from celebbasis_ext.describe import Describer
    from celebbasis_ext.faces.base import FaceBackend
    from celebbasis_ext.hosts.standalone_load import Placement

_LESS_MEMORY = "Close other programs, or choose the precision bf16 or another device."


@dataclass(frozen=True)
class Equipment:
    """What a workshop is opened with.

    Attributes:
        checkpoint: A file or a folder; None for the miniature.
        placement: Where and how it runs; None for the CPU in fp32.
        describer: None takes the miniature's tagger there, and elsewhere CLIP if open_clip is installed.
        names: A list of celebrities, one on each line; None for the shipped one, or the miniature's own.
    """

    checkpoint: Path | None = None
    placement: Placement | None = None
    describer: Literal["tagger", "clip", "none"] | None = None
    names: Path | None = None


def open_workshop(
    embeddings_dir: Path,
    equipment: Equipment,
    faces: Callable[[], FaceBackend] | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Workshop:
    """Loads all that a job needs.

    Args:
        embeddings_dir: Where embedding files go.
        equipment: What to open.
        faces: Opens detector and recogniser; None for `default_faces`. The miniature's drawn people have their own.
        say: Told what takes long, and what was chosen for the user.

    Raises:
        UnsupportedCheckpoint, InvalidSettings, MissingModel, MissingPackage, OutOfMemory: Whatever cannot be had.
    """
    if equipment.checkpoint is None:
        return with_encoder(_miniature(embeddings_dir, equipment))
    found_faces = (faces or default_faces)()
    describer = _describer(equipment, say)
    from celebbasis_ext.hosts.standalone import StandaloneHost

    say(f"Reading {equipment.checkpoint} ...")
    with out_of_memory_explained(_LESS_MEMORY):
        host = StandaloneHost.load(equipment.checkpoint, embeddings_dir, equipment.placement)
    about = host.checkpoint
    say(f"{about.name}: {about.family}, {about.prediction_type}, {about.resolution} px, {host.where}")
    return with_encoder(Workshop(host, found_faces, describer, _names(equipment.checkpoint, equipment.names)))


def _miniature(embeddings_dir: Path, equipment: Equipment) -> Workshop:
    from celebbasis_ext.miniature.workshop import open_workshop as open_miniature

    workshop = open_miniature(embeddings_dir, placement=_reproducible(equipment.placement))
    if equipment.names is not None:
        workshop = dataclasses.replace(workshop, names=_listed(equipment.names))
    if equipment.describer in (None, "tagger"):
        return workshop
    return dataclasses.replace(workshop, describer=_describer(equipment, lambda _: None))


def _names(checkpoint: Path, listed: Path | None) -> tuple[str, ...]:
    """The shipped celebrities; the miniature's own for a copy of it, or for another that was trained like it."""
    if listed is not None:
        return _listed(listed)
    if recognise(checkpoint).config != "miniature":
        return load_names()
    from celebbasis_ext.miniature.people import celebrities

    return tuple(person.name for person in celebrities())


def _listed(path: Path) -> tuple[str, ...]:
    try:
        return load_names(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"The list of names {path} cannot be read ({error}).", "Check the path.") from error


def _reproducible(placement: Placement | None) -> Placement | None:
    """The miniature is quick enough for the CPU, where a seed gives the same numbers on every computer."""
    if placement is None:
        return None
    device = "cpu" if placement.device == "auto" else placement.device
    precision = "fp32" if placement.precision == "auto" else placement.precision
    return dataclasses.replace(placement, device=device, precision=precision)


def _describer(equipment: Equipment, say: Callable[[str], object]) -> Describer:
    if equipment.describer == "tagger":
        from celebbasis_ext.miniature.tagger import Tagger
        from celebbasis_ext.miniature.workshop import Assets

        return Tagger(Assets().checked().tagger)
    from celebbasis_ext.describe import NoWords

    if equipment.describer == "none":
        return NoWords()
    from celebbasis_ext.describe_clip import OpenClipDescriber

    try:
        return OpenClipDescriber()
    except (MissingPackage, MissingModel) as error:
        if equipment.describer == "clip":
            raise
        say(f"Nobody looks at what else is in the photo; say it in words of your own. ({error.message})")
        return NoWords()
