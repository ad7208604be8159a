"""`celebbasis adapt`: once for every checkpoint, a LoRA with which it draws more of what its encoder says of a face."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from celebbasis_ext.cli.command import add_command
from celebbasis_ext.cli.exit import INTERRUPTED
from celebbasis_ext.cli.faces_options import add_face_options, faces_from
from celebbasis_ext.cli.options import add_equipment, equipment_from
from celebbasis_ext.cli.progress import Interrupt, show_bar


def add(commands: Any) -> None:
    adapt = add_command(
        commands, "adapt", "learn a LoRA that brings a checkpoint and its encoder together",
        "PHOTO [PHOTO ...] --name NAME", "celebbasis adapt people/*.jpg --name instant-cb",
    )  # fmt: skip
    adapt.add_argument(
        "photos", nargs="+", type=Path, metavar="PHOTO", help="pictures of many people, one face in each; a hundred do"
    )
    adapt.add_argument("--name", required=True, metavar="NAME", help="of the LoRA: <lora:NAME:1> in prompts")
    adapt.add_argument("--steps", type=int, metavar="N", help="optimiser steps (default: 400)")
    adapt.add_argument("--rank", type=int, metavar="N", help="of the layers; the file grows with it (default: 4)")
    adapt.add_argument(
        "--out", type=Path, default=Path("embeddings"), metavar="FOLDER",
        help="the embeddings' folder, beside which LoRAs go (default: %(default)s)",
    )  # fmt: skip
    adapt.add_argument("--overwrite", action="store_true", help="replace an existing LoRA of this name")
    adapt.set_defaults(command=_adapt)
    add_equipment(adapt)
    add_face_options(adapt)


def _adapt(options: argparse.Namespace) -> int:
    from celebbasis_ext.cli.lora import changed
    from celebbasis_ext.files.photo import read_photo
    from celebbasis_ext.lora_job import GENERATOR, adapt_checkpoint
    from celebbasis_ext.types import LoraStepDone
    from celebbasis_ext.workshops import open_workshop

    config = changed(GENERATOR, steps=options.steps, rank=options.rank)
    photos = [read_photo(path) for path in options.photos]
    workshop = open_workshop(options.out, equipment_from(options), lambda: faces_from(options), print)
    paths: tuple[Path, ...] = ()
    with Interrupt() as interrupt:
        events = adapt_checkpoint(workshop, photos, options.name, config, options.overwrite, lambda: interrupt.pressed)
        for event in events:
            if isinstance(event, LoraStepDone):
                interrupt.patient = True
                show_bar(event.step, event.steps, f"loss {event.loss:.4f}", event.seconds_left)
            else:
                paths = event.paths
    if not paths:
        print("Stopped. Nothing was written.")
        return INTERRUPTED
    print(f"{options.name}: {paths[0]}, in prompts: <lora:{options.name}:1>")
    return 0
