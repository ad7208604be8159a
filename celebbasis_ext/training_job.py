"""A training as a job in the line: progress and previews under way, scores and a contact sheet at the end.

order -> train_people's events -> Progress -> Outcome. The tab and the API order it, and watch the queue.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from celebbasis_ext.basis import word_vectors
from celebbasis_ext.evaluate.score import score_pictures
from celebbasis_ext.evaluate.sheets import SheetRow, contact_sheet
from celebbasis_ext.files.card import save_card
from celebbasis_ext.job_queue import Progress
from celebbasis_ext.jobs import Order, Workshop, add_scores, basis_of, train_people
from celebbasis_ext.types import Embedding, Image, Prepared, Saved, Scores, StepDone, Subject

if TYPE_CHECKING:
    from celebbasis_ext.job_queue import Report

ANYBODY = "a person"
PLAIN = "a photo of {}"
SEED = 0
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
    """What a training leaves.

    Attributes:
        saved: The files.
        scores: One for each person; empty where the training was stopped.
        sheet: [h, w, 3] the people under several prompts, beside anybody; None where the training was stopped.
    """

    saved: Saved
    scores: tuple[Scores, ...] = ()
    sheet: Image | None = None


def run_training(workshop: Workshop, order: Order, wish: PreviewWish, report: Report) -> Outcome:
    """Runs an order; the work of one job.

    Raises:
        CelebBasisError: See `jobs.train_people`.
    """
    report.show(Progress("Looking at the photos"))
    watched = _Watched(workshop, order, wish, report)
    saved = watched.trained()
    if not saved.finished:
        return Outcome(saved)
    report.show(dataclasses.replace(watched.progress, text="Drawing the contact sheet", seconds_left=None))
    return _outcome(workshop, watched.subjects, saved)


class _Watched:
    """A training whose events become a job's progress."""

    def __init__(self, workshop: Workshop, order: Order, wish: PreviewWish, report: Report) -> None:
        self.workshop, self.order, self.wish, self.report = workshop, order, wish, report
        self.progress = Progress("Looking at the photos")
        self.subjects: tuple[Subject, ...] = ()
        self.pictures: list[Image] = []

    def trained(self) -> Saved:
        saved = None
        for event in train_people(self.workshop, self.order, self.report.stop_wanted):
            if isinstance(event, Saved):
                saved = event
            else:
                self.progress = self._after(event)
                self.report.show(self.progress)
        assert saved is not None  # train_people always ends with Saved
        for path, embedding, picture in zip(saved.paths, saved.embeddings, self.pictures, strict=False):
            save_card(path, picture, embedding.metadata)
        return saved

    def _after(self, event: Prepared | StepDone) -> Progress:
        if isinstance(event, Prepared):
            self.subjects = event.subjects
            return Progress("Learning", 0, self.order.config.steps)
        progress = dataclasses.replace(
            self.progress, text="Learning", step=event.step, steps=event.steps, seconds_left=event.seconds_left,
            losses=(*self.progress.losses, event.loss),
        )  # fmt: skip
        if not self.wish.every or event.step % self.wish.every or self.report.stop_wanted():
            return progress
        self.pictures = self._pictures(event)
        return dataclasses.replace(progress, preview=side_by_side(self.pictures), preview_step=event.step)

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


def _outcome(workshop: Workshop, subjects: Sequence[Subject], saved: Saved) -> Outcome:
    """Draws everybody, and "a person", under the same prompts and from the same noise; scores and stores that."""
    prompts = (PLAIN, *(workshop.judge.prompts if workshop.judge else VARIED))
    anybody = _drawn(workshop, prompts, ANYBODY)
    rows, scores = [], []
    for subject, embedding, path in zip(subjects, saved.embeddings, saved.paths, strict=True):
        drawn = _drawn(workshop, prompts, embedding.name, embedding)
        scored = _scores(workshop, subject.identity, drawn, anybody)
        add_scores(path, scored, drawn[0])
        workshop.host.publish(path)
        scores.append(scored)
        rows.append(SheetRow(embedding.name, f"likeness {scored.likeness:.2f}", (subject.photo, *drawn)))
    chance = float(np.mean([s.impostors for s in scores]))
    rows.append(SheetRow(ANYBODY, f"likeness {chance:.2f}", (None, *anybody)))
    columns = ["photo", *(prompt.replace("{}", "…") for prompt in prompts)]
    return Outcome(saved, tuple(scores), contact_sheet(rows, columns))


def _drawn(workshop: Workshop, prompts: Sequence[str], word: str, embedding: Embedding | None = None) -> list[Image]:
    asked = [with_word(prompt, word) for prompt in prompts]
    return workshop.host.generate(asked, list(range(len(asked))), [embedding] if embedding else [])


def _scores(workshop: Workshop, identity: np.ndarray, drawn: list[Image], anybody: list[Image]) -> Scores:
    scores = score_pictures(workshop.faces, identity, drawn, anybody)
    if workshop.judge is None:
        return scores
    own, others = (float(np.mean(workshop.judge.obeyed(pictures[1:]))) for pictures in (drawn, anybody))
    return dataclasses.replace(scores, obedience=own, impostors_obedience=others)
