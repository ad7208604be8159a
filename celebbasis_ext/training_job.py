"""A training as a job in the line: progress and previews under way, scores and a contact sheet at the end.

order -> learn_people's events -> Progress -> Outcome. Where there is an encoder, also without the training.
The tab and the API order it, and watch the queue.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from celebbasis_ext.basis import word_vectors
from celebbasis_ext.encoder_job import insert_people
from celebbasis_ext.evaluate.score import score_pictures
from celebbasis_ext.evaluate.sheets import SheetRow, contact_sheet
from celebbasis_ext.files.card import save_card
from celebbasis_ext.job_queue import Progress
from celebbasis_ext.jobs import Order, Workshop, add_scores, basis_of
from celebbasis_ext.lora_job import learn_people
from celebbasis_ext.types import (
    Embedding,
    Floats,
    Image,
    Lora,
    LoraSaved,
    LoraStepDone,
    Prepared,
    Saved,
    Scores,
    StepDone,
    Subject,
    Understood,
)

if TYPE_CHECKING:
    from celebbasis_ext.job_queue import Report

ANYBODY = "a person"
DRAWING = "Drawing the contact sheet"
PLAIN = "a photo of {}"
SEED = 0
SHOWN = 256
"""Pixels of the pictures that a job keeps: hundreds of them are in memory."""
VARIED = (
    "a photo of {}, smiling", "a photo of {} at the beach", "a photo of {} wearing a hat", "a photo of {} at night",
    "a pencil sketch of {}",
)  # fmt: skip


@dataclass(frozen=True)
class PreviewWish:
    """Pictures while training.

    Attributes:
        prompt: {} stands for the trigger word.
        every: Steps from one picture to the next; 0 for none.
    """

    prompt: str = PLAIN
    every: int = 20


@dataclass(frozen=True)
class Outcome:
    """What a training, or an insertion, leaves.

    Attributes:
        saved: The files.
        scores: One for each person; empty where the training was stopped, or no pictures were wished.
        sheet: [h, w, 3] the people under several prompts, beside anybody; None where nothing was drawn.
        drawn: The same pictures one by one, a row for each person, behind their photo, and the last for anybody.
        captions: Of the columns.
        understood: One for each person who was inserted as the encoder understands them.
        loras: The LoRAs, where some were ordered and begun.
        lora_scores: One for each of them, with weight 1 beside the trigger word.
    """

    saved: Saved
    scores: tuple[Scores, ...] = ()
    sheet: Image | None = None
    drawn: tuple[SheetRow, ...] = ()
    captions: tuple[str, ...] = ()
    understood: tuple[Understood, ...] = ()
    loras: LoraSaved | None = None
    lora_scores: tuple[Scores, ...] = ()


def run_training(workshop: Workshop, order: Order, wish: PreviewWish, report: Report) -> Outcome:
    """Runs an order; the work of one job.

    Raises:
        CelebBasisError: See `lora_job.learn_people`.
    """
    report.show(Progress("Looking at the photos"))
    watched = _Watched(workshop, order, wish, report)
    saved, loras = watched.trained()
    if not saved.finished or (loras and not loras.finished):
        return Outcome(saved, loras=loras)
    report.show(dataclasses.replace(watched.progress, text=DRAWING, seconds_left=None))
    return _outcome(workshop, watched.subjects, saved, loras)


def run_insertion(workshop: Workshop, order: Order, pictures: bool, report: Report) -> Outcome:
    """Writes people as the encoder understands them, at once, and then draws them; the work of one job.

    Args:
        workshop: One with an encoder.
        order: Of its training nothing is used.
        pictures: Whether to draw the contact sheet and measure likeness; the files are there before.
        report: Whom to tell.

    Raises:
        CelebBasisError: See `encoder_job.insert_people`.
    """
    report.show(Progress("Looking at the photos"))
    saved, subjects, understood = insert_people(workshop, order)
    if not pictures or report.stop_wanted():
        return Outcome(saved, understood=understood)
    report.show(Progress(DRAWING))
    return dataclasses.replace(_outcome(workshop, subjects, saved), understood=understood)


class _Watched:
    """A training whose events become a job's progress."""

    def __init__(self, workshop: Workshop, order: Order, wish: PreviewWish, report: Report) -> None:
        self.workshop, self.order, self.wish, self.report = workshop, order, wish, report
        self.progress = Progress("Looking at the photos")
        self.subjects: tuple[Subject, ...] = ()
        self.pictures: list[Image] = []

    def trained(self) -> tuple[Saved, LoraSaved | None]:
        saved, loras = None, None
        for event in learn_people(self.workshop, self.order, self.report.stop_wanted):
            if isinstance(event, Saved):
                saved = event
                self._keep_cards(saved)
            elif isinstance(event, LoraSaved):
                loras = event
            else:
                self.progress = self._after(event)
                self.report.show(self.progress)
        assert saved is not None  # learn_people always comes to Saved
        return saved, loras

    def _keep_cards(self, saved: Saved) -> None:
        for path, embedding, picture in zip(saved.paths, saved.embeddings, self.pictures, strict=False):
            save_card(path, picture, embedding.metadata)

    def _after(self, event: Prepared | StepDone | LoraStepDone) -> Progress:
        if isinstance(event, Prepared):
            self.subjects = event.subjects
            return Progress("Learning", 0, self.order.config.steps)
        if isinstance(event, LoraStepDone):
            return self._after_lora_step(event)
        progress = dataclasses.replace(
            self.progress, text="Learning", step=event.step, steps=event.steps, seconds_left=event.seconds_left,
            losses=(*self.progress.losses, event.loss),
        )  # fmt: skip
        if not self.wish.every or event.step % self.wish.every or self.report.stop_wanted():
            return progress
        self.pictures = self._pictures(event)
        return dataclasses.replace(progress, preview=side_by_side(self.pictures), preview_step=event.step)

    def _after_lora_step(self, event: LoraStepDone) -> Progress:
        """Steps and losses are counted anew for each LoRA; the words' last preview stays."""
        before = self.progress.losses if event.step > 1 else ()
        return dataclasses.replace(
            self.progress, text="Learning the LoRA", step=event.step, steps=event.steps,
            seconds_left=event.seconds_left, losses=(*before, event.loss),
        )  # fmt: skip

    def _pictures(self, event: StepDone) -> list[Image]:
        """One picture of each person as they would be saved now."""
        basis = basis_of(self.workshop)
        people = [
            Embedding(name, word_vectors(basis, own))
            for name, own in zip(self.order.people, event.coefficients, strict=True)
        ]
        prompts = [with_word(self.wish.prompt, person.name) for person in people]
        return self.workshop.host.generate(prompts, [SEED] * len(prompts), people)


def with_word(prompt: str, word: str) -> str:
    """The prompt with the trigger word in the place of {}."""
    return prompt.replace("{}", word)


def side_by_side(pictures: Sequence[Image]) -> Image | None:
    """[h, sum of w, 3] pictures of one height as one; None where there are none."""
    return np.concatenate(list(pictures), axis=1) if pictures else None


def _outcome(workshop: Workshop, subjects: Sequence[Subject], saved: Saved, loras: LoraSaved | None = None) -> Outcome:
    """Draws everybody, and "a person", under the same prompts and from the same noise; scores and stores that."""
    drawings = _Drawings(workshop)
    rows, scores, lora_scores = [], [], []
    for i, (subject, embedding, path) in enumerate(zip(subjects, saved.embeddings, saved.paths, strict=True)):
        row, scored = drawings.row(subject, embedding)
        add_scores(path, scored, row.images[1])
        workshop.host.publish(path)
        scores.append(scored)
        rows.append(row)
        if loras:
            row, scored = drawings.row_with_lora(subject, embedding, loras.loras[i])
            lora_scores.append(scored)
            rows.append(row)
    chance = float(np.mean([s.impostors for s in scores]))
    rows.append(SheetRow(ANYBODY, f"likeness {chance:.2f}", (None, *drawings.anybody)))
    columns = ("photo", *(prompt.replace("{}", "…") for prompt in drawings.prompts))
    return Outcome(
        saved, tuple(scores), contact_sheet(rows, columns), tuple(_small(row) for row in rows), columns, loras=loras,
        lora_scores=tuple(lora_scores),
    )  # fmt: skip


def _small(row: SheetRow) -> SheetRow:
    from PIL import Image as Pillow

    def shrunk(picture: Image) -> Image:
        small = Pillow.fromarray(picture)
        small.thumbnail((SHOWN, SHOWN))
        return np.asarray(small)

    return dataclasses.replace(row, images=tuple(None if i is None else shrunk(i) for i in row.images))


class _Drawings:
    """What is drawn for the contact sheet: people under some prompts, beside anybody under the same."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.prompts = (PLAIN, *(workshop.judge.prompts if workshop.judge else VARIED))
        self.anybody = self._drawn(ANYBODY)

    def row(self, subject: Subject, embedding: Embedding, label: str = "") -> tuple[SheetRow, Scores]:
        drawn = self._drawn(embedding.name, embedding)
        scored = self._scores(subject.identity, drawn)
        said = f"likeness {scored.likeness:.2f}"
        return SheetRow(label or embedding.name, said, (subject.photo, *drawn)), scored

    def row_with_lora(self, subject: Subject, embedding: Embedding, lora: Lora) -> tuple[SheetRow, Scores]:
        from celebbasis_ext.lora import applied

        with applied(self.workshop.host.cross_attention(), [(lora, 1.0)]):
            return self.row(subject, embedding, "with the LoRA")

    def _drawn(self, word: str, embedding: Embedding | None = None) -> list[Image]:
        asked = [with_word(prompt, word) for prompt in self.prompts]
        return self.workshop.host.generate(asked, list(range(len(asked))), [embedding] if embedding else [])

    def _scores(self, identity: Floats, drawn: list[Image]) -> Scores:
        scores = score_pictures(self.workshop.faces, identity, drawn, self.anybody)
        judge = self.workshop.judge
        if judge is None:
            return scores
        own, others = (float(np.mean(judge.obeyed(pictures[1:]))) for pictures in (drawn, self.anybody))
        return dataclasses.replace(scores, obedience=own, impostors_obedience=others)
