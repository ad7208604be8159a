"""What the lab compares: our recipe, the paper's, and plain Textual Inversion, all on the same budget.

The budget is the number of noisy pictures that the UNet sees: steps x batch of the default recipe.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from celebbasis_ext.basis import word_vectors
from celebbasis_ext.encoder import understand
from celebbasis_ext.jobs import Workshop, encoder_of
from celebbasis_ext.recipes import RECIPES
from celebbasis_ext.types import CelebBasis, Floats, Lora, LoraConfig, Subject, TrainConfig

if TYPE_CHECKING:
    from celebbasis_ext.hosts.base import Denoiser, Host


@dataclass(frozen=True)
class Inserted:
    """A person as word vectors.

    Attributes:
        variant: Which variant of a method; empty where there is one.
        vectors: {encoder: [T, D]}.
        seconds: Of training.
        lora: Their own; None where the words are all.
        expected: Likeness that an encoder foretold, as the recogniser's cosine; nan where none was asked.
    """

    variant: str
    vectors: Mapping[str, Floats]
    seconds: float
    lora: Lora | None = None
    expected: float = float("nan")


@dataclass(frozen=True)
class Task:
    """Somebody to insert, and what with.

    Attributes:
        denoiser: The checkpoint, to differentiate through.
        basis: Its basis.
        workshop: Host, faces, and the encoder.
        subject: The person, from one portrait.
        album: The same person from four portraits, that one among them.
        seed: Of all chance.
    """

    denoiser: Denoiser
    basis: CelebBasis
    workshop: Workshop
    subject: Subject
    album: Subject
    seed: int


Method = Callable[[Task], Iterator[Inserted]]


def budget() -> int:
    default = RECIPES["default"]
    return default.steps * default.batch


def with_config(config: TrainConfig) -> Method:
    """A celeb-basis method from its settings."""

    def insert(task: Task) -> Iterator[Inserted]:
        yield from _stops(task, task.basis, dataclasses.replace(config, seed=task.seed), {config.steps: ""})

    return insert


def paper(task: Task) -> Iterator[Inserted]:
    """The paper's recipe as published, stopped at our budget."""
    recipe = RECIPES["paper"]
    yield from with_config(dataclasses.replace(recipe, steps=budget() // recipe.batch))(task)


def instant(task: Task) -> Iterator[Inserted]:
    """The encoder's answer, from one portrait and from four; nothing is trained."""
    encoder = encoder_of(task.workshop, task.basis)
    for variant, subject in {"instant": task.subject, "instant, 4 photos": task.album}.items():
        started = time.perf_counter()
        person = understand(encoder, subject.identity)
        vectors = word_vectors(task.basis, person.coefficients)
        seconds = time.perf_counter() - started
        yield Inserted(variant, vectors, seconds, expected=person.expected_likeness)


def warm_album(task: Task) -> Iterator[Inserted]:
    """Training from the encoder's answer, with four portraits."""
    yield from with_config(RECIPES["warm"])(dataclasses.replace(task, subject=task.album))


def with_lora(task: Task) -> Iterator[Inserted]:
    """Training from the encoder's answer, alone and with the person's LoRA on top."""
    from celebbasis_ext.lora_training import Known, LoraTraining

    recipe = dataclasses.replace(RECIPES["warm"], seed=task.seed)
    (alone,) = _stops(task, task.basis, recipe, {recipe.steps: "warm"})
    yield alone
    started = time.perf_counter()
    linears, people = task.workshop.host.cross_attention(), [Known(task.subject, alone.vectors)]
    training = LoraTraining(task.denoiser, linears, people, task.basis.names, recipe, LoraConfig())
    for _ in training:
        pass
    seconds = alone.seconds + time.perf_counter() - started
    yield Inserted("warm with LoRA", alone.vectors, seconds, training.stored(task.subject.name))


def textual_inversion(task: Task) -> Iterator[Inserted]:
    """Two free vectors (Gal et al. 2022) from two starts, each stopped early and at the full budget.

    Free vectors are coefficients over the identity matrix, so that the same loop trains them.
    """
    full = budget() // 4
    for start, mean in _starts(task.basis, task.workshop.host).items():
        config = TrainConfig(
            steps=full, batch=4, learning_rate=5e-3, decay=False, learn="coefficients", optimiser="adam", radius="free",
            whiten=False,
            average=0.0, face_mask=False, explain=False, templates="plain", views=2, zoom=0.0, flip=True,
            seed=task.seed,
        )  # fmt: skip
        names = {full // 2: f"textual_inversion from {start}, early", full: f"textual_inversion from {start}, full"}
        yield from _stops(task, _free_basis(task.basis, mean), config, names)


def _starts(basis: CelebBasis, host: Host) -> dict[str, Mapping[str, Floats]]:
    tokens = basis.shape[0]
    word = host.tokenize("person")[0]
    person = {encoder: np.repeat(table[word][None], tokens, axis=0) for encoder, table in host.token_tables().items()}
    return {"person": person, "mean": basis.mean}


def _free_basis(basis: CelebBasis, mean: Mapping[str, Floats]) -> CelebBasis:
    """A basis whose coefficients are the word vectors themselves, less the start."""
    tokens = basis.shape[0]
    width = sum(v.shape[-1] for v in mean.values())
    components, offset = {}, 0
    for encoder, start in mean.items():
        rows = np.zeros((tokens, width, start.shape[-1]), np.float32)
        rows[:, offset : offset + start.shape[-1]] = np.eye(start.shape[-1], dtype=np.float32)
        components[encoder], offset = rows, offset + start.shape[-1]
    ones = np.ones((tokens, width), np.float32)
    nobody = np.zeros((0, tokens, width), np.float32)
    return CelebBasis(mean, components, ones, np.ones(tokens, np.float32), nobody, (), "")


def _stops(task: Task, basis: CelebBasis, config: TrainConfig, names: Mapping[int, str]) -> Iterator[Inserted]:
    """Trains once and yields the person at each of the given steps."""
    from celebbasis_ext.train import Training

    encoder = encoder_of(task.workshop, basis) if config.start == "encoder" else None
    started = time.perf_counter()
    for done in Training(task.denoiser, basis, (task.subject,), config, encoder=encoder):
        if done.step in names:
            yield Inserted(names[done.step], word_vectors(basis, done.coefficients[0]), time.perf_counter() - started)


METHODS: dict[str, Method] = {
    "celeb_basis": with_config(RECIPES["default"]),
    "instant": instant,
    "warm": with_config(RECIPES["warm"]),
    "warm_4": warm_album,
    "lora": with_lora,
    "paper": paper,
    "textual_inversion": textual_inversion,
}
