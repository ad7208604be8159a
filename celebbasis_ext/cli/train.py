"""`celebbasis train`: people from one photo each."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.exit import INTERRUPTED
from celebbasis_ext.cli.faces import numbering
from celebbasis_ext.cli.faces_options import face_choice
from celebbasis_ext.cli.options import add_config, config_from
from celebbasis_ext.cli.people import add_also
from celebbasis_ext.cli.progress import run, show_prepared

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Order, Workshop
    from celebbasis_ext.types import Prepared, Saved


def add(commands: Any) -> None:
    train = commands.add_parser("train", help="learn people from one photo each")
    train.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="one photo for each person")
    train.add_argument("--name", nargs="+", required=True, metavar="NAME", help="their trigger words, such as anna-cb")
    train.add_argument(
        "--out", type=Path, default=Path("embeddings"), help="folder for the files (default: %(default)s)"
    )
    train.add_argument(
        "--face", type=face_choice, metavar="N", help='which face, from the left, or "largest", where there are several'
    )
    train.add_argument(
        "--save-crop",
        nargs="?",
        const=True,
        type=Path,
        metavar="FOLDER",
        help="write what is seen of each photo (to --out)",
    )
    train.add_argument("--describe", nargs="+", metavar="WORDS", help="what is in each photo beside the person")
    train.add_argument("--describer", choices=("tagger", "clip", "none"), default="tagger", help="who else says it")
    train.add_argument("--overwrite", action="store_true", help="replace existing embeddings of these names")
    add_also(train)
    train.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    train.add_argument("--pictures", type=int, default=4, metavar="N", help="pictures to score at the end (default: 4)")
    train.set_defaults(command=_train)
    add_config(train)


def _train(options: argparse.Namespace) -> int:
    from celebbasis_ext.describe import GivenWords
    from celebbasis_ext.files.photo import read_photo
    from celebbasis_ext.jobs import Order
    from celebbasis_ext.miniature.workshop import open_workshop

    photos = tuple(read_photo(path) for path in options.photos)
    descriptions = tuple(GivenWords(words).phrases for words in options.describe or ())
    order = Order(
        photos, tuple(options.name), config_from(options), options.face, descriptions, options.overwrite,
        options.resume, options.also == "pt",
    )  # fmt: skip
    workshop = _with_describer(open_workshop(options.out), options.describer)
    with numbering(workshop.faces, options.photos, photos, options.out):
        saved = run(workshop, order, lambda prepared: _prepared(prepared, options))
    for embedding, path in zip(saved.embeddings, saved.paths, strict=True):
        print(f"{embedding.name}: {path}")
    if options.pictures and saved.finished:
        _score(workshop, order, saved, options.pictures)
    return 0 if saved.finished else INTERRUPTED


def _prepared(prepared: Prepared, options: argparse.Namespace) -> None:
    from celebbasis_ext.cli.pictures import save_crops

    show_prepared(prepared)
    if options.save_crop is None:
        return
    folder = options.out if options.save_crop is True else options.save_crop
    for subject in prepared.subjects:
        for path in save_crops(subject, folder):
            print(f"{subject.name}: {path}")


def _with_describer(workshop: Workshop, name: str) -> Workshop:
    """The workshop with another describer: CLIP for real photos, or none; the tagger is the miniature's own."""
    if name == "clip":
        from celebbasis_ext.describe_clip import OpenClipDescriber

        return dataclasses.replace(workshop, describer=OpenClipDescriber())
    if name == "none":
        from celebbasis_ext.describe import NoWords

        return dataclasses.replace(workshop, describer=NoWords())
    return workshop


def _score(workshop: Workshop, order: Order, saved: Saved, pictures: int) -> None:
    """Draws a few pictures of each person, says how like the photo they are, and keeps the first as preview."""
    from celebbasis_ext.evaluate.score import score_pictures
    from celebbasis_ext.faces.base import find_face
    from celebbasis_ext.jobs import add_scores

    seeds = list(range(pictures))
    impostors = workshop.host.generate(["a photo of a person"] * pictures, seeds)
    for photo, embedding, path in zip(order.photos, saved.embeddings, saved.paths, strict=True):
        drawn = workshop.host.generate([f"a photo of {embedding.name}"] * pictures, seeds, [embedding])
        identity = find_face(workshop.faces, photo, order.face).identity
        scores = score_pictures(workshop.faces, identity, drawn, impostors)
        add_scores(path, scores, drawn[0])
        print(
            f"{embedding.name}: likeness {scores.likeness:.2f} (anybody: {scores.impostors:.2f}), "
            f"a face in {scores.faces_found:.0%} of {pictures} pictures"
        )
