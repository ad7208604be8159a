"""`TrainConfig` as a form: one field for each of its own, under its own name, explained by its docstring."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Sequence
from typing import Any

import gradio as gr

from celebbasis_ext.errors import InvalidSettings
from celebbasis_ext.types import TrainConfig

FIELDS = tuple(field.name for field in dataclasses.fields(TrainConfig))
_TYPES = typing.get_type_hints(TrainConfig)


def explanations() -> dict[str, str]:
    """{field: what the docstring says of it}."""
    text = (TrainConfig.__doc__ or "").split("Attributes:")[-1]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in entries}


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
    kind, shown = _TYPES[name], {"label": name, "info": info, "elem_id": f"celebbasis_setting_{name}"}
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
    config = TrainConfig(**given)
    for name in ("steps", "batch", "views", "learning_rate"):
        if getattr(config, name) <= 0:
            raise InvalidSettings(f"{name} is {getattr(config, name)}; it must be more than 0.", "See Advanced.")
    for name in ("average", "background_weight", "zoom"):
        if not 0 <= getattr(config, name) <= 1:
            raise InvalidSettings(f"{name} is {getattr(config, name)}; expected 0 to 1.", "See Advanced.")
    return config


def _read(name: str, value: Any) -> Any:
    kind = _TYPES[name]
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
