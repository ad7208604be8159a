"""Training settings as options of a command."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from pathlib import Path
from typing import TYPE_CHECKING

from celebbasis_ext.recipes import RECIPES
from celebbasis_ext.types import TrainConfig

if TYPE_CHECKING:
    from celebbasis_ext.workshops import Equipment


def add_equipment(command: argparse.ArgumentParser) -> None:
    """Checkpoint, device and describer as options; without a checkpoint it is the miniature."""
    group = command.add_argument_group("checkpoint options (default: the miniature)")
    group.add_argument("--checkpoint", type=Path, metavar="PATH", help="SD 1.x, SD 2.x or SDXL: file or folder")
    group.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: the fastest; miniature: cpu"
    )
    group.add_argument(
        "--precision", choices=("auto", "fp32", "fp16", "bf16"), default="auto",
        help="of the weights; default: the file's own on CUDA, else fp32",
    )  # fmt: skip
    group.add_argument("--resolution", type=int, metavar="PIXELS", help="default: the checkpoint's own")
    group.add_argument("--low-memory", action="store_true", help="less memory, a third slower")
    group.add_argument(
        "--describer", choices=("tagger", "clip", "none"),
        help="who says what else is in a photo; default: clip where it is installed, the tagger in the miniature",
    )  # fmt: skip


def equipment_from(options: argparse.Namespace) -> Equipment:
    """What `add_equipment` asked for. Raises InvalidSettings for a resolution that no checkpoint has."""
    from celebbasis_ext.hosts.standalone_load import Placement
    from celebbasis_ext.workshops import Equipment

    placement = Placement(options.device, options.precision, options.resolution, options.low_memory)
    return Equipment(options.checkpoint, placement, options.describer)


def add_config(command: argparse.ArgumentParser) -> None:
    """Every field of `TrainConfig` as an option; what is not given comes from the recipe."""
    command.add_argument("--recipe", choices=sorted(RECIPES), default="default", help="settings to start from")
    group = command.add_argument_group("training options (default: the recipe's)")
    hints = typing.get_type_hints(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        flag = "--" + field.name.replace("_", "-")
        default = f"default: {field.default}"
        if hints[field.name] is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=default)
        elif typing.get_origin(hints[field.name]) is typing.Literal:
            group.add_argument(flag, choices=typing.get_args(hints[field.name]), help=default)
        else:
            group.add_argument(flag, type=float if hints[field.name] is float else int, metavar="X", help=default)


def config_from(options: argparse.Namespace) -> TrainConfig:
    """The recipe with what was said on the command line in its place."""
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(TrainConfig)}
    return dataclasses.replace(RECIPES[options.recipe], **{k: v for k, v in given.items() if v is not None})
