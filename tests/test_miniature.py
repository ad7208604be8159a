"""The shipped miniature, measured: names give the right people, prompts are obeyed, a stranger can be inserted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from celebbasis_ext.files.embedding import load_embedding
from celebbasis_ext.hosts.standalone import StandaloneHost
from celebbasis_ext.jobs import Order, Workshop, train_people
from celebbasis_ext.miniature.demo import NAME, PROMPTS, run_demo
from celebbasis_ext.miniature.drawing import draw, random_look
from celebbasis_ext.miniature.people import celebrities, strangers
from celebbasis_ext.miniature.report import Examination, judge_on_drawings
from celebbasis_ext.miniature.tagger import LookReader
from celebbasis_ext.miniature.workshop import Assets, open_judge, open_workshop
from celebbasis_ext.types import Saved

CELEBRITIES = celebrities()[7::50]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return open_workshop(tmp_path_factory.mktemp("embeddings"))


@pytest.fixture(scope="module")
def judge() -> LookReader:
    return open_judge(Assets())


@pytest.fixture(scope="module")
def examination(workshop: Workshop, judge: LookReader) -> Examination:
    assert isinstance(workshop.host, StandaloneHost)
    return Examination(workshop.host, judge)


def test_the_judge_reads_drawn_truth(judge: LookReader) -> None:
    figures = judge_on_drawings(judge, people=120)
    assert all(figures[field] >= 0.97 for field in ("background", "hat", "shirt", "expression", "glasses", "style"))
    assert figures["traits_rmse"] < 0.3


def test_a_known_name_gives_the_right_person(examination: Examination) -> None:
    references = np.stack([examination.reference(person) for person in CELEBRITIES])
    pictures = [examination.pictures([f"a photo of {person.name}"] * 2) for person in CELEBRITIES]
    found = examination.likeness(pictures, references)
    assert found["right"] > 0.5
    assert abs(found["wrong"]) < 0.15
    assert found["nearest"] >= 0.75


def test_prompts_are_obeyed(examination: Examination, judge: LookReader) -> None:
    asked = [
        (f"a photo of {CELEBRITIES[i].name}, {words}", field, value)
        for i, (words, field, value) in enumerate([
            ("red background", "background", "red"), ("at the beach", "background", "beach"),
            ("wearing a purple hat", "hat", "purple"), ("with glasses", "glasses", True),
            ("in a yellow shirt", "shirt", "yellow"), ("smiling", "expression", "smiling"),
            ("surprised", "expression", "surprised"), ("at night", "background", "night"),
        ])
    ]  # fmt: skip
    _, looks = judge.read(examination.pictures([prompt for prompt, _, _ in asked]))
    assert sum(look[field] == value for look, (_, field, value) in zip(looks, asked, strict=True)) >= 6


def test_a_stranger_is_inserted_from_one_portrait(workshop: Workshop, examination: Examination) -> None:
    person = strangers(1, 31337)[0]
    look = dataclasses.replace(random_look(np.random.default_rng(3)), style="photo")
    *_, saved = train_people(workshop, Order((draw(person, look).image,), ("insert-cb",)))
    assert isinstance(saved, Saved)
    pictures = workshop.host.generate(["a photo of insert-cb"] * 4, [1, 2, 3, 4], saved.embeddings)
    traits = examination.traits(pictures).mean(axis=0)
    others = np.stack([examination.reference(p) for p in CELEBRITIES])
    own = examination.reference(person)
    cosine = [float(traits @ r / np.linalg.norm(traits) / np.linalg.norm(r)) for r in (own, *others)]
    assert cosine[0] == max(cosine)
    assert cosine[0] > 0.4


def test_the_demo_writes_everything_that_it_promises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from celebbasis_ext.cli.progress import run

    run_demo(tmp_path, 1, run)
    printed = capsys.readouterr().out
    embedding = load_embedding(tmp_path / "embeddings" / f"{NAME}.safetensors")
    scores = json.loads(embedding.metadata["celebbasis.scores"])
    assert f"{scores['likeness']:.2f}" in printed
    assert scores["likeness"] > scores["impostors"]
    for name in ("portrait.png", "contact-sheet.png", f"embeddings/{NAME}.preview.png"):
        assert (tmp_path / name).stat().st_size > 1000
    assert len(PROMPTS) >= 8


def test_strangers_are_not_in_the_checkpoint() -> None:
    known = np.stack([p.identity for p in celebrities()])
    for stranger in strangers(20, 31337):
        assert np.abs(known - stranger.identity).max(axis=1).min() > 0.1
