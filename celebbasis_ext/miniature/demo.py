"""The main job on one screen: a drawn stranger is learned from one portrait and drawn again in new scenes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from celebbasis_ext.encoder_job import with_encoder
from celebbasis_ext.evaluate.score import score_pictures
from celebbasis_ext.evaluate.sheets import SheetRow, contact_sheet, save_png
from celebbasis_ext.faces.base import find_face
from celebbasis_ext.files.embedding import load_embedding
from celebbasis_ext.jobs import Order, add_scores
from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import celebrities
from celebbasis_ext.miniature.portraits import draw_stranger
from celebbasis_ext.miniature.workshop import open_workshop
from celebbasis_ext.recipes import RECIPES, recommended
from celebbasis_ext.types import Embedding, Image, Saved, Scores

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop

NAME = "stranger-cb"
PROMPTS = (
    "a photo of {}", "a photo of {}, red background", "a photo of {}, at the beach", "a photo of {}, at night",
    "a photo of {}, wearing a purple hat", "a photo of {}, with glasses", "a photo of {}, smiling",
    "a photo of {}, surprised", "a sketch of {}",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """Somebody on the sheet: pictures under all prompts, and how like the portrait they are."""

    title: str
    pictures: tuple[Image, ...]
    scores: Scores


def run_demo(folder: Path, seed: int, train: Callable[[Workshop, Order], Saved]) -> None:
    """Draws, trains, loads the file again, generates, scores, and writes `contact-sheet.png`.

    Args:
        folder: Where portrait, embedding and sheet go.
        seed: Which stranger.
        train: Runs an order and shows its progress.
    """
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    portrait = draw_stranger(seed)
    save_png(portrait, folder / "portrait.png")
    workshop = with_encoder(open_workshop(folder / "embeddings"))
    recipe = RECIPES[recommended(workshop.encoder is not None)]
    saved = train(workshop, Order((portrait,), (NAME,), recipe, overwrite=True))
    embedding = load_embedding(saved.paths[0])
    rows = _shown(workshop, portrait, embedding)
    add_scores(saved.paths[0], rows[0].scores, rows[0].pictures[0])
    sheet = folder / "contact-sheet.png"
    save_png(_sheet(portrait, rows), sheet)
    _report(rows, sheet, saved.paths[0], time.perf_counter() - started)


def _shown(workshop: Workshop, portrait: Image, embedding: Embedding) -> tuple[Shown, ...]:
    """The person, a celebrity by name, and an impostor: the same prompts and the same noise."""
    identity = find_face(workshop.faces, portrait).identity
    known, impostor = celebrities()[37].name, celebrities()[400].name
    chance = _pictures(workshop, impostor, ())
    own = _pictures(workshop, embedding.name, (embedding,))
    famous = _pictures(workshop, known, ())
    return (
        Shown(embedding.name, own, score_pictures(workshop.faces, identity, own, chance)),
        Shown(known, famous, score_pictures(workshop.faces, _own_identity(workshop, known), famous, chance)),
        Shown(f"impostor ({impostor})", chance, score_pictures(workshop.faces, identity, chance, chance)),
    )


def _pictures(workshop: Workshop, name: str, embeddings: Sequence[Embedding]) -> tuple[Image, ...]:
    prompts = [prompt.format(name) for prompt in PROMPTS]
    return tuple(workshop.host.generate(prompts, list(range(len(prompts))), embeddings))


def _own_identity(workshop: Workshop, name: str) -> np.ndarray:
    """The identity vector of a celebrity's drawing, to compare the generated pictures with."""
    person = next(p for p in celebrities() if p.name == name)
    drawing = draw(person, Look()).image
    return find_face(workshop.faces, drawing).identity


def _sheet(portrait: Image, rows: Sequence[Shown]) -> Image:
    columns = ["portrait", *(prompt.replace("{}", "…") for prompt in PROMPTS)]
    sheet_rows = [
        SheetRow(row.title, f"likeness {row.scores.likeness:.2f}", (portrait if i == 0 else None, *row.pictures))
        for i, row in enumerate(rows)
    ]
    return contact_sheet(sheet_rows, columns, "One portrait, one word", _footer(rows))


def _footer(rows: Sequence[Shown]) -> list[str]:
    own, known, impostor = (row.scores for row in rows)
    return [
        f"likeness to the portrait (cosine of identity vectors): {own.likeness:.2f}",
        f"a known celebrity to their own drawing: {known.likeness:.2f}",
        f"an impostor to the portrait: {impostor.likeness:.2f}",
    ]


def _report(rows: Sequence[Shown], sheet: Path, embedding: Path, seconds: float) -> None:
    print()
    for line in _footer(rows):
        print(line)
    print(f"Contact sheet: {sheet}\nEmbedding:     {embedding}\nDone in {seconds:.0f} s.")
