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
    """A component for every field, in the order of `FIELDS`, in two columns."""
    said, half = explanations(), (len(FIELDS) + 1) // 2
    with gr.Row():
        components = []
        for names in (FIELDS[:half], FIELDS[half:]):
            with gr.Column(min_width=180):
                components += [_component(name, getattr(config, name), said.get(name, "")) for name in names]
    return components


def _component(name: str, value: Any, info: str) -> Any:
    kind, shown = TYPES[name], {"label": name, "info": info, "elem_id": f"celebbasis_setting_{name}"}
    if kind is bool:
        return gr.Checkbox(value, **shown)
    if typing.get_origin(kind) is typing.Literal:
        return gr.Radio(list(typing.get_args(kind)), value=value, **shown)
    if _is_optional(kind):
        return gr.Textbox("" if value is None else str(value), placeholder="all", **shown)
    return gr.Number(value, precision=None if kind is float else 0, **shown)


def _is_optional(kind: Any) -> bool:
    return type(None) in typing.get_args(kind)


def values_of(config: TrainConfig) -> list[Any]:
    """What the components show of a config."""
    values = [getattr(config, name) for name in FIELDS]
    return ["" if value is None else value for value in values]


def config_from(values: Sequence[Any]) -> TrainConfig:
    """The form's values as a config.

    Raises:
        InvalidSettings: A field is empty or has a value that makes no sense.
    """
    given = {name: _read(name, value) for name, value in zip(FIELDS, values, strict=True)}
    return checked(TrainConfig(**given))


def _read(name: str, value: Any) -> Any:
    kind = TYPES[name]
    if value is None or value == "":
        if _is_optional(kind):
            return None
        raise InvalidSettings(f"{name} is empty.", "See Advanced.")
    try:
        if _is_optional(kind) or kind is int:
            return int(value)
        return float(value) if kind is float else value
    except ValueError as error:
        raise InvalidSettings(f"{name} is {value!r}; a number was expected.", "See Advanced.") from error
