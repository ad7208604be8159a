"""Puts the miniature where a WebUI, ComfyUI or diffusers can load it."""

from __future__ import annotations

import shutil
from pathlib import Path

from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.files.clip_tokenizer import write_clip_tokenizer
from celebbasis_ext.miniature.workshop import Assets

TEXT_CONFIG = Path(__file__).parents[1] / "data" / "configs" / "miniature" / "text_encoder" / "config.json"


def install_miniature(folder: Path, assets: Assets | None = None) -> Path:
    """Copies the checkpoint into `folder`, with a `.yaml` that names its small text encoder by absolute path.

    Returns:
        The checkpoint's path.
    """
    assets = (assets or Assets()).checked()
    target = folder / assets.checkpoint.name
    text_folder = folder / "miniature-text-encoder"
    write_clip_tokenizer(text_folder)
    shutil.copyfile(TEXT_CONFIG, text_folder / "config.json")
    yaml = assets.checkpoint.with_suffix(".yaml").read_text(encoding="utf-8")
    with replacing(target.with_suffix(".yaml")) as unfinished:
        unfinished.write_text(yaml.replace("TEXT_ENCODER_FOLDER", text_folder.resolve().as_posix()), encoding="utf-8")
    with replacing(target) as unfinished:
        shutil.copyfile(assets.checkpoint, unfinished)
    return target
