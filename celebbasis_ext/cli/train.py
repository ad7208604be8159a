"""`celebbasis train`: people from one photo each, or from several."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.command import add_command
from celebbasis_ext.cli.exit import INTERRUPTED
from celebbasis_ext.cli.faces import numbering
from celebbasis_ext.cli.faces_options import add_face_options, face_choice, faces_from
from celebbasis_ext.cli.lora import add_lora, lora_config_from
from celebbasis_ext.cli.options import add_config, add_equipment, config_from, equipment_from
from celebbasis_ext.cli.people import add_files
from celebbasis_ext.cli.progress import run_with_loras, show_prepared

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop
    from celebbasis_ext.types import Embedding, Floats, Image, Lora, Prepared, Saved, Scores, Subject


def add(commands: Any) -> None:
    train = add_command(
        commands, "train", "learn people from one photo each, or from several",
        "PHOTO [PHOTO ...] --name NAME [NAME ...]", "celebbasis train anna.png ben.png --name anna-cb ben-cb",
    )  # fmt: skip
    train.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="any picture file")
    train.add_argument(
        "--name", nargs="+", required=True, metavar="NAME",
        help="whom the photos show, in their order; photos of one name are of one person, and a single name is for all",
    )  # fmt: skip
    train.add_argument("--resume", action="store_true", help="go on with the interrupted run of these names")
    _add_photo_options(train)
    files = add_files(train)
    files.add_argument(
        "--pictures", type=int, default=4, metavar="N",
        help="pictures of each person to draw and score at the end; the first is kept as preview (default: 4)",
    )  # fmt: skip
    train.set_defaults(command=_train)
    add_lora(train)
    add_equipment(train)
    add_face_options(train)
    add_config(train)


def _add_photo_options(train: argparse.ArgumentParser) -> None:
    group = train.add_argument_group("what is in the photos")
    group.add_argument(
        "--face", type=face_choice, metavar="N",
        help='where a photo shows several faces: which, from the left from 1, or "largest"',
    )  # fmt: skip
    group.add_argument(
        "--describe", nargs="+", metavar="WORDS",
        help='all but the person, one text for each photo: "green wall, in a red shirt" (default: see --describer)',
    )  # fmt: skip
    group.add_argument(
        "--save-crop", nargs="?", const=True, type=Path, metavar="FOLDER",
        help="write two pictures of what the training sees of each photo (default: to --out)",
    )  # fmt: skip


def _train(options: argparse.Namespace) -> int:
    from celebbasis_ext.describe import GivenWords
    from celebbasis_ext.files.photo import read_photo
    from celebbasis_ext.jobs import Order
    from celebbasis_ext.workshops import open_workshop

    photos = tuple(read_photo(path) for path in options.photos)
    names = tuple(options.name) * (len(photos) if len(options.name) == 1 else 1)
    descriptions = tuple(GivenWords(words).phrases for words in options.describe or ())
    workshop = open_workshop(options.out, equipment_from(options), lambda: faces_from(options), print)
    order = Order(
        photos, names, config_from(options, workshop.encoder is not None), options.face, descriptions,
        options.overwrite, options.resume, options.also == "pt", lora=lora_config_from(options),
    )  # fmt: skip
    subjects: list[Subject] = []

    def prepared(event: Prepared) -> None:
        subjects.extend(event.subjects)
        _prepared(event, options)

    with numbering(workshop.faces, options.photos, photos, options.out):
        saved, loras = run_with_loras(workshop, order, prepared)
    for embedding, path in zip(saved.embeddings, saved.paths, strict=True):
        print(f"{embedding.name}: {path}")
    for lora, path in zip(loras.loras, loras.paths, strict=True) if loras else ():
        print(f"{lora.name}: {path}, in prompts: <lora:{lora.name}:1>")
    if options.pictures and saved.finished:
        _score(workshop, subjects, saved, options.pictures, loras.loras if loras else ())
    return 0 if saved.finished and (loras is None or loras.finished) else INTERRUPTED


def _prepared(prepared: Prepared, options: argparse.Namespace) -> None:
    from celebbasis_ext.cli.pictures import save_crops

    show_prepared(prepared)
    if options.save_crop is None:
        return
    folder = options.out if options.save_crop is True else options.save_crop
    for subject in prepared.subjects:
        for path in save_crops(subject, folder):
            print(f"{subject.name}: {path}")


def _score(workshop: Workshop, subjects: Sequence[Subject], saved: Saved, pictures: int, loras: Sequence[Lora]) -> None:
    """Draws a few pictures of each person, says how like the photo they are, and keeps the first as preview."""
    from celebbasis_ext.evaluate.score import score_pictures
    from celebbasis_ext.jobs import add_scores
    from celebbasis_ext.lora import applied

    seeds, own_loras = list(range(pictures)), {lora.name: lora for lora in loras}
    impostors = workshop.host.generate(["a photo of a person"] * pictures, seeds)
    for subject, embedding, path in zip(subjects, saved.embeddings, saved.paths, strict=True):

        def scored(person: Embedding = embedding, identity: Floats = subject.identity) -> tuple[Scores, Image]:
            drawn = workshop.host.generate([f"a photo of {person.name}"] * pictures, seeds, [person])
            return score_pictures(workshop.faces, identity, drawn, impostors), drawn[0]

        scores, preview = scored()
        add_scores(path, scores, preview)
        _print_scores(embedding.name, scores, pictures)
        if embedding.name in own_loras:
            with applied(workshop.host.cross_attention(), [(own_loras[embedding.name], 1.0)]):
                _print_scores(f"{embedding.name} with its LoRA", scored()[0], pictures)


def _print_scores(whose: str, scores: Scores, pictures: int) -> None:
    print(
        f"{whose}: likeness {scores.likeness:.2f} (anybody: {scores.impostors:.2f}), "
        f"a face in {scores.faces_found:.0%} of {pictures} pictures"
    )
