"""`TrainConfig` as a form: one field for each of its own, under its own name, explained by its docstring."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any

import gradio as gr

from celebbasis_ext.config_rules import FIELDS, TYPES, checked, explanations
from celebbasis_ext.errors import InvalidSettings
from celebbasis_ext.types import TrainConfig


def config_components(config: TrainConfig) -> list[Any]:
    """A component for every field, in the order of `FIELDS`."""
    said = explanations()
    return [_component(name, getattr(config, name), said.get(name, "")) for name in FIELDS]


def _component(name: str, value: Any, info: str) -> Any:
    kind = TYPES[name]
    if kind is bool:
        return gr.Checkbox(value, label=name, info=info)
    if typing.get_origin(kind) is typing.Literal:
        return gr.Radio(list(typing.get_args(kind)), value=value, label=name, info=info)
    return gr.Number(value, label=name, info=info, precision=None if kind is float else 0)


def values_of(config: TrainConfig) -> list[Any]:
    return [getattr(config, name) for name in FIELDS]


def config_from(values: Sequence[Any]) -> TrainConfig:
    """The form's values as a config.

    Raises:
        InvalidSettings: A field is empty or has a value that makes no sense.
    """
    given = {name: _read(name, value) for name, value in zip(FIELDS, values, strict=True)}
    return checked(TrainConfig(**given))


def _read(name: str, value: Any) -> Any:
    kind = TYPES[name]
    optional = type(None) in typing.get_args(kind)
    if value is None or value == "":
        if optional:
            return None
        raise InvalidSettings(f"{name} is empty.", "See Advanced.")
    if optional or kind is int:
        return int(value)
    return float(value) if kind is float else value
