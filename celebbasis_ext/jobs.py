"""Photos in, embedding files out: validate -> prepare -> train -> save -> publish, and the clean-up in between.

Every door (command line, tab, API) calls `train_people` and shows its events.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celebbasis_ext.basis import cached_basis
from celebbasis_ext.crop import head_mask, square_around
from celebbasis_ext.describe import Describer
from celebbasis_ext.encoder import check_encoder
from celebbasis_ext.errors import (
    CheckpointChanged,
    InvalidName,
    InvalidSettings,
    NoFaceFound,
    SeveralFaces,
    WrongEncoder,
)
from celebbasis_ext.faces.base import FaceBackend, find_face
from celebbasis_ext.faces.quality import measure, overall, photo_warnings
from celebbasis_ext.files.atomic import write_whole
from celebbasis_ext.files.embedding import load_embedding, save_embedding
from celebbasis_ext.files.folders import cache_dir
from celebbasis_ext.files.lora import check_free as check_lora_free
from celebbasis_ext.files.torch_file import legacy_torch_bytes
from celebbasis_ext.judge import PromptJudge
from celebbasis_ext.memory import out_of_memory_explained
from celebbasis_ext.names import NameReport, select_names
from celebbasis_ext.person import check_new_name, save_person
from celebbasis_ext.types import (
    CelebBasis,
    Encoder,
    Event,
    FaceChoice,
    Floats,
    Image,
    LoraConfig,
    Prepared,
    Saved,
    Scores,
    Subject,
    TrainConfig,
)

if TYPE_CHECKING:
    from celebbasis_ext.hosts.base import Host

RESUME_SUFFIX = ".resume"
LESS_MEMORY = "Close other programs, or train with a smaller batch or a lower resolution."


@dataclass(frozen=True)
class Workshop:
    """All that a job works with.

    Attributes:
        host: Who has the checkpoint.
        faces: Detector and recogniser.
        describer: Says what is in a photo beside the person.
        names: The celebrities to build the basis from.
        judge: Says whether pictures show what was asked for; None where nobody here can.
        encoder: The checkpoint's, where one was learned.
    """

    host: Host
    faces: FaceBackend
    describer: Describer
    names: tuple[str, ...]
    judge: PromptJudge | None = None
    encoder: Encoder | None = None


@dataclass(frozen=True)
class Order:
    """What somebody asks for: photos, and whom each of them shows.

    Attributes:
        photos: [h, w, 3] uint8 RGB.
        names: Trigger words, one for each photo. Photos of one name are of one person.
        config: How to train.
        face: Which face, counted from the left from 1, or the largest, where photos show several.
        descriptions: What to say about each photo instead of asking the describer; None asks.
        overwrite: Replace existing embeddings of these names.
        resume: Go on with an interrupted run of these names.
        also_pt: Write the old format of embeddings beside the new one.
        faces: As `face`, one for each photo; used in its place where given.
        lora: Learn a LoRA for each person too, and how; see `lora_job.learn_people`.
    """

    photos: tuple[Image, ...]
    names: tuple[str, ...]
    config: TrainConfig = TrainConfig()
    face: FaceChoice = None
    descriptions: tuple[tuple[str, ...] | None, ...] = ()
    overwrite: bool = False
    resume: bool = False
    also_pt: bool = False
    faces: tuple[FaceChoice, ...] = ()
    lora: LoraConfig | None = None

    @property
    def people(self) -> tuple[str, ...]:
        """The trigger words, each once."""
        return tuple(dict.fromkeys(self.names))

    @property
    def chosen_faces(self) -> tuple[FaceChoice, ...]:
        """One for each photo."""
        return self.faces or (self.face,) * len(self.photos)


def usable_names(workshop: Workshop) -> NameReport:
    """Which celebrity names the host's tokenizer and text encoder can use, and why the rest is not."""
    host = workshop.host
    known = {id_ for table in host.token_tables().values() for id_ in np.flatnonzero(table.any(axis=1)).tolist()}
    return select_names(workshop.names, host.tokenize, describe_token=host.describe_token, known_tokens=known)


def basis_of(workshop: Workshop, cache: Path | None = None) -> CelebBasis:
    """The loaded checkpoint's celeb basis; built once, then read from the cache."""
    usable = usable_names(workshop).usable
    ids = [list(name.token_ids) for name in usable]
    embeddings = {encoder: table[ids] for encoder, table in workshop.host.token_tables().items()}
    return cached_basis([name.name for name in usable], embeddings, cache or cache_dir() / "bases")


def encoder_of(workshop: Workshop, basis: CelebBasis) -> Encoder:
    """The encoder that was learned for the loaded checkpoint.

    Raises:
        WrongEncoder: There is none, or it belongs to another checkpoint, basis or face models.
    """
    if workshop.encoder is None:
        raise WrongEncoder(
            f"No encoder was learned yet for {workshop.host.checkpoint.name} and {workshop.faces.name}.",
            "Let the checkpoint learn from its celebrities once, or train without.",
        )
    check_encoder(workshop.encoder, basis, workshop.host.checkpoint, workshop.faces.name)
    return workshop.encoder


def prepare(workshop: Workshop, order: Order) -> tuple[Subject, ...]:
    """Finds the faces, cuts the squares and asks what else is in the photos.

    Raises:
        NoFaceFound, SeveralFaces, InvalidName, NameTaken, InvalidSettings: See there.
    """
    validate(workshop, order)
    given = order.descriptions or (None,) * len(order.photos)
    photos = []
    for photo, name, face, description in zip(order.photos, order.names, order.chosen_faces, given, strict=True):
        with _about(name):
            photos.append(prepare_photo(workshop, photo, name, face, description))
    return tuple(one_person([photo for photo in photos if photo.name == name]) for name in order.people)


def one_person(photos: Sequence[Subject]) -> Subject:
    """Several photos of somebody as one subject: the best photo first, and whose face it is from all of them."""
    if len(photos) == 1:
        return photos[0]
    best, *others = sorted(photos, key=lambda photo: photo.quality, reverse=True)
    weights = np.array([[max(photo.quality, 1e-3)] for photo in photos], np.float32)
    mean = (weights * np.stack([photo.identity for photo in photos])).sum(axis=0)
    identity = np.asarray(mean / np.linalg.norm(mean), np.float32)
    return dataclasses.replace(best, identity=identity, more=tuple(others))


def validate(workshop: Workshop, order: Order) -> None:
    """That every photo has a name, and every name is free.

    Raises:
        InvalidSettings, InvalidName, NameTaken: See there.
    """
    if not order.photos or len(order.photos) != len(order.names):
        raise InvalidSettings(
            f"Got {len(order.photos)} photos and {len(order.names)} names; every photo needs one.",
            "Give as many names as photos; photos of the same person have the same name.",
        )
    if len({name.lower() for name in order.people}) < len(order.people):
        raise InvalidName(
            f"The names {', '.join(order.people)} differ in capitals alone.",
            "Write a person's name the same for all photos, and give everybody a name of their own.",
        )
    for name in order.people:
        check_new_name(workshop.host, name, order.overwrite)


def check_order(workshop: Workshop, order: Order) -> None:
    """That an order can be carried out, for whoever gives it to wait in a line.

    Raises:
        NoFaceFound, SeveralFaces, InvalidName, NameTaken, InvalidSettings: See `validate` and `find_face`; names are
            also taken by LoRAs where some are to be learned.
        WrongEncoder: Training is to start from an encoder, and this checkpoint has none.
    """
    validate(workshop, order)
    if order.config.start == "encoder":
        encoder_of(workshop, basis_of(workshop))
    for name in order.people if order.lora else ():
        check_lora_free(workshop.host.lora_dir, name, order.overwrite)
    for photo, name, face in zip(order.photos, order.names, order.chosen_faces, strict=True):
        with _about(name):
            find_face(workshop.faces, photo, face)


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Of several photos, says which one has no face."""
    try:
        yield
    except (NoFaceFound, SeveralFaces) as error:
        raise type(error)(f"{name}: {error.message}", error.hint) from error


def prepare_photo(
    workshop: Workshop, photo: Image, name: str, face: FaceChoice = None, description: tuple[str, ...] | None = None
) -> Subject:
    """Finds the face, cuts the square, and asks what else is in the photo unless that was said.

    Raises:
        NoFaceFound, SeveralFaces, InvalidSettings: See `find_face`.
    """
    found = find_face(workshop.faces, photo, face)
    size = workshop.host.checkpoint.resolution
    seen = measure(found, size)
    warnings = photo_warnings(seen, size, workshop.faces.doubtful)
    quality = overall(seen, size, workshop.faces.doubtful)
    square, moved = square_around(photo, found.face, size)
    if description is None:
        description = workshop.describer.describe(square, moved)
    return Subject(name, square, head_mask(moved, size), found.identity, description, found.crop, warnings, quality)


def train_people(workshop: Workshop, order: Order, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """Runs an order; yields `Prepared`, a `StepDone` for every step, and `Saved`.

    Where `stop` turns true, or the iteration is closed, what was learned so far is saved, with a resume file beside.

    Raises:
        CheckpointChanged: If another checkpoint was loaded under way; what was learned so far is saved all the same.
        CelebBasisError: Whatever is wrong with photo, name, settings or checkpoint; nothing is written then.
    """
    from celebbasis_ext.train import Training

    subjects = prepare(workshop, order)
    basis = basis_of(workshop)
    encoder = encoder_of(workshop, basis) if order.config.start == "encoder" else None
    resume_path = _resume_path(workshop, order)
    state = _read_state(resume_path, order, basis) if order.resume else None
    yield Prepared(subjects)
    with out_of_memory_explained(LESS_MEMORY), workshop.host.training() as denoiser:
        training = Training(denoiser, basis, subjects, order.config, state, encoder)
        try:
            for done in training:
                yield done
                if stop():
                    break
        except BaseException as error:
            _write_state(resume_path, order, basis, training.state_dict())
            if isinstance(error, CheckpointChanged) and training.step:
                _save(workshop, order, basis, subjects, training.stored(), training.step)
            raise
        finished = training.step >= order.config.steps
        if not finished:
            _write_state(resume_path, order, basis, training.state_dict())
    yield _save(workshop, order, basis, subjects, training.stored(), training.step)
    if finished:
        resume_path.unlink(missing_ok=True)


def _save(
    workshop: Workshop, order: Order, basis: CelebBasis, subjects: Sequence[Subject], coefficients: Floats, steps: int
) -> Saved:
    saved = [
        save_person(
            workshop.host, basis, subject.name, own, _facts(workshop, order, subject, steps),
            overwrite=order.overwrite, also_pt=order.also_pt,
        )
        for subject, own in zip(subjects, coefficients, strict=True)
    ]  # fmt: skip
    embeddings, paths = zip(*saved, strict=True)
    return Saved(embeddings, paths, finished=steps >= order.config.steps)


def _facts(workshop: Workshop, order: Order, subject: Subject, steps: int) -> dict[str, Any]:
    return {
        "settings": dataclasses.asdict(order.config),
        "steps": steps,
        "photos": 1 + len(subject.more),
        "description": list(subject.description),
        "describer": workshop.describer.name,
        "faces": workshop.faces.name,
    }


def add_scores(path: Path, scores: Scores, preview: Image | None) -> None:
    """Writes scores and a preview picture to an embedding file that is there already."""
    embedding = load_embedding(path)
    metadata = {**embedding.metadata, "celebbasis.scores": json.dumps(dataclasses.asdict(scores))}
    scored = dataclasses.replace(embedding, metadata=metadata)
    save_embedding(scored, path.parent, preview=preview, overwrite=True)


def _resume_path(workshop: Workshop, order: Order) -> Path:
    return workshop.host.embeddings_dir / ("+".join(order.people) + RESUME_SUFFIX)


def _same_run(order: Order, basis: CelebBasis) -> dict[str, str]:
    """What must not change between an interrupted run and its continuation: all but the number of steps."""
    settings = dataclasses.asdict(order.config) | {"steps": 0}
    return {
        "basis": basis.fingerprint,
        "names": "+".join(order.people),
        "settings": json.dumps(settings, sort_keys=True),
    }


def _write_state(path: Path, order: Order, basis: CelebBasis, state: Mapping[str, Any]) -> None:
    write_whole(path, legacy_torch_bytes({"run": _same_run(order, basis), "state": dict(state)}))


def _read_state(path: Path, order: Order, basis: CelebBasis) -> dict[str, Any]:
    """The state of the interrupted run.

    Raises:
        InvalidSettings: If there is none, or it belongs to another run.
    """
    import torch

    if not path.exists():
        raise InvalidSettings(
            f"There is no interrupted run of {', '.join(order.people)} ({path}).", "Start anew, without resuming."
        )
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        run, state = dict(saved["run"]), dict(saved["state"])
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, KeyError, EOFError, OSError) as error:
        raise InvalidSettings(f"The interrupted run in {path} is damaged.", "Start anew, without resuming.") from error
    expected = _same_run(order, basis)
    different = [key for key, value in expected.items() if run.get(key) != value]
    if different:
        raise InvalidSettings(
            f"The interrupted run has other {' and '.join(different)} than this one.",
            "Use the settings and the checkpoint it was started with, or start anew, without resuming.",
        )
    return state
