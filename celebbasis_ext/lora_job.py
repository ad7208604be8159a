"""LoRAs: train -> save the words -> learn the LoRA of each person -> save it; and the LoRA of a checkpoint.

The embeddings are in their files before a LoRA begins, so that nothing which happens to it can lose them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celebbasis_ext import __version__
from celebbasis_ext.basis import word_vectors
from celebbasis_ext.encoder import answers
from celebbasis_ext.errors import NoFaceFound, SeveralFaces
from celebbasis_ext.files.lora import check_free, pack_metadata, save_lora
from celebbasis_ext.jobs import (
    LESS_MEMORY,
    Order,
    Workshop,
    basis_of,
    encoder_of,
    prepare_photo,
    train_people,
    validate,
)
from celebbasis_ext.memory import out_of_memory_explained
from celebbasis_ext.types import (
    Embedding,
    Event,
    Image,
    Lora,
    LoraConfig,
    LoraEvent,
    LoraSaved,
    Prepared,
    Saved,
    Subject,
    TrainConfig,
)

if TYPE_CHECKING:
    from celebbasis_ext.lora_training import Known

PERSONS = "a person's layers, learned from a photo of a face"
CHECKPOINTS = "a checkpoint's layers, learned from photos of many people with an encoder's words"
GENERATOR = LoraConfig(steps=400)


def learn_people(
    workshop: Workshop, order: Order, stop: Callable[[], bool] = lambda: False
) -> Iterator[Event | LoraEvent]:
    """Runs an order: the events of `train_people`, then a `LoraStepDone` for every step and person, and `LoraSaved`.

    Where `stop` turns true, the embeddings and the LoRAs that are finished stay; of the one under way nothing does.

    Raises:
        CelebBasisError: See `train_people`. Where a LoRA fails, the embeddings stay.
    """
    validate(workshop, order)
    if order.lora is None:
        yield from train_people(workshop, order, stop)
        return
    for name in order.people:
        check_free(workshop.host.lora_dir, name, order.overwrite)
    subjects: Sequence[Subject] = ()
    for event in train_people(workshop, order, stop):
        yield event
        if isinstance(event, Prepared):
            subjects = event.subjects
        elif isinstance(event, Saved) and event.finished:
            yield from _learn_loras(
                workshop, order, order.lora, list(zip(subjects, event.embeddings, strict=True)), stop
            )


def _learn_loras(
    workshop: Workshop, order: Order, config: LoraConfig, people: Sequence[tuple[Subject, Embedding]],
    stop: Callable[[], bool],
) -> Iterator[LoraEvent]:  # fmt: skip
    """One after the other: a LoRA belongs to one person."""
    from celebbasis_ext.lora_training import Known

    saved: list[tuple[Lora, Path]] = []
    for subject, embedding in people:
        known = [Known(subject, embedding.vectors)]
        lora = yield from _learned(workshop, known, subject.name, order.config, config, stop)
        if lora is None:
            break
        facts = {"settings": dataclasses.asdict(config), "description": list(subject.description)}
        saved.append(_save(workshop, lora, PERSONS, subject.name, facts, order.overwrite))
    yield _saved(saved, finished=len(saved) == len(people))


def adapt_checkpoint(
    workshop: Workshop, photos: Sequence[Image], name: str, config: LoraConfig = GENERATOR, overwrite: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[LoraEvent]:  # fmt: skip
    """A LoRA for the checkpoint, with which it draws more of what its encoder says of a face (arXiv 2304.07429).

    Args:
        workshop: Whose checkpoint learns; it has an encoder.
        photos: [h, w, 3] of many people; those in which not one face is found are passed over.
        name: Of the file.
        config: How to learn.
        overwrite: Replace a LoRA of this name.
        stop: Where it turns true, nothing is left.

    Raises:
        WrongEncoder: See `encoder_of`.
        NoFaceFound: If none of the photos shows one face.
        NameTaken, InvalidName, CannotWrite: See `save_lora`.
    """
    check_free(workshop.host.lora_dir, name, overwrite)
    people = _understood(workshop, photos)
    lora = yield from _learned(workshop, people, name, TrainConfig(views=2), config, stop)
    if lora is None:
        yield _saved([], finished=False)
        return
    facts = {"settings": dataclasses.asdict(config), "photos": len(people)}
    yield _saved([_save(workshop, lora, CHECKPOINTS, None, facts, overwrite)], finished=True)


def _understood(workshop: Workshop, photos: Sequence[Image]) -> list[Known]:
    """Whoever is alone in a photo, with the words that the encoder has for the face."""
    from celebbasis_ext.lora_training import Known

    basis = basis_of(workshop)
    encoder = encoder_of(workshop, basis)
    subjects = list(_subjects(workshop, photos))
    if not subjects:
        raise NoFaceFound(f"None of {len(photos)} photos shows exactly one face.", "Choose other photos.")
    vectors = word_vectors(basis, answers(encoder, np.stack([subject.identity for subject in subjects])))
    return [Known(subject, {name: rows[i] for name, rows in vectors.items()}) for i, subject in enumerate(subjects)]


def _subjects(workshop: Workshop, photos: Sequence[Image]) -> Iterator[Subject]:
    for number, photo in enumerate(photos):
        try:
            yield prepare_photo(workshop, photo, f"person-{number}-cb")
        except (NoFaceFound, SeveralFaces):
            continue


def _learned(
    workshop: Workshop, people: Sequence[Known], name: str, photo: TrainConfig, config: LoraConfig,
    stop: Callable[[], bool],
) -> Generator[LoraEvent, None, Lora | None]:  # fmt: skip
    """The LoRA; None where `stop` turned true."""
    from celebbasis_ext.lora_training import LoraTraining

    others, linears = basis_of(workshop).names, workshop.host.cross_attention()
    with out_of_memory_explained(LESS_MEMORY), workshop.host.training() as denoiser:
        training = LoraTraining(denoiser, linears, people, others, photo, config)
        for done in training:
            yield done
            if stop():
                break
    return training.stored(name) if training.step == config.steps else None


def _save(
    workshop: Workshop, lora: Lora, origin: str, trigger: str | None, facts: Mapping[str, Any], overwrite: bool
) -> tuple[Lora, Path]:
    host = workshop.host
    common = {"version": __version__, "describer": workshop.describer.name, "faces": workshop.faces.name}
    header = pack_metadata(lora, host.checkpoint, origin, trigger, **common, **facts)
    named = dataclasses.replace(lora, metadata=header)
    return named, save_lora(named, host.lora_dir, overwrite)


def _saved(saved: Sequence[tuple[Lora, Path]], finished: bool) -> LoraSaved:
    return LoraSaved(tuple(lora for lora, _ in saved), tuple(path for _, path in saved), finished)
