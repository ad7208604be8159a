"""Training settings as options of a command."""

from __future__ import annotations

import argparse
import dataclasses
import typing

from celebbasis_ext.recipes import RECIPES
from celebbasis_ext.types import TrainConfig


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
