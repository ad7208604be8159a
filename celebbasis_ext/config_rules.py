"""What may be chosen in a `TrainConfig`: its fields with their types, explanations and ranges, for forms to show."""

from __future__ import annotations

import dataclasses
import re
import typing

from celebbasis_ext.errors import InvalidSettings
from celebbasis_ext.types import TrainConfig

FIELDS = tuple(field.name for field in dataclasses.fields(TrainConfig))
TYPES = typing.get_type_hints(TrainConfig)
RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, 100_000),
    "batch": (1, 64),
    "learning_rate": (1e-8, 10),
    "components": (1, 4096),
    "average": (0, 1),
    "background_weight": (0, 1),
    "views": (1, 64),
    "zoom": (0, 0.9),
    "seed": (0, 2**31 - 1),
}
"""The least and the most of every number. Beyond them memory ends, or what is learned is nothing."""


def explanations() -> dict[str, str]:
    """{field: what the docstring says of it}."""
    text = (TrainConfig.__doc__ or "").split("Attributes:")[-1]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in entries}


def checked(config: TrainConfig) -> TrainConfig:
    """The config itself.

    Raises:
        InvalidSettings: A number is out of its range.
    """
    for name, (least, most) in RANGES.items():
        value = getattr(config, name)
        if value is not None and not least <= value <= most:
            raise InvalidSettings(f"{name} is {value}, expected {least:g} to {most:g}.", "Choose another value.")
    return config
