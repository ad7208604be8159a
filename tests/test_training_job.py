"""A training as a job: progress and previews under way, scores and a sheet at the end; on a host that draws noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from celebbasis_ext.describe import GivenWords
from celebbasis_ext.errors import NoFaceFound
from celebbasis_ext.files.embedding import load_embedding
from celebbasis_ext.files.people import list_people
from celebbasis_ext.job_queue import JobQueue, Progress, Report
from celebbasis_ext.jobs import Order, Workshop
from celebbasis_ext.training_job import ANYBODY, Outcome, PreviewWish, run_training, side_by_side
from celebbasis_ext.types import Embedding, Image
from tests.test_jobs import CONFIG, NAMES, PHOTO, OneFace, ScriptedHost

PATIENCE = 60.0


class DrawingHost(ScriptedHost):
    """Remembers what was asked for; every picture is a photo with a face."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.drawn: list[tuple[str, tuple[str, ...]]] = []

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], embeddings: Sequence[Embedding] = (), steps: int = 20
    ) -> list[Image]:
        self.drawn += [(prompt, tuple(e.name for e in embeddings)) for prompt in prompts]
        return [np.roll(PHOTO, seed, axis=0) for seed in seeds]


class HalfObeyed:
    prompts = ("a photo of {}, red background", "a sketch of {}")

    def obeyed(self, pictures: Sequence[Image]) -> tuple[bool, ...]:
        assert len(pictures) == 2
        return (True, False)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    host = DrawingHost(tmp_path / "embeddings")
    return Workshop(host, OneFace(), GivenWords("red background"), NAMES, HalfObeyed())


def drawn_by(workshop: Workshop) -> list[tuple[str, tuple[str, ...]]]:
    host = workshop.host
    assert isinstance(host, DrawingHost)
    return host.drawn


class Watcher:
    """A report that keeps all that it is told."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.seen: list[Progress] = []
        self.stop_at = stop_at

    def show(self, progress: Progress) -> None:
        self.seen.append(progress)

    def stop_wanted(self) -> bool:
        return self.stop_at is not None and self.seen[-1].step >= self.stop_at


def train(workshop: Workshop, watcher: Watcher, wish: PreviewWish, names: tuple[str, ...] = ("anna-cb",)) -> Outcome:
    photos = tuple(np.roll(PHOTO, 7 * i, axis=1) for i in range(len(names)))
    order = Order(photos, names, CONFIG)
    return run_training(workshop, order, wish, watcher)  # type: ignore[arg-type]


def test_every_step_is_seen_with_its_loss_and_previews_come_as_wished(workshop: Workshop) -> None:
    watcher = Watcher()
    train(workshop, watcher, PreviewWish("{} on a horse", every=3))
    steps = [progress for progress in watcher.seen if progress.text == "Learning" and progress.step]
    assert [progress.step for progress in steps] == [1, 2, 3, 4, 5, 6]
    assert [len(progress.losses) for progress in steps] == [1, 2, 3, 4, 5, 6]
    assert [progress.preview_step for progress in steps] == [0, 0, 3, 3, 3, 6]
    assert drawn_by(workshop)[:2] == [("anna-cb on a horse", ("anna-cb",))] * 2


def test_no_previews_are_drawn_where_none_are_wished(workshop: Workshop) -> None:
    watcher = Watcher()
    train(workshop, watcher, PreviewWish(every=0))
    assert all(progress.preview is None for progress in watcher.seen)


def test_at_the_end_the_file_has_scores_and_a_picture_and_there_is_a_sheet(workshop: Workshop) -> None:
    outcome = train(workshop, Watcher(), PreviewWish(every=0))
    (scores,) = outcome.scores
    assert (scores.obedience, scores.impostors_obedience) == (0.5, 0.5)
    assert outcome.sheet is not None and outcome.sheet.ndim == 3
    (person,) = list_people(workshop.host.embeddings_dir)
    assert person.preview is not None
    stored = json.loads(load_embedding(person.path).metadata["celebbasis.scores"])
    assert stored["likeness"] == pytest.approx(scores.likeness)
    prompts = [prompt for prompt, _ in drawn_by(workshop)]
    assert [p.replace("anna-cb", ANYBODY) for p in prompts if "anna-cb" in p] == [p for p in prompts if ANYBODY in p]


def test_without_a_judge_only_likeness_is_scored(tmp_path: Path) -> None:
    workshop = Workshop(DrawingHost(tmp_path), OneFace(), GivenWords(""), NAMES)
    (scores,) = train(workshop, Watcher(), PreviewWish(every=0)).scores
    assert scores.obedience is None
    assert 0 < scores.likeness <= 1.0001


def test_a_stopped_training_is_saved_with_its_last_preview_and_draws_nothing_more(workshop: Workshop) -> None:
    outcome = train(workshop, Watcher(stop_at=4), PreviewWish(every=3))
    assert not outcome.saved.finished
    assert (outcome.scores, outcome.sheet) == ((), None)
    assert len(drawn_by(workshop)) == 1
    (person,) = list_people(workshop.host.embeddings_dir)
    assert person.resumable and person.preview is not None


def test_people_learned_together_get_a_preview_each_side_by_side(workshop: Workshop) -> None:
    watcher = Watcher()
    outcome = train(workshop, watcher, PreviewWish(every=6), ("anna-cb", "ben-cb"))
    assert len(outcome.scores) == 2
    preview = watcher.seen[-1].preview
    assert preview is not None and preview.shape == (100, 200, 3)
    assert side_by_side([]) is None


def test_in_the_queue_its_result_and_its_errors_arrive(workshop: Workshop) -> None:
    queue = JobQueue()

    def ordered(photo: Image, name: str) -> str:
        def work(report: Report) -> Outcome:
            return run_training(workshop, Order((photo,), (name,), CONFIG), PreviewWish(every=0), report)

        return queue.order(name, "train", work).id

    done, failed = ordered(PHOTO, "anna-cb"), ordered(np.zeros_like(PHOTO), "dark-cb")
    assert isinstance(queue.wait(done, PATIENCE).result, Outcome)
    assert isinstance(queue.wait(failed, PATIENCE).error, NoFaceFound)
