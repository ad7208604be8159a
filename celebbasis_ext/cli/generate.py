"""`celebbasis generate`: pictures of a prompt in which people are words."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.command import add_command
from celebbasis_ext.cli.host import add_checkpoint, open_host
from celebbasis_ext.cli.lora import read_loras, weighed
from celebbasis_ext.errors import InvalidSettings

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop
    from celebbasis_ext.types import Embedding, Image


def add(commands: Any) -> None:
    generate = add_command(
        commands, "generate", "draw a prompt in which people are words",
        "PROMPT", 'celebbasis generate "a photo of anna-cb, at the beach" --count 4',
    )  # fmt: skip
    generate.add_argument(
        "prompt", metavar="PROMPT", help="in quotes; names of embeddings in it are found by themselves"
    )
    _add_people(generate)
    group = generate.add_argument_group("pictures")
    group.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the first picture; the others count on (default: 0)"
    )
    group.add_argument("--count", type=int, default=4, metavar="N", help="how many (default: 4)")
    group.add_argument("--steps", type=int, default=20, metavar="N", help="of the sampler (default: 20)")
    group.add_argument(
        "--out", type=Path, default=Path("pictures"), metavar="FOLDER", help="where they go (default: %(default)s)"
    )
    group.add_argument(
        "--check", action="store_true",
        help="where two people are in the prompt: look whether both are found and who is who",
    )  # fmt: skip
    generate.set_defaults(command=_generate)


def _add_people(generate: argparse.ArgumentParser) -> None:
    group = generate.add_argument_group("people and checkpoint")
    group.add_argument(
        "--embeddings", type=Path, default=Path("embeddings"), metavar="FOLDER",
        help="where names in the prompt are looked up (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--embedding", nargs="+", type=Path, default=[], metavar="FILE", help="embeddings that lie elsewhere"
    )
    group.add_argument(
        "--lora", nargs="+", type=weighed, default=[], metavar="FILE[:WEIGHT]",
        help="LoRAs on the cross-attention to draw with, such as those of `train --lora` (weight: 1)",
    )  # fmt: skip
    add_checkpoint(group)


def _generate(options: argparse.Namespace) -> int:
    from celebbasis_ext.evaluate.sheets import save_png
    from celebbasis_ext.files.embedding import load_embedding
    from celebbasis_ext.files.picture import next_number
    from celebbasis_ext.tools import draw, embeddings_named_in

    if options.seed < 0:
        raise InvalidSettings(f"Expected a seed of at least 0, got {options.seed}.", "Choose another.")
    found = embeddings_named_in(options.prompt, options.embeddings)
    people = _distinct([load_embedding(path) for path in [*options.embedding, *found]])
    print(
        f"people: {', '.join(e.name for e in people) or 'none of the folder is named in the prompt'}", file=sys.stderr
    )
    if options.check and len(people) != 2:
        raise InvalidSettings(
            f"Who is who can be checked for two people, got {len(people)} in the prompt.", "Leave --check away."
        )
    workshop = open_host(options.checkpoint, options.embeddings, faces=options.check)
    seeds = range(options.seed, options.seed + options.count)
    sheet = options.out / f"{next_number(options.out):05d}-sheet.png"
    pictures, _ = draw(
        workshop, options.prompt, people, seeds, options.out, options.steps, print, read_loras(options.lora)
    )
    if len(pictures) > 1:
        save_png(_sheet(options.prompt, seeds, pictures), sheet)
        print(sheet)
    if options.check:
        _check(workshop, people, seeds, pictures, options.steps)
    return 0


def _check(
    workshop: Workshop, people: Sequence[Embedding], seeds: Sequence[int], pictures: Sequence[Image], steps: int
) -> None:
    """Says of every picture whether both people are in it; whose face is whose is seen from pictures of each alone."""
    from celebbasis_ext.evaluate.together import look_for_both, portraits_of

    alone = portraits_of(workshop, people, steps)
    right = 0
    for seed, picture in zip(seeds, pictures, strict=True):
        seen = look_for_both(workshop.faces, picture, alone)
        right += seen.distinct
        print(f"seed {seed}: " + ("both found and distinct" if seen.distinct else
              "two faces of the same person" if seen.found else "fewer than two faces"))  # fmt: skip
    print(f"both found and distinct in {right} of {len(pictures)} pictures")


def _distinct(embeddings: Sequence[Embedding]) -> list[Embedding]:
    """One of each name: those that were given go before those that were found."""
    first: dict[str, Embedding] = {}
    for embedding in embeddings:
        first.setdefault(embedding.name.lower(), embedding)
    return list(first.values())


def _sheet(prompt: str, seeds: Sequence[int], pictures: Sequence[Image]) -> Image:
    """All pictures as a grid, nearly square."""
    from celebbasis_ext.evaluate.sheets import SheetRow, contact_sheet

    across = math.ceil(math.sqrt(len(pictures)))
    rows = [SheetRow(f"seed {seeds[i]}", "", tuple(pictures[i : i + across])) for i in range(0, len(pictures), across)]
    return contact_sheet(
        rows, [f"+{i}" if i else "" for i in range(across)], prompt, cell=max(160, pictures[0].shape[0] // 2)
    )
