"""Encoders: gallery -> pairs -> encoder, checked with people who do not exist -> file; photos -> encoder -> people.

Learned once for a checkpoint. From then on somebody new takes as long as it takes to find the face.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from celebbasis_ext.basis import word_vectors
from celebbasis_ext.encoder import (
    agreement,
    answers,
    learn_encoder,
    pairs_of,
    understand,
    with_sureness,
)
from celebbasis_ext.errors import WrongEncoder
from celebbasis_ext.faces.base import identities_in
from celebbasis_ext.files.encoder import load_encoder, save_encoder
from celebbasis_ext.files.folders import cache_dir
from celebbasis_ext.gallery import PROMPTS, STEPS, same_checkpoint
from celebbasis_ext.jobs import Order, Workshop, basis_of, encoder_of, prepare
from celebbasis_ext.person import save_person
from celebbasis_ext.types import CelebBasis, Embedding, Encoder, Floats, Gallery, Saved, Subject, Understood

SHIPPED = Path(__file__).parent / "data" / "encoders"
CHECKED = 60
"""People who are made up, drawn, understood, and drawn again."""
PICTURES = 3
"""Of each of them, besides the portrait."""
UNDERSTOOD = "understood from a photo of a face by an encoder, without training"
_NOBODY = "nobody-cb"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checked:
    """One of the made-up people was looked at.

    Attributes:
        done: So many so far.
        total: So many in all.
        seconds_left: Estimated.
    """

    done: int
    total: int
    seconds_left: float = 0.0


def encoder_path(workshop: Workshop, folder: Path | None = None) -> Path:
    """Where the encoder of this checkpoint and these face models is kept; in the cache if no folder is named."""
    faces = hashlib.sha256(workshop.faces.name.encode()).hexdigest()[:8]
    checkpoint = hashlib.sha256(workshop.host.checkpoint.key.encode()).hexdigest()[:12]
    return (folder or cache_dir() / "encoders") / f"encoder-{checkpoint}-{faces}.safetensors"


def with_encoder(workshop: Workshop) -> Workshop:
    """The workshop with the encoder that was learned for it, or that came with us; as it is where there is none.

    A file that cannot be read is as good as none, with a word to the log: training goes on without.
    """
    for path in (encoder_path(workshop), encoder_path(workshop, SHIPPED)):
        if path.exists():
            try:
                return dataclasses.replace(workshop, encoder=_read(path, path.stat().st_mtime_ns))
            except WrongEncoder as error:
                _log.warning("%s", error)
    return workshop


@lru_cache(maxsize=2)
def _read(path: Path, changed: int) -> Encoder:
    """A file, which is read again when it has changed."""
    return load_encoder(path)


def teach_encoder(
    workshop: Workshop, gallery: Gallery, path: Path | None = None, checked: int = CHECKED,
    stop: Callable[[], bool] = lambda: False, rest: Callable[[], Workshop] | None = None,
) -> Iterator[Checked | Encoder]:  # fmt: skip
    """Learns an encoder from a gallery and keeps it; yields a `Checked` for every made-up person, then the encoder.

    Where `stop` turns true the encoder is kept unless too few were looked at to say how sure it is.

    Args:
        workshop: Who drew the gallery.
        gallery: See `gallery.gather`.
        path: The file; None for the cache.
        checked: How many people to make up.
        stop: Asked before each of them.
        rest: As in `gallery.gather`, called between two of them.

    Raises:
        TooFewNames: See `pairs_of`.
        CheckpointChanged: After a rest another checkpoint is loaded.
        CannotWrite: See `save_encoder`.
    """
    basis = basis_of(workshop)
    facts = {"gallery": gallery.fingerprint, "checkpoint": workshop.host.checkpoint.name}
    pairs = pairs_of(gallery, basis)
    encoder = learn_encoder(pairs, basis, workshop.host.checkpoint, workshop.faces.name, facts)
    seen: list[tuple[float, float]] = []
    started = time.perf_counter()
    for seed in range(checked):
        if seed and rest:
            workshop = same_checkpoint(workshop.host.checkpoint, rest())
        if stop():
            break
        somebody = _looked_at(workshop, basis, encoder, seed)
        seen += [somebody] if somebody else []
        left = (time.perf_counter() - started) / (seed + 1) * (checked - seed - 1)
        yield Checked(seed + 1, checked, left)
    if len(seen) >= checked // 2 > 3:
        foretold, likeness = np.array(seen, np.float32).T
        encoder = with_sureness(encoder, foretold, likeness)
    save_encoder(encoder, path or encoder_path(workshop))
    yield encoder


def _looked_at(workshop: Workshop, basis: CelebBasis, encoder: Encoder, seed: int) -> tuple[float, float] | None:
    """Somebody made up: a portrait, what it foretells, and how like it the pictures are; None without a face."""
    rng = np.random.default_rng(seed)
    columns = rng.integers(len(basis.names), size=basis.shape[0])
    somebody = basis.coefficients[columns, np.arange(basis.shape[0])]
    portrait = _drawn(workshop, basis, somebody, [PROMPTS[seed % len(PROMPTS)]], seed)
    if not portrait:
        return None
    coefficients = answers(encoder, portrait[0][None])
    foretold = float(agreement(encoder, portrait[0][None], coefficients)[0])
    pictures = _drawn(workshop, basis, coefficients[0], PROMPTS[:1] * PICTURES, seed + 1)
    if not pictures:
        return None
    return foretold, float(np.mean([identity @ portrait[0] for identity in pictures]))


def _drawn(workshop: Workshop, basis: CelebBasis, person: Floats, prompts: Sequence[str], seed: int) -> list[Floats]:
    """Identity vectors of the faces in pictures of a person [T, K]."""
    embedding = Embedding(_NOBODY, word_vectors(basis, person))
    seeds = [seed * 1000 + i for i in range(len(prompts))]
    asked = [prompt.format(_NOBODY) for prompt in prompts]
    return identities_in(workshop.faces, workshop.host.generate(asked, seeds, [embedding], STEPS))


def insert_people(workshop: Workshop, order: Order) -> tuple[Saved, tuple[Subject, ...], tuple[Understood, ...]]:
    """Writes people as the encoder understands them, at once. Of the order's training nothing is used.

    Raises:
        WrongEncoder: There is none for this checkpoint, or it belongs to another.
        CelebBasisError: Whatever is wrong with photos and names; nothing is written then.
    """
    basis = basis_of(workshop)
    encoder = encoder_of(workshop, basis)
    wordless = dataclasses.replace(order, descriptions=((),) * len(order.photos))
    subjects = prepare(workshop, wordless)
    people = tuple(understand(encoder, subject.identity) for subject in subjects)
    saved = [
        save_person(
            workshop.host, basis, subject.name, person.coefficients, _facts(workshop, subject, person),
            origin=UNDERSTOOD, overwrite=order.overwrite, also_pt=order.also_pt,
        )
        for subject, person in zip(subjects, people, strict=True)
    ]  # fmt: skip
    embeddings, paths = zip(*saved, strict=True)
    return Saved(embeddings, paths, finished=True), subjects, people


def _facts(workshop: Workshop, subject: Subject, person: Understood) -> dict[str, object]:
    return {
        "photos": 1 + len(subject.more),
        "faces": workshop.faces.name,
        "expected_likeness": None if np.isnan(person.expected_likeness) else round(person.expected_likeness, 4),
    }
