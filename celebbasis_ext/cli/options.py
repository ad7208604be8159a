"""Training settings as options of a command."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.host import add_names
from celebbasis_ext.recipes import RECIPES, recommended
from celebbasis_ext.types import TrainConfig

if TYPE_CHECKING:
    from celebbasis_ext.workshops import Equipment


def add_equipment(command: argparse.ArgumentParser, describer: bool = True) -> None:
    """Checkpoint, device and describer as options; without a checkpoint it is the miniature."""
    group = command.add_argument_group("checkpoint and describer" if describer else "checkpoint")
    group.add_argument(
        "--checkpoint", type=Path, metavar="PATH",
        help="Stable Diffusion 1.x, 2.x or XL: a file, or a diffusers folder (default: the miniature)",
    )  # fmt: skip
    group.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto",
        help="where it runs (default: the fastest there is; cpu for the miniature)",
    )  # fmt: skip
    group.add_argument(
        "--precision", choices=("auto", "fp32", "fp16", "bf16"), default="auto",
        help="of the weights (default: the file's own on CUDA, else fp32)",
    )  # fmt: skip
    group.add_argument(
        "--resolution", type=int, metavar="PX",
        help="picture size in pixels, a multiple of 64 (default: the checkpoint's own)",
    )  # fmt: skip
    add_names(group)
    group.add_argument("--low-memory", action="store_true", help="needs less memory and is a third slower")
    if not describer:
        command.set_defaults(describer="none")
        return
    group.add_argument(
        "--describer", choices=("tagger", "clip", "none"),
        help="who says what is in a photo beside the person, where --describe does not; the tagger knows drawn people "
        "(default: clip where it is installed, the tagger in the miniature)",
    )  # fmt: skip


def equipment_from(options: argparse.Namespace) -> Equipment:
    """What `add_equipment` asked for. Raises InvalidSettings for a resolution that no checkpoint has."""
    from celebbasis_ext.hosts.standalone_load import Placement
    from celebbasis_ext.workshops import Equipment

    placement = Placement(options.device, options.precision, options.resolution, options.low_memory)
    return Equipment(options.checkpoint, placement, options.describer, options.names)


def add_config(command: argparse.ArgumentParser) -> None:
    """Every field of `TrainConfig` as an option; what is not given comes from the recipe."""
    group = command.add_argument_group("training settings")
    group.add_argument(
        "--recipe", choices=sorted(RECIPES),
        help="where all of these start (default: warm where the checkpoint has an encoder, else default)",
    )  # fmt: skip
    hints, meanings = typing.get_type_hints(TrainConfig), _meanings()
    for field in dataclasses.fields(TrainConfig):
        flag, hint = _flag(field.name), hints[field.name]
        text = f"{meanings.get(field.name, '')} ({_defaults(field.name)})".replace("%", "%%")
        if hint is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        elif typing.get_origin(hint) is typing.Literal:
            group.add_argument(flag, choices=typing.get_args(hint), help=text)
        elif hint is float:
            group.add_argument(flag, type=float, metavar="X", help=text)
        else:
            group.add_argument(flag, type=int, metavar="N", help=text)


def _meanings() -> dict[str, str]:
    """What every field of `TrainConfig` means, from its docstring; none where Python left docstrings out."""
    _, _, attributes = (inspect.getdoc(TrainConfig) or "").partition("Attributes:\n")
    entries = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", attributes, re.MULTILINE)
    return {name: _as_option(" ".join(text.split())) for name, text in entries}


def _as_option(sentence: str) -> str:
    """A sentence in the manner of help texts: small at the start, no full stop, other fields as options."""
    small = (sentence[0].lower() + sentence[1:]).removesuffix(".")
    return re.sub(r"`(\w+)`", lambda field: _flag(field[1]), small)


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")


def _defaults(field: str) -> str:
    """The default recipe's value, and other recipes' where they have another."""
    default, *others = (
        (name, getattr(recipe, field))
        for name, recipe in sorted(RECIPES.items(), key=lambda entry: entry[0] != "default")
    )
    return ", ".join(
        f"{name}: {_shown(value)}" for name, value in [default, *(o for o in others if o[1] != default[1])]
    )


def _shown(value: Any) -> str:
    named = {True: "on", False: "off", None: "all"}
    return named[value] if value is None or isinstance(value, bool) else str(value)


def config_from(options: argparse.Namespace, encoder: bool = False) -> TrainConfig:
    """The recipe with what was said on the command line in its place; if none was named, the best there is."""
    recipe = options.recipe or recommended(encoder)
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(TrainConfig)}
    return dataclasses.replace(RECIPES[recipe], **{k: v for k, v in given.items() if v is not None})
