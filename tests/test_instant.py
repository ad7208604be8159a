"""People inserted at once, and the job that a checkpoint needs before; on hosts that draw noise."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celebbasis_ext.context import Context
from celebbasis_ext.describe import GivenWords, NoWords
from celebbasis_ext.encoder import Pairs, learn_encoder
from celebbasis_ext.encoder_job import encoder_path, with_encoder
from celebbasis_ext.errors import CheckpointChanged, NameTaken, TooFewNames, WrongEncoder
from celebbasis_ext.files.embedding import load_embedding, stored_fact
from celebbasis_ext.gallery_job import EncoderOutcome, GalleryWish, outlook, run_encoder
from celebbasis_ext.job_queue import FreeTurn, Job, JobQueue
from celebbasis_ext.jobs import Order, Workshop, basis_of, prepare
from celebbasis_ext.recipes import PRESETS, RECIPES, WARM_PRESETS
from celebbasis_ext.studio import Studio
from celebbasis_ext.training_job import Outcome, PreviewWish
from celebbasis_ext.types import Encoder, Floats, Image, Lora, LoraConfig, LoraSaved, LoraStepDone, Saved
from celebbasis_ext.ui import markup
from tests.test_gallery import NoisyHost
from tests.test_jobs import CONFIG, NAMES, PHOTO, OneFace
from tests.test_training_job import drawn_by
from tests.test_ui import Balanced, SpellingHost, Twins

PATIENCE = 60.0
OTHER = np.roll(PHOTO, 30, axis=0)


def encoder_for(workshop: Workshop) -> Encoder:
    """One that was learned from made-up pairs, and checked on nobody."""
    basis, rng = basis_of(workshop), np.random.default_rng(0)
    names = np.repeat(np.arange(len(basis.names)), 4)
    flat = basis.coefficients.reshape(len(basis.names), -1)[names]
    identities = (flat @ rng.standard_normal((flat.shape[1], 16)) + 0.1 * rng.standard_normal((len(names), 16))) / 5
    pairs = Pairs(identities.astype(np.float32), flat, names, np.ones(len(names), np.float32))
    return learn_encoder(pairs, basis, workshop.host.checkpoint, workshop.faces.name)


def checked(encoder: Encoder) -> Encoder:
    return dataclasses.replace(encoder, sureness=np.array([0.55, 0], np.float32), doubt=0.07)


@pytest.fixture
def bare(tmp_path: Path) -> Workshop:
    return Workshop(SpellingHost(tmp_path / "embeddings"), Twins(), GivenWords("red background"), NAMES)


@pytest.fixture
def taught(bare: Workshop) -> Workshop:
    return dataclasses.replace(bare, encoder=checked(encoder_for(bare)))


def studio_of(workshop: Workshop) -> Studio:
    return Studio(Context(lambda: workshop, workshop.host.embeddings_dir))


def over(studio: Studio, job: Job) -> Job:
    return studio.context.queue.wait(job.id, PATIENCE)


# --- Insertion ---


def test_somebody_is_inserted_and_what_was_expected_stands_beside_what_was_measured(taught: Workshop) -> None:
    studio = studio_of(taught)
    job = over(studio, studio.insert(Order((PHOTO,), ("anna-cb",))))
    assert isinstance(job.result, Outcome), job.error
    assert (job.kind, job.people, studio.current()) == ("insert", ("anna-cb",), job)
    (person,), (scores,) = job.result.understood, job.result.scores
    assert (person.expected_likeness, person.doubt) == pytest.approx((0.55, 0.07))
    assert job.result.sheet is not None and 0 < scores.likeness <= 1.0001
    stored = load_embedding(taught.host.embeddings_dir / "anna-cb.safetensors")
    assert stored_fact(stored, "expected_likeness") == pytest.approx(0.55)
    said = Balanced(markup.outcome_panel(job.result, True)).said
    assert "expectedlikeness" in said and f"anna-cb0.55 ± 0.07{scores.likeness:.2f}" in said


def test_photos_of_one_name_are_of_one_person_and_scored_against_all_of_them(taught: Workshop) -> None:
    order = Order((PHOTO, OTHER), ("anna-cb", "anna-cb"))
    studio = studio_of(taught)
    job = over(studio, studio.insert(order))
    assert isinstance(job.result, Outcome), job.error
    (path,), (scores,) = job.result.saved.paths, job.result.scores
    assert stored_fact(load_embedding(path), "photos") == 2
    (subject,) = prepare(taught, dataclasses.replace(order, overwrite=True))
    drawn = [taught.faces.identify(align_all(taught.faces, picture)) for picture in redrawn(taught)]
    assert scores.likeness == pytest.approx(float(np.mean([face @ subject.identity for face in drawn])), abs=1e-5)


def redrawn(workshop: Workshop) -> list[Image]:
    """The pictures of the first person on a contact sheet."""
    return workshop.host.generate(["x"] * 6, list(range(6)))


def align_all(faces: Any, picture: Image) -> Image:
    from celebbasis_ext.faces.align import align
    from celebbasis_ext.faces.base import largest

    return align(picture, largest(faces.detect(picture)).landmarks)


def test_without_pictures_only_the_file_is_made(taught: Workshop) -> None:
    studio = studio_of(taught)
    job = over(studio, studio.insert(Order((PHOTO,), ("anna-cb",)), pictures=False))
    assert isinstance(job.result, Outcome) and job.result.saved.paths[0].exists()
    assert (job.result.scores, job.result.sheet, drawn_by(taught)) == ((), None, [])
    assert "expected likeness 0.55 ± 0.07" in markup.outcome_panel(job.result, False)


def test_nobody_is_inserted_without_an_encoder_or_under_a_taken_name(bare: Workshop, taught: Workshop) -> None:
    with pytest.raises(WrongEncoder):
        studio_of(bare).insert(Order((PHOTO,), ("anna-cb",)))
    studio = studio_of(taught)
    over(studio, studio.insert(Order((PHOTO,), ("anna-cb",)), pictures=False))
    with pytest.raises(NameTaken):
        studio.insert(Order((PHOTO,), ("anna-cb",)))
    assert len(studio.context.queue.jobs()) == 1


def test_an_encoder_of_another_checkpoint_is_as_good_as_none(taught: Workshop) -> None:
    assert studio_of(taught).encoder() is taught.encoder
    assert studio_of(taught).presets() is WARM_PRESETS
    assert taught.encoder is not None
    foreign = dataclasses.replace(taught, encoder=dataclasses.replace(taught.encoder, checkpoint="f" * 64))
    assert studio_of(foreign).encoder() is None
    assert studio_of(foreign).presets() is PRESETS


def test_a_training_that_starts_at_the_encoder_is_refused_before_it_waits(bare: Workshop) -> None:
    studio = studio_of(bare)
    with pytest.raises(WrongEncoder):
        studio.train(Order((PHOTO,), ("anna-cb",), RECIPES["warm"]), PreviewWish())
    assert studio.context.queue.jobs() == ()


def test_an_encoder_that_nobody_checked_does_not_know_how_sure_it_is(bare: Workshop) -> None:
    studio = studio_of(dataclasses.replace(bare, encoder=encoder_for(bare)))
    job = over(studio, studio.insert(Order((PHOTO,), ("anna-cb",))))
    assert isinstance(job.result, Outcome)
    assert "anna-cbunknown" in Balanced(markup.outcome_panel(job.result, True)).said


# --- A LoRA beside the word ---


@pytest.fixture
def with_lora(taught: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """A training whose LoRA has no layers and takes two steps."""
    from celebbasis_ext import training_job
    from celebbasis_ext.jobs import train_people

    def learn_people(workshop: Workshop, order: Order, stop: Any) -> Iterator[Any]:
        for event in train_people(workshop, order, stop):
            yield event
            if isinstance(event, Saved):
                yield from (LoraStepDone(step, 2, 0.5) for step in (1, 2))
                ended = not stop()
                loras = tuple(Lora(name, {}) for name in order.people) if ended else ()
                yield LoraSaved(loras, tuple(tmp_path / lora.name for lora in loras), ended)

    monkeypatch.setattr(training_job, "learn_people", learn_people)
    host: Any = taught.host
    host.lora_dir, host.cross_attention = tmp_path / "loras", dict
    return studio_of(taught)


def test_a_lora_is_shown_scored_and_named_as_prompts_want_it(with_lora: Studio) -> None:
    order = Order((PHOTO,), ("anna-cb",), CONFIG, lora=LoraConfig())
    job = over(with_lora, with_lora.train(order, PreviewWish(every=0)))
    assert isinstance(job.result, Outcome), job.error
    assert job.result.loras is not None and len(job.result.lora_scores) == 1
    assert (job.progress.step, job.progress.steps, job.progress.losses) == (2, 2, (0.5, 0.5)), "counted anew"
    in_webui = Balanced(markup.outcome_panel(job.result, True))
    sent = [attributes["data-cb-send"] for _, attributes in in_webui.tags if "data-cb-send" in attributes]
    assert sent == ["anna-cb", "anna-cb <lora:anna-cb:1>"]
    alone = Balanced(markup.outcome_panel(job.result, False))
    assert "<lora:anna-cb:1>" in alone.said
    assert [a["data-cb-send"] for _, a in alone.tags if "data-cb-send" in a] == ["anna-cb"], "that page knows no LoRA"


def test_a_lora_name_that_is_taken_is_said_before_it_waits(with_lora: Studio) -> None:
    folder = with_lora.context.open_workshop().host.lora_dir
    folder.mkdir()
    (folder / "Anna-cb.safetensors").write_bytes(b"somebody's")
    with pytest.raises(NameTaken):
        with_lora.train(Order((PHOTO,), ("anna-cb",), CONFIG, lora=LoraConfig()), PreviewWish())


def test_stopped_while_a_lora_is_learned_the_words_are_whole() -> None:
    outcome = Outcome(Saved((), (), finished=True), loras=LoraSaved((), (), finished=False))
    assert "The words are whole" in markup.outcome_panel(outcome, True)


# --- What a checkpoint needs once ---

FEW = tuple(f"{first}{last} {last}{first}" for first in "abcde" for last in "vwxyz")
WISH = GalleryWish(images=2)
CHECKS = 8


class Crowd(NoisyHost):
    """Knows twenty-five names."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.words = [word for name in FEW for word in name.split()]


class Recogniser(OneFace):
    """Sees a different face in every picture, and all of them well."""

    name = "crowd"

    def identify(self, crop: Image) -> Floats:
        vector = np.random.default_rng(int(crop.sum())).standard_normal(16)
        return np.asarray(vector / np.linalg.norm(vector), np.float32)


class Polite(FreeTurn):
    """Counts the pauses, and is stopped after so many of them."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.pauses, self.stop_after = 0, stop_after

    def let_others(self) -> None:
        self.pauses += 1

    def stop_wanted(self) -> bool:
        return self.pauses >= self.stop_after


@pytest.fixture
def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setattr("celebbasis_ext.gallery.overall", lambda *_: 0.9)
    monkeypatch.setenv("CELEBBASIS_CACHE", str(tmp_path / "cache"))
    return Workshop(Crowd(tmp_path / "embeddings"), Recogniser(), NoWords(), FEW)


def learned(workshop: Workshop, turn: Polite | None = None) -> Job:
    queue = JobQueue(lambda job: nullcontext(turn or Polite()))
    job = queue.order("Celebrities", "encoder", lambda report: run_encoder(lambda: workshop, WISH, report, CHECKS))
    return queue.wait(job.id, PATIENCE)


def asked_of(workshop: Workshop) -> int:
    assert isinstance(workshop.host, Crowd)
    return len(workshop.host.asked)


def test_a_checkpoint_learns_from_its_celebrities_and_lets_others_go_first(crowd: Workshop) -> None:
    turn = Polite()
    job = learned(crowd, turn)
    assert isinstance(job.result, EncoderOutcome), job.error
    assert job.result.encoder is not None and not np.isnan(job.result.encoder.doubt)
    assert asked_of(crowd) == 50 + CHECKS * 4
    assert turn.pauses == 6 + CHECKS - 1, "between seven batches, and between those who do not exist"
    assert encoder_path(crowd).exists() and with_encoder(crowd).encoder is not None
    said = Balanced(markup.encoder_panel(job.result)).said
    assert f"± {job.result.encoder.doubt:.2f}" in said and "Instant works now" in said
    assert (job.progress.step, job.progress.steps) == (CHECKS, CHECKS)


def test_a_stopped_one_goes_on_where_it_ended(crowd: Workshop) -> None:
    stopped = learned(crowd, Polite(stop_after=2))
    assert isinstance(stopped.result, EncoderOutcome) and stopped.state == "stopped"
    assert stopped.result.encoder is None and asked_of(crowd) == 16
    assert "goes on from here" in markup.encoder_panel(stopped.result)
    assert outlook(crowd, WISH).pictures == 50 - 16 + 240
    again = learned(crowd)
    assert isinstance(again.result, EncoderOutcome) and again.result.encoder is not None, again.error
    assert asked_of(crowd) == 50 + CHECKS * 4, "nothing is drawn twice"
    assert outlook(crowd, WISH).pictures == 240


def test_another_checkpoint_under_way_ends_the_check(crowd: Workshop) -> None:
    class Switching(Polite):
        def let_others(self) -> None:
            super().let_others()
            if self.pauses == 8:
                host: Any = crowd.host
                host.checkpoint = dataclasses.replace(host.checkpoint, sha256="7" * 64)

    job = learned(crowd, Switching())
    assert isinstance(job.error, CheckpointChanged)


def test_too_few_names_teach_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELEBBASIS_CACHE", str(tmp_path / "cache"))
    job = learned(Workshop(NoisyHost(tmp_path), OneFace(), NoWords(), NAMES))
    assert isinstance(job.error, TooFewNames)


def test_the_outlook_is_assumed_until_it_was_measured(crowd: Workshop) -> None:
    whole = outlook(crowd)
    assert (whole.names, whole.pictures, whole.measured) == (25, 25 * 4 + 240, False)
    assert whole.seconds == pytest.approx(340 * 10 * 0.1 * (64 / 512) ** 2)
    assert "many times that without one" in markup.outlook_box(whole, True)
    studio, turn = studio_of(crowd), Polite(stop_after=3)
    studio = Studio(dataclasses.replace(studio.context, queue=JobQueue(lambda job: nullcontext(turn))))
    first = studio.learn_celebrities()
    assert over(studio, first).state == "stopped"
    measured = studio.outlook()
    assert measured.measured and measured.seconds == studio.context.queue[first.id].progress.seconds_left
    assert "meanwhile" in markup.outlook_box(whole, True) and "meanwhile" not in markup.outlook_box(whole, False)
    assert "without one" not in markup.outlook_box(measured, False)


def test_only_one_of_them_stands_in_the_line(crowd: Workshop) -> None:
    free = threading.Event()

    @contextmanager
    def busy(job: Job) -> Iterator[FreeTurn]:
        assert free.wait(PATIENCE)
        yield Polite(stop_after=0)

    studio = Studio(dataclasses.replace(studio_of(crowd).context, queue=JobQueue(busy)))
    first = studio.learn_celebrities()
    assert studio.learn_celebrities().id == first.id and len(studio.context.queue.jobs()) == 1
    free.set()
    assert over(studio, first).state == "stopped"
