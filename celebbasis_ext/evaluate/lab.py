"""The lab: strangers are inserted from one portrait each, and what comes out is measured against drawn truth.

likeness   0 for impostors, 1 for celebrities whom the checkpoint knows by name (the judge's traits, cosine)
obedience  prompts that are followed, relative to those celebrities
leak       how often a plain prompt shows the portrait's own attribute; 0 is chance, 1 is always
norm       of the word vectors, relative to real names
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from celebbasis_ext.basis import word_vectors
from celebbasis_ext.encoder_job import with_encoder
from celebbasis_ext.evaluate.baselines import Inserted, Method, Task
from celebbasis_ext.jobs import basis_of, one_person, prepare_photo
from celebbasis_ext.lora import applied
from celebbasis_ext.miniature.drawing import Look, draw, random_look
from celebbasis_ext.miniature.people import Person, celebrities, strangers
from celebbasis_ext.miniature.workshop import Assets, open_judge, open_workshop
from celebbasis_ext.types import Embedding, Floats, Image, Subject

if TYPE_CHECKING:
    from celebbasis_ext.types import CelebBasis

TRIGGER = "lab-cb"
PLAIN = ("a photo of {}",) * 4
# Prompt, field of `Look`, value that obeys.
OBEDIENCE: tuple[tuple[str, str, object], ...] = (
    ("a photo of {}, red background", "background", "red"),
    ("a photo of {}, blue background", "background", "blue"),
    ("a photo of {}, at the beach", "background", "beach"),
    ("a photo of {}, at night", "background", "night"),
    ("a photo of {}, wearing a purple hat", "hat", "purple"),
    ("a photo of {}, wearing a yellow hat", "hat", "yellow"),
    ("a photo of {}, with glasses", "glasses", True),
    ("a photo of {}, in a green shirt", "shirt", "green"),
    ("a photo of {}, in a white shirt", "shirt", "white"),
    ("a photo of {}, smiling", "expression", "smiling"),
    ("a photo of {}, sad", "expression", "sad"),
    ("a photo of {}, surprised", "expression", "surprised"),
    ("a photo of {}, neutral expression", "expression", "neutral"),
    ("a sketch of {}", "style", "sketch"),
)
PROMPTS = (*PLAIN, *(prompt for prompt, _, _ in OBEDIENCE))
LEAKS = ("background", "shirt", "hat", "glasses", "expression")
SAMPLER_STEPS = 10
ALBUM = 4


@dataclass(frozen=True)
class Case:
    """A stranger with one portrait, that and three more, and how the judge sees them in other drawings."""

    person: Person
    look: Look
    portrait: Image
    subject: Subject
    album: Subject
    reference: Floats


@dataclass(frozen=True)
class Seen:
    """What the judge sees in one person's pictures.

    Attributes:
        traits: [prompts, 16].
        looks: One for each prompt.
    """

    traits: Floats
    looks: tuple[Mapping[str, object], ...]

    def likeness(self, reference: Floats) -> float:
        """Mean cosine to a person's reference, over all pictures but the sketch."""
        traits = self.traits[: len(PROMPTS) - 1]
        norms = np.linalg.norm(traits, axis=1) * np.linalg.norm(reference)
        return float((traits @ reference / norms).mean())

    def obeyed(self) -> Floats:
        """[obedience prompts] 1 where the picture shows what was asked for."""
        looks = self.looks[len(PLAIN) :]
        return np.array(
            [look[field] == value for look, (_, field, value) in zip(looks, OBEDIENCE, strict=True)], np.float32
        )

    def shown(self, field: str, value: object) -> float:
        """Share of the plain pictures that show a value."""
        return float(np.mean([look[field] == value for look in self.looks[: len(PLAIN)]]))


class Lab:
    """People, portraits, judge and checkpoint for one seed.

    Args:
        people: How many strangers.
        seed: Which ones; also seeds noise and training.
        assets: The miniature.
        folder: For scratch files.
    """

    def __init__(self, people: int, seed: int, folder: Path, assets: Assets | None = None) -> None:
        assets = assets or Assets()
        self.seed = seed
        self.workshop = with_encoder(open_workshop(folder / "embeddings", assets))
        self.judge = open_judge(assets)
        self.basis: CelebBasis = basis_of(self.workshop)
        self.cases = tuple(self._case(i, person) for i, person in enumerate(strangers(people, seed)))

    def _case(self, index: int, person: Person) -> Case:
        rng = np.random.default_rng((13, self.seed, index))
        look = dataclasses.replace(random_look(rng), style="photo")
        portrait = draw(person, look).image
        subject = prepare_photo(self.workshop, portrait, TRIGGER)
        return Case(person, look, portrait, subject, self._album(index, person, subject), self._reference(rng, person))

    def _album(self, index: int, person: Person, first: Subject) -> Subject:
        rng = np.random.default_rng((19, self.seed, index))
        looks = [dataclasses.replace(random_look(rng), style="photo") for _ in range(ALBUM - 1)]
        others = [prepare_photo(self.workshop, draw(person, look).image, TRIGGER) for look in looks]
        return one_person([first, *others])

    def portrait_of(self, person: Person, rng: np.random.Generator) -> Floats:
        """[I] identity vector from one portrait in any look."""
        look = dataclasses.replace(random_look(rng), style="photo")
        return prepare_photo(self.workshop, draw(person, look).image, TRIGGER, description=()).identity

    def _reference(self, rng: np.random.Generator, person: Person) -> Floats:
        looks = [dataclasses.replace(random_look(rng), style="photo") for _ in range(8)]
        traits, _ = self.judge.read([draw(person, look).image for look in looks])
        assert traits is not None  # the judge reads identities
        return np.asarray(traits.mean(axis=0), np.float32)

    def pictures(self, index: int, name: str, embeddings: Sequence[Embedding] = ()) -> list[Image]:
        """One picture for each of `PROMPTS`; the same noise for every method."""
        prompts = [prompt.format(name) for prompt in PROMPTS]
        seeds = [(self.seed * 1000 + index) * 100 + i for i in range(len(prompts))]
        return self.workshop.host.generate(prompts, seeds, embeddings, steps=SAMPLER_STEPS)

    def look_at(self, images: Sequence[Image]) -> Seen:
        traits, looks = self.judge.read(list(images))
        assert traits is not None  # the judge reads identities
        return Seen(traits, tuple(looks))

    @cached_property
    def known(self) -> tuple[tuple[Seen, ...], tuple[Floats, ...], list[list[Image]]]:
        """As many celebrities, drawn by name: what was seen, their references, the pictures."""
        rng = np.random.default_rng((17, self.seed))
        chosen = [celebrities()[i] for i in rng.choice(len(celebrities()), len(self.cases), replace=False)]
        images = [self.pictures(i, person.name) for i, person in enumerate(chosen)]
        references = tuple(self._reference(rng, person) for person in chosen)
        return tuple(self.look_at(i) for i in images), references, images

    def scale(self) -> tuple[float, float, float]:
        """(impostors' likeness, celebrities' likeness, celebrities' obedience)."""
        seen, references, _ = self.known
        own = np.mean([s.likeness(r) for s, r in zip(seen, references, strict=True)])
        others = np.mean([s.likeness(c.reference) for s in seen for c in self.cases])
        return float(others), float(own), float(np.mean([s.obeyed().mean() for s in seen]))


@dataclass(frozen=True)
class Measured:
    """One method on all people: {figure: [people]}; nan where a figure does not apply to somebody."""

    figures: dict[str, Floats]
    images: list[list[Image]]
    inserted: tuple[Inserted, ...] = ()

    def summary(self) -> dict[str, dict[str, float]]:
        """{figure: {"mean": , "se": }} over people."""
        return {name: mean_and_error(values) for name, values in self.figures.items()}


def mean_and_error(values: Floats) -> dict[str, float]:
    """Mean and its standard error over those to whom the figure applies."""
    valid = np.asarray(values, np.float64)
    valid = valid[np.isfinite(valid)]
    if not len(valid):
        return {"mean": float("nan"), "se": float("nan")}
    spread = float(valid.std(ddof=1)) if len(valid) > 1 else 0.0
    return {"mean": round(float(valid.mean()), 4), "se": round(spread / len(valid) ** 0.5, 4)}


def measure(
    lab: Lab, method: Method, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Measured]:
    """Inserts everybody by one method, which may give several variants (stops, starts)."""
    inserted: dict[str, list[Inserted]] = {}
    with lab.workshop.host.training() as denoiser:
        for i, case in enumerate(lab.cases):
            task = Task(denoiser, lab.basis, lab.workshop, case.subject, case.album, lab.seed * 1000 + i)
            for variant in method(task):
                inserted.setdefault(variant.variant, []).append(variant)
            progress(i + 1, len(lab.cases))
    return {name: _measured(lab, people) for name, people in inserted.items()}


def _measured(lab: Lab, inserted: Sequence[Inserted]) -> Measured:
    images = [_drawn(lab, i, person) for i, person in enumerate(inserted)]
    seen = [lab.look_at(own) for own in images]
    impostor, known, obedience = lab.scale()
    likeness = np.array([s.likeness(c.reference) for s, c in zip(seen, lab.cases, strict=True)])
    figures: dict[str, Floats] = {
        "likeness": np.asarray((likeness - impostor) / (known - impostor), np.float32),
        "obedience": np.array([s.obeyed().mean() for s in seen], np.float32) / obedience,
        **leaks(lab.cases, seen),
        "norm": np.array([_relative_norm(lab.basis, person) for person in inserted]),
        "seconds": np.array([person.seconds for person in inserted]),
    }
    if all(np.isfinite(person.expected) for person in inserted):
        figures["expected"] = np.array([person.expected for person in inserted])
    return Measured(figures, images, tuple(inserted))


def _drawn(lab: Lab, index: int, person: Inserted) -> list[Image]:
    with drawing_with(lab, person):
        return lab.pictures(index, TRIGGER, [Embedding(TRIGGER, person.vectors)])


def drawing_with(lab: Lab, person: Inserted) -> AbstractContextManager[None]:
    """The checkpoint has the person's LoRA meanwhile, where there is one."""
    loras = [] if person.lora is None else [(person.lora, 1.0)]
    return applied(lab.workshop.host.cross_attention(), loras)


def leaks(cases: Sequence[Case], seen: Sequence[Seen]) -> dict[str, Floats]:
    """Each attribute's leak per person, and their mean over the attributes that a person's portrait has."""
    found = {f"leak_{field}": np.array([_leak(cases, seen, i, field) for i in range(len(cases))]) for field in LEAKS}
    return {"leak": np.nanmean(np.stack(list(found.values())), axis=0), **found}


def _leak(cases: Sequence[Case], seen: Sequence[Seen], index: int, field: str) -> float:
    """(own - chance) / (1 - chance); chance comes from pictures of the other inserted people.

    NaN where the portrait has no such thing; 0 where all the others' pictures show it, so that no leak could be seen.
    """
    value = getattr(cases[index].look, field)
    if value in ("none", False):
        return float("nan")
    chance = np.mean([s.shown(field, value) for j, s in enumerate(seen) if j != index]) if len(seen) > 1 else 0.0
    return float((seen[index].shown(field, value) - chance) / (1 - chance)) if chance < 1 else 0.0


def _relative_norm(basis: CelebBasis, person: Inserted) -> float:
    names = word_vectors(basis, basis.coefficients)
    ratios = [
        np.linalg.norm(v, axis=-1).mean() / np.linalg.norm(names[e], axis=-1).mean() for e, v in person.vectors.items()
    ]
    return float(np.mean(ratios))
