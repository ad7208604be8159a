"""People, and then their LoRAs where the order asks for them: train -> save -> learn the LoRA -> save.

The embeddings are in their files before a LoRA begins, so that nothing which happens to it can lose them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from celebbasis_ext import __version__
from celebbasis_ext.files.lora import check_free, pack_metadata, save_lora
from celebbasis_ext.jobs import LESS_MEMORY, Order, Workshop, basis_of, train_people, validate
from celebbasis_ext.memory import out_of_memory_explained
from celebbasis_ext.types import (
    Embedding,
    Event,
    Lora,
    LoraConfig,
    LoraEvent,
    LoraSaved,
    Prepared,
    Saved,
    Subject,
)

ORIGIN = "a person's layers, learned from a photo of a face"


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
    for name in order.names:
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
    from celebbasis_ext.lora_training import LoraTraining

    others, linears = basis_of(workshop).names, workshop.host.cross_attention()
    saved: list[tuple[Lora, Path]] = []
    for subject, embedding in people:
        with out_of_memory_explained(LESS_MEMORY), workshop.host.training() as denoiser:
            training = LoraTraining(denoiser, linears, subject, embedding.vectors, others, order.config, config)
            for done in training:
                yield done
                if stop():
                    break
        if training.step < config.steps:
            break
        saved.append(_save(workshop, order, subject, training.stored()))
    loras, paths = zip(*saved, strict=True) if saved else ((), ())
    yield LoraSaved(loras, paths, finished=len(saved) == len(people))


def _save(workshop: Workshop, order: Order, subject: Subject, lora: Lora) -> tuple[Lora, Path]:
    host = workshop.host
    facts = {
        "version": __version__,
        "settings": dataclasses.asdict(order.lora or LoraConfig()),
        "description": list(subject.description),
        "describer": workshop.describer.name,
        "faces": workshop.faces.name,
    }
    header = pack_metadata(lora, host.checkpoint, ORIGIN, trigger=subject.name, **facts)
    named = dataclasses.replace(lora, metadata=header)
    return named, save_lora(named, host.lora_dir, order.overwrite)
