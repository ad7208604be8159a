"""`celebbasis insert`: people at once, as the checkpoint's encoder understands their faces."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.command import add_command
from celebbasis_ext.cli.faces import numbering
from celebbasis_ext.cli.faces_options import add_face_options, face_choice, faces_from
from celebbasis_ext.cli.options import add_equipment, equipment_from
from celebbasis_ext.cli.people import add_files, print_saved

if TYPE_CHECKING:
    from celebbasis_ext.types import Subject, Understood


def add(commands: Any) -> None:
    insert = add_command(
        commands, "insert", "learn a person at once, from one photo or several, without training",
        "PHOTO [PHOTO ...] --name NAME", "celebbasis insert anna1.jpg anna2.jpg --name anna-cb",
    )  # fmt: skip
    insert.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="any picture file, all of one person")
    insert.add_argument("--name", required=True, metavar="NAME", help="the trigger word")
    insert.add_argument(
        "--face", type=face_choice, metavar="N",
        help='where a photo shows several faces: which, from the left from 1, or "largest"',
    )  # fmt: skip
    insert.set_defaults(command=_insert)
    add_files(insert)
    add_equipment(insert, describer=False)
    add_face_options(insert)


def _insert(options: argparse.Namespace) -> int:
    from celebbasis_ext.encoder_job import insert_people
    from celebbasis_ext.files.photo import read_photo
    from celebbasis_ext.jobs import Order
    from celebbasis_ext.workshops import open_workshop

    photos = tuple(read_photo(path) for path in options.photos)
    order = Order(
        photos, (options.name,) * len(photos), face=options.face, overwrite=options.overwrite,
        also_pt=options.also == "pt",
    )  # fmt: skip
    workshop = open_workshop(options.out, equipment_from(options), lambda: faces_from(options), print)
    with numbering(workshop.faces, options.photos, photos, options.out):
        saved, (subject,), (person,) = insert_people(workshop, order)
    print_saved(workshop, saved)
    print(_said(subject, person))
    return 0


def _said(subject: Subject, person: Understood) -> str:
    photos = f"{1 + len(subject.more)} photos" if subject.more else "one photo"
    if math.isnan(person.expected_likeness):
        return f"understood from {photos}; the encoder was never checked, so that nobody knows how sure it is"
    return f"understood from {photos}; expected likeness {person.expected_likeness:.2f} ± {person.doubt:.2f}"
