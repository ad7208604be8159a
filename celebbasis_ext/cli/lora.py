"""LoRAs as options: to learn one beside the words, and to draw with them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celebbasis_ext.types import Lora, LoraConfig


def add_lora(command: argparse.ArgumentParser) -> None:
    """To learn a LoRA for each person too."""
    group = command.add_argument_group("LoRA")
    group.add_argument(
        "--lora", action="store_true",
        help="learn a LoRA of the same name too, for what two words cannot say: closer to the photo, a larger file",
    )  # fmt: skip
    group.add_argument(
        "--lora-steps", type=int, metavar="N", help="optimiser steps; more is closer to the photo, and leaks more of it"
    )
    group.add_argument("--lora-rank", type=int, metavar="N", help="of its layers; the file grows with it")


def lora_config_from(options: argparse.Namespace) -> LoraConfig | None:
    """What `add_lora` asked for; None where it did not. Raises InvalidSettings where it makes no sense."""
    from celebbasis_ext.errors import InvalidSettings
    from celebbasis_ext.types import LoraConfig

    if options.lora:
        return changed(LoraConfig(), steps=options.lora_steps, rank=options.lora_rank)
    if options.lora_steps is not None or options.lora_rank is not None:
        raise InvalidSettings("LoRA settings were given, but no LoRA is to be learned.", "Add --lora.")
    return None


def changed(config: LoraConfig, **asked: int | None) -> LoraConfig:
    """With what was asked for in the place of the defaults. Raises InvalidSettings where it makes no sense."""
    import dataclasses

    from celebbasis_ext.errors import InvalidSettings

    given = {name: value for name, value in asked.items() if value is not None}
    if any(value < 1 for value in given.values()):
        raise InvalidSettings("A LoRA needs at least one step and a rank of at least one.", "Choose larger numbers.")
    return dataclasses.replace(config, **given)


def weighed(text: str) -> tuple[Path, float]:
    """From anna-cb.safetensors:0.8 to file and weight, which is 1 where none stands there."""
    file, colon, weight = text.rpartition(":")
    try:
        return (Path(file), float(weight)) if colon else (Path(text), 1.0)
    except ValueError:  # the colon of a Windows drive
        return Path(text), 1.0


def read_loras(given: list[tuple[Path, float]]) -> list[tuple[Lora, float]]:
    """Raises InvalidLora where a file cannot be read."""
    from celebbasis_ext.files.lora import load_lora

    return [(load_lora(path), weight) for path, weight in given]
