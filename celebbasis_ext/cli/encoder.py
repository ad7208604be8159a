"""`celebbasis encoder`: once for every checkpoint, so that people can be inserted at once."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.command import add_command
from celebbasis_ext.cli.exit import INTERRUPTED
from celebbasis_ext.cli.faces_options import add_face_options, faces_from
from celebbasis_ext.cli.gallery import add_gallery_options, gathered_with
from celebbasis_ext.cli.options import add_equipment, equipment_from
from celebbasis_ext.cli.progress import Interrupt, show_bar

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop
    from celebbasis_ext.types import Encoder, Gallery


def add(commands: Any) -> None:
    encoder = add_command(
        commands, "encoder", "learn from a checkpoint's celebrities how a face becomes a word",
        example="celebbasis encoder --checkpoint sd15.safetensors",
    )  # fmt: skip
    add_gallery_options(encoder)
    encoder.add_argument(
        "--checked", type=int, default=60, metavar="N",
        help="made-up people to draw, so that it can say how sure it is (default: %(default)s)",
    )  # fmt: skip
    encoder.add_argument("--out", type=Path, metavar="FILE", help="where it goes (default: where insert looks for it)")
    encoder.set_defaults(command=_encoder)
    add_equipment(encoder, describer=False)
    add_face_options(encoder)


def _encoder(options: argparse.Namespace) -> int:
    from celebbasis_ext.encoder_job import encoder_path
    from celebbasis_ext.files.encoder import as_text
    from celebbasis_ext.workshops import open_workshop

    workshop = open_workshop(Path(), equipment_from(options), lambda: faces_from(options), print)
    gathered = gathered_with(workshop, options)
    if not gathered.finished:
        print("Stopped. What was drawn is kept; the same command goes on.")
        return INTERRUPTED
    encoder = _taught(workshop, gathered.gallery, options)
    print(as_text(encoder))
    print(options.out or encoder_path(workshop))
    return 0


def _taught(workshop: Workshop, gallery: Gallery, options: argparse.Namespace) -> Encoder:
    """Learns with a bar; the first Ctrl-C ends the looking at made-up people."""
    from celebbasis_ext.encoder_job import Checked, teach_encoder

    encoder = None
    print("Learning from the gallery ...", file=sys.stderr)
    with Interrupt() as interrupt:
        interrupt.patient = True
        for event in teach_encoder(workshop, gallery, options.out, options.checked, lambda: interrupt.pressed):
            if isinstance(event, Checked):
                show_bar(event.done, event.total, "people who do not exist", event.seconds_left)
            else:
                encoder = event
    assert encoder is not None  # teach_encoder always ends with it
    return encoder
