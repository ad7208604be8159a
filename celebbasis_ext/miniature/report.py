"""Is the miniature good enough to judge with? Names, prompts, autoencoder, judge: figures and a sheet of samples."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.miniature.captions import background_words
from celebbasis_ext.miniature.drawing import BACKGROUNDS, COLOURS, EXPRESSIONS, Look, draw, random_look
from celebbasis_ext.miniature.people import NAMES_PER_COLUMN, Person, celebrities, pairings, person_of, strangers
from celebbasis_ext.miniature.train_vae import through_vae
from celebbasis_ext.miniature.workshop import Assets, open_judge, open_workshop
from celebbasis_ext.types import Floats, Image

if TYPE_CHECKING:
    from celebbasis_ext.hosts.standalone import StandaloneHost
    from celebbasis_ext.miniature.tagger import LookReader

CANDIDATES = 50
BATCH = 25


def attribute_prompts() -> dict[str, list[tuple[str, object]]]:
    """{field of `Look`: [(prompt, value that obeys)]}: every value that the world has."""
    return {
        "background": [(f"a photo of {{}}, {background_words(b)[0]}", b) for b in BACKGROUNDS],
        "hat": [(f"a photo of {{}}, wearing a {colour} hat", colour) for colour in COLOURS],
        "shirt": [(f"a photo of {{}}, in a {colour} shirt", colour) for colour in COLOURS],
        "expression": [
            (f"a photo of {{}}, {words}", e)
            for e, words in zip(EXPRESSIONS, ("neutral expression", "smiling", "sad", "surprised"), strict=True)
        ],
        "glasses": [("a photo of {}, with glasses", True)],
        "style": [("a sketch of {}", "sketch")],
    }


class Examination:
    """Draws with the checkpoint and lets the judge look."""

    def __init__(self, host: StandaloneHost, judge: LookReader, seed: int = 5) -> None:
        self.host, self.judge, self.seed = host, judge, seed
        rng = np.random.default_rng((19, seed))
        self.people = tuple(celebrities()[i] for i in rng.choice(len(celebrities()), CANDIDATES, replace=False))
        self.references = np.stack([self.reference(person) for person in self.people])

    def reference(self, person: Person) -> Floats:
        """[16] the judge's traits in eight drawings."""
        rng = np.random.default_rng((23, self.seed))
        looks = [dataclasses.replace(random_look(rng), style="photo") for _ in range(8)]
        return np.asarray(self.traits([draw(person, look).image for look in looks]).mean(axis=0), np.float32)

    def traits(self, images: Sequence[Image]) -> Floats:
        traits, _ = self.judge.read(list(images))
        assert traits is not None  # the judge reads identities
        return traits

    def pictures(self, prompts: Sequence[str]) -> list[Image]:
        out: list[Image] = []
        for start in range(0, len(prompts), BATCH):
            part = prompts[start : start + BATCH]
            out += self.host.generate(part, [self.seed * 10_000 + start + i for i in range(len(part))])
        return out

    def likeness(self, pictures: Sequence[Sequence[Image]], references: Floats) -> dict[str, float]:
        """Cosine to the right person, to the wrong ones, and how often the right one is the nearest of all."""
        vectors = np.stack([self.traits(own).mean(axis=0) for own in pictures])
        single = np.stack([self.traits([own[0]])[0] for own in pictures])
        cosines = _unit(single) @ _unit(references).T
        wrong = cosines[~np.eye(len(cosines), dtype=bool)]
        return {
            "right": float(np.diag(_unit(vectors) @ _unit(references).T).mean()),
            "right_single": float(np.diag(cosines).mean()),
            "wrong": float(wrong.mean()),
            "nearest": float((cosines.argmax(axis=1) == np.arange(len(cosines))).mean()),
        }

    def known_names(self) -> dict[str, float]:
        pictures = [self.pictures([f"a photo of {p.name}"] * 2) for p in self.people]
        return self.likeness(pictures, self.references)

    def drawings_through_vae(self) -> dict[str, float]:
        rng = np.random.default_rng((29, self.seed))
        drawn = [
            [draw(p, dataclasses.replace(random_look(rng), style="photo")).image for _ in range(2)] for p in self.people
        ]
        vae = self.host.pipeline.vae
        return self.likeness([list(through_vae(vae, np.stack(own))) for own in drawn], self.references)

    def unseen_names(self) -> dict[str, float]:
        """Combinations of known first and last names that were never taught together."""
        rng, taught = np.random.default_rng((31, self.seed)), set(pairings())
        pairs = [tuple(int(x) for x in rng.integers(NAMES_PER_COLUMN, size=2)) for _ in range(CANDIDATES)]
        people = [person_of(*pair) for pair in pairs if pair not in taught]
        pictures = [self.pictures([f"a photo of {p.name}"] * 2) for p in people]
        return self.likeness(pictures, np.stack([self.reference(p) for p in people]))

    def obedience(self, repeats: int = 4) -> dict[str, float]:
        """Share of prompts followed, for each field."""
        out = {}
        for field, prompts in attribute_prompts().items():
            count = max(repeats, 24 // len(prompts))
            asked = [
                (p.format(self.people[(i * 7 + j) % CANDIDATES].name), v)
                for j, (p, v) in enumerate(prompts)
                for i in range(count)
            ]
            _, looks = self.judge.read(self.pictures([prompt for prompt, _ in asked]))
            out[field] = float(np.mean([look[field] == value for look, (_, value) in zip(looks, asked, strict=True)]))
        return out


def judge_on_drawings(judge: LookReader, people: int = 300) -> dict[str, float]:
    """How often the judge reads drawn truth right, on strangers of its own; pencil has no colours to read."""
    rng = np.random.default_rng(37)
    looks_drawn = [
        dataclasses.replace(random_look(rng), style="sketch" if i % 8 == 0 else "photo") for i in range(people)
    ]
    drawings = [draw(person, look) for person, look in zip(strangers(people, 77_777), looks_drawn, strict=True)]
    traits, looks = judge.read([d.image for d in drawings])
    assert traits is not None  # the judge reads identities
    style = [look["style"] == d.look.style for look, d in zip(looks, drawings, strict=True)]
    photos = [i for i, d in enumerate(drawings) if d.look.style == "photo"]
    fields = {f: float(np.mean([looks[i][f] == getattr(drawings[i].look, f) for i in photos])) for f in looks[0]}
    error = traits[photos] - np.stack([drawings[i].people[0].identity for i in photos])
    return {**fields, "style": float(np.mean(style)), "traits_rmse": float(np.sqrt((error**2).mean()))}


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def examine(assets: Assets) -> dict[str, Any]:
    """All figures of the miniature, rounded."""
    workshop = open_workshop(Path("embeddings"), assets)
    judge = open_judge(assets)
    examination = Examination(workshop.host, judge)  # type: ignore[arg-type]
    report: dict[str, Any] = {
        "judge_on_drawings": judge_on_drawings(judge),
        "drawings_through_vae": examination.drawings_through_vae(),
        "known_names": examination.known_names(),
        "unseen_names": examination.unseen_names(),
        "obedience": examination.obedience(),
    }
    return {part: {name: round(value, 4) for name, value in figures.items()} for part, figures in report.items()}


def write_report(assets: Assets) -> None:
    """`assets/quality.json` and `assets/samples.png`."""
    report = examine(assets)
    print(json.dumps(report, indent=1))
    with replacing(assets.folder / "quality.json") as unfinished:
        unfinished.write_text(json.dumps(report, indent=1), encoding="utf-8")
    write_samples(assets)


def write_samples(assets: Assets) -> None:
    """A row for each of eight celebrities: one drawing, then what the checkpoint draws for a name and a prompt."""
    from celebbasis_ext.evaluate.sheets import SheetRow, contact_sheet, save_png
    from celebbasis_ext.miniature.demo import PROMPTS

    host = open_workshop(Path("embeddings"), assets).host
    rows = []
    for i, person in enumerate(celebrities()[13::80]):
        pictures = host.generate(
            [prompt.format(person.name) for prompt in PROMPTS], [i * 100 + k for k in range(len(PROMPTS))]
        )
        rows.append(SheetRow(person.name, "", (draw(person, Look()).image, *pictures)))
    pairs = [
        f"a photo of {a.name} and {b.name}" for a, b in zip(celebrities()[5::64], celebrities()[40::64], strict=False)
    ]
    rows.append(
        SheetRow("two people", "", tuple(host.generate(pairs[: len(PROMPTS) + 1], list(range(len(PROMPTS) + 1)))))
    )
    columns = ["drawing", *(prompt.replace("{}", "…") for prompt in PROMPTS)]
    save_png(
        contact_sheet(rows, columns, "The miniature: what its checkpoint draws for a name and a prompt"),
        assets.folder / "samples.png",
    )
