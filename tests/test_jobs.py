"""Orders from photo to file, on a scripted host: what is validated, saved, stopped and resumed."""

from __future__ import annotations

import dataclasses
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from celebbasis_ext.basis import word_vectors
from celebbasis_ext.describe import GivenWords
from celebbasis_ext.errors import InvalidName, InvalidSettings, NameTaken, NoFaceFound, OutOfMemory, TooFewNames
from celebbasis_ext.files.embedding import load_embedding, stored_coefficients
from celebbasis_ext.jobs import Order, Workshop, basis_of, train_people
from celebbasis_ext.memory import is_out_of_memory
from celebbasis_ext.types import (
    Checkpoint,
    Embedding,
    Event,
    Face,
    Floats,
    Image,
    Prepared,
    Saved,
    StepDone,
    TrainConfig,
)
from tests.conftest import WIDTH, TinyDenoiser

CONFIG = TrainConfig(steps=6, batch=2, views=2)
NAMES = tuple(f"f{chr(97 + i)} l{chr(97 + i)}" for i in range(10))


class ScriptedHost:
    """A host without a model: twenty words, a tiny denoiser, and a list of what was published."""

    def __init__(self, folder: Path) -> None:
        self.embeddings_dir = folder
        self.checkpoint = Checkpoint("tiny", "0" * 64, "sd1", "epsilon", 64)
        self.words = [word for name in NAMES for word in name.split()]
        self.published: list[Path] = []
        self.training_ended = 0

    def token_tables(self) -> dict[str, Floats]:
        return {"clip_l": np.random.default_rng(0).standard_normal((len(self.words), WIDTH)).astype(np.float32)}

    def tokenize(self, text: str) -> list[int]:
        words = re.findall(r"\w+|[^\w\s]", text)
        return [self.words.index(word) if word in self.words else 1000 + zlib.crc32(word.encode()) for word in words]

    def describe_token(self, token_id: int) -> str:
        return self.words[token_id]

    @contextmanager
    def training(self) -> Iterator[TinyDenoiser]:
        try:
            yield TinyDenoiser()
        finally:
            self.training_ended += 1

    def publish(self, path: Path) -> None:
        self.published.append(path)

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], embeddings: Sequence[Embedding] = (), steps: int = 20
    ) -> list[Image]:
        raise AssertionError("a training draws nothing")


class OneFace:
    """Finds a face in the middle of every picture that is not black."""

    name = "one face"
    doubtful = 0.5

    def detect(self, image: Image) -> tuple[Face, ...]:
        if not image.any():
            return ()
        points = np.array([[40, 45], [60, 45], [50, 55], [42, 65], [58, 65]], np.float32)
        return (Face(np.array([30, 30, 70, 75], np.float32), points, 0.9),)

    def identify(self, crop: Image) -> Floats:
        vector = np.resize(crop.astype(np.float32).mean((0, 1)), 16) + 1
        return np.asarray(vector / np.linalg.norm(vector), np.float32)


PHOTO = np.random.default_rng(1).integers(1, 256, (100, 100, 3), dtype=np.uint8)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(ScriptedHost(tmp_path / "embeddings"), OneFace(), GivenWords("red background"), NAMES)


def order(**changes: object) -> Order:
    return dataclasses.replace(Order((PHOTO,), ("anna-cb",), CONFIG), **changes)  # type: ignore[arg-type]


def files(workshop: Workshop) -> list[str]:
    folder = workshop.host.embeddings_dir
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_an_order_prepares_trains_saves_and_publishes(workshop: Workshop) -> None:
    events: list[Event] = list(train_people(workshop, order()))
    assert [type(event) for event in events] == [Prepared, *[StepDone] * 6, Saved]
    prepared, saved = events[0], events[-1]
    assert isinstance(prepared, Prepared) and isinstance(saved, Saved)
    assert prepared.subjects[0].description == ("red background",)
    assert saved.finished
    assert files(workshop) == ["anna-cb.safetensors"]
    assert workshop.host.published == list(saved.paths)  # type: ignore[attr-defined]


def test_the_file_explains_itself(workshop: Workshop) -> None:
    *_, saved = train_people(workshop, order())
    assert isinstance(saved, Saved)
    embedding = load_embedding(saved.paths[0])
    coefficients = stored_coefficients(embedding)
    assert coefficients is not None
    basis = basis_of(workshop)
    assert np.allclose(word_vectors(basis, coefficients)["clip_l"], embedding.vectors["clip_l"], atol=1e-5)
    facts = {key.removeprefix("celebbasis."): value for key, value in embedding.metadata.items()}
    assert json.loads(facts["basis"]) == basis.fingerprint
    assert json.loads(facts["settings"])["steps"] == 6
    assert json.loads(facts["description"]) == ["red background"]
    assert json.loads(facts["checkpoint"])["name"] == "tiny"
    assert "identity" not in facts, "a vector that recognises somebody in other photos"


def test_stopping_keeps_what_was_learned_and_resuming_gives_the_uninterrupted_result(workshop: Workshop) -> None:
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps >= 3

    *_, stopped = train_people(workshop, order(), stop)
    assert isinstance(stopped, Saved) and not stopped.finished
    assert files(workshop) == ["anna-cb.resume", "anna-cb.safetensors"]
    *_, resumed = train_people(workshop, order(resume=True, overwrite=True))
    assert isinstance(resumed, Saved) and resumed.finished
    assert files(workshop) == ["anna-cb.safetensors"]
    *_, whole = train_people(workshop, order(names=("nina-cb",)))
    assert isinstance(whole, Saved)
    assert np.array_equal(resumed.embeddings[0].vectors["clip_l"], whole.embeddings[0].vectors["clip_l"])


def test_an_interruption_in_the_middle_leaves_a_run_to_resume(workshop: Workshop) -> None:
    events = train_people(workshop, order())
    for _ in range(4):
        next(events)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    assert files(workshop) == ["anna-cb.resume"]
    assert workshop.host.training_ended == 1  # type: ignore[attr-defined]
    first = next(e for e in train_people(workshop, order(resume=True)) if isinstance(e, StepDone))
    assert first.step == 4


def test_another_run_cannot_be_resumed(workshop: Workshop) -> None:
    list(train_people(workshop, order(), lambda: True))
    other = dataclasses.replace(CONFIG, learning_rate=0.5)
    with pytest.raises(InvalidSettings, match="other settings"):
        list(train_people(workshop, order(resume=True, overwrite=True, config=other)))
    with pytest.raises(InvalidSettings, match="no interrupted run of ben-cb"):
        list(train_people(workshop, order(resume=True, names=("ben-cb",))))


def test_several_people_become_several_files(workshop: Workshop) -> None:
    *_, saved = train_people(workshop, order(photos=(PHOTO, 255 - PHOTO // 2), names=("anna-cb", "ben-cb")))
    assert isinstance(saved, Saved)
    assert files(workshop) == ["anna-cb.safetensors", "ben-cb.safetensors"]
    anna, ben = (e.vectors["clip_l"] for e in saved.embeddings)
    assert not np.allclose(anna, ben)


def test_the_old_format_is_written_beside_the_new_one(workshop: Workshop) -> None:
    *_, saved = train_people(workshop, order(also_pt=True))
    assert isinstance(saved, Saved)
    assert files(workshop) == ["anna-cb.pt", "anna-cb.safetensors"]
    old = load_embedding(saved.paths[0].with_suffix(".pt"))
    assert np.array_equal(old.vectors["clip_l"], saved.embeddings[0].vectors["clip_l"])
    assert (old.metadata["step"], old.metadata["sd_checkpoint_name"]) == ("6", "tiny")


def test_a_name_that_is_a_word_of_the_checkpoint_is_refused_before_any_work(workshop: Workshop) -> None:
    with pytest.raises(InvalidName, match="ordinary word"):
        next(train_people(workshop, order(names=("fa",))))


def test_a_damaged_resume_file_is_refused_and_kept(workshop: Workshop) -> None:
    path = workshop.host.embeddings_dir / "anna-cb.resume"
    path.parent.mkdir()
    path.write_bytes(b"half a file")
    with pytest.raises(InvalidSettings, match="is damaged"):
        next(train_people(workshop, order(resume=True)))
    assert path.read_bytes() == b"half a file"


def test_given_words_replace_the_describer(workshop: Workshop) -> None:
    prepared = next(train_people(workshop, order(descriptions=(("wearing a hat",),))))
    assert isinstance(prepared, Prepared)
    assert prepared.subjects[0].description == ("wearing a hat",)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"names": ("../x",)}, InvalidName),
        ({"names": ("a-cb", "b-cb")}, InvalidSettings),
        ({"photos": (), "names": ()}, InvalidSettings),
        ({"photos": (PHOTO, PHOTO), "names": ("a-cb", "A-CB")}, InvalidName),
        ({"photos": (np.zeros_like(PHOTO),)}, NoFaceFound),
        ({"face": 3}, InvalidSettings),
    ],
)
def test_bad_orders_write_nothing(workshop: Workshop, changes: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        list(train_people(workshop, order(**changes)))
    assert files(workshop) == []


def test_a_taken_name_is_found_before_any_work(workshop: Workshop) -> None:
    list(train_people(workshop, order()))
    with pytest.raises(NameTaken):
        next(train_people(workshop, order()))


def test_too_few_names(workshop: Workshop) -> None:
    with pytest.raises(TooFewNames):
        list(train_people(dataclasses.replace(workshop, names=NAMES[:2]), order()))


class Greedy(TinyDenoiser):
    """Wants more memory than any computer has, from the third step on."""

    steps = 0

    def predict(self, x_t: Tensor, timesteps: Tensor, conditioning: Tensor) -> Tensor:
        self.steps += 1
        if self.steps > 3:
            torch.empty(1 << 50)
        return super().predict(x_t, timesteps, conditioning)


def test_out_of_memory_says_so_and_leaves_a_run_to_resume(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    host = workshop.host
    monkeypatch.setattr(host, "training", lambda: nullcontext(Greedy()))
    events: list[Event] = []
    with pytest.raises(OutOfMemory, match="not enough memory") as caught:
        events.extend(train_people(workshop, order()))
    assert "smaller batch" in caught.value.hint
    assert files(workshop) == ["anna-cb.resume"]
    monkeypatch.undo()
    *_, saved = train_people(workshop, order(resume=True))
    assert isinstance(saved, Saved) and saved.finished


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
