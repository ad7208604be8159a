"""`celebbasis gallery`: what a checkpoint draws for its celebrities."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.command import add_command
from celebbasis_ext.cli.exit import INTERRUPTED
from celebbasis_ext.cli.faces_options import add_face_options, faces_from
from celebbasis_ext.cli.options import add_equipment, equipment_from
from celebbasis_ext.cli.progress import Interrupt, show_bar

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop
    from celebbasis_ext.types import Gathered


def add(commands: Any) -> None:
    gallery = add_command(
        commands, "gallery", "draw every celebrity with the checkpoint itself, and keep the faces",
        example="celebbasis gallery --checkpoint sd15.safetensors",
    )  # fmt: skip
    add_gallery_options(gallery)
    gallery.add_argument(
        "--out", type=Path, default=Path("gallery.png"), metavar="FILE.png",
        help="the contact sheet at the end (default: %(default)s); the gallery itself is in the cache",
    )  # fmt: skip
    gallery.set_defaults(command=_gallery)
    add_equipment(gallery, describer=False)
    add_face_options(gallery)


def add_gallery_options(command: argparse.ArgumentParser) -> None:
    """The options that `gathered_with` reads."""
    command.add_argument("--images", type=int, default=4, metavar="N", help="pictures of each name (default: 4)")
    command.add_argument("--first", type=int, metavar="N", help="only the first N usable names (default: all)")
    command.add_argument("--steps", type=int, default=10, metavar="N", help="of the sampler (default: 10)")


def _gallery(options: argparse.Namespace) -> int:
    from celebbasis_ext.cli.pictures import write_picture
    from celebbasis_ext.evaluate.gallery_sheet import gallery_sheet
    from celebbasis_ext.workshops import open_workshop

    workshop = open_workshop(Path(), equipment_from(options), lambda: faces_from(options), print)
    gathered = gathered_with(workshop, options)
    shots = gathered.gallery.shots
    alone = sum(shot.faces == 1 for shot in shots)
    print(f"{len(shots)} pictures, {alone} of them with exactly one face: gallery {gathered.gallery.fingerprint}")
    sheet = gallery_sheet(gathered.gallery)
    if sheet is not None:
        write_picture(sheet, options.out)
        print(options.out)
    if not gathered.finished:
        print("Stopped. What was drawn is kept; the same command goes on.")
    return 0 if gathered.finished else INTERRUPTED


def gathered_with(workshop: Workshop, options: argparse.Namespace) -> Gathered:
    """Draws with a bar; the first Ctrl-C ends it after the pictures that are being drawn."""
    from celebbasis_ext.gallery import drawable_names, gather
    from celebbasis_ext.types import Gathered

    names = drawable_names(workshop)[: options.first]
    print(f"{len(names)} names, {options.images} pictures each", file=sys.stderr)
    gathered = None
    with Interrupt() as interrupt:
        interrupt.patient = True
        for event in gather(workshop, names, options.images, None, lambda: interrupt.pressed, options.steps):
            if isinstance(event, Gathered):
                gathered = event
            else:
                show_bar(event.done, event.total, f"{event.shots[-1].name}", event.seconds_left)
    assert gathered is not None  # gather always ends with Gathered
    return gathered
