"""Which checkpoint is this? Family, prediction type and precision, from what is in the file and not from its name.

Nothing is loaded: of a `.safetensors` file only the header is read, of a folder the configs.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from celebbasis_ext.errors import UnsupportedCheckpoint
from celebbasis_ext.files.checkpoint_folder import read_folder
from celebbasis_ext.files.checkpoint_kinds import CHOOSE, UNET, refuse_foreign, refuse_quantised, refused
from celebbasis_ext.files.pickled import read_pickled_header
from celebbasis_ext.files.safetensors_header import Header, read_header

Family = Literal["sd1", "sd2", "sdxl"]
PredictionType = Literal["epsilon", "v_prediction"]
Precision = Literal["fp32", "fp16", "bf16"]

# Family -> the token tables that make it.
_TOKEN_TABLES: dict[Family, tuple[str, ...]] = {
    "sd1": ("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",),
    "sd2": ("cond_stage_model.model.token_embedding.weight",),
    "sdxl": (
        "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
        "conditioner.embedders.1.model.token_embedding.weight",
    ),
}
# Family and widths of the token tables -> folder in data/configs.
_CONFIGS: dict[tuple[Family, tuple[int, ...]], str] = {
    ("sd1", (96,)): "miniature", ("sd1", (768,)): "sd1", ("sd2", (1024,)): "sd2", ("sdxl", (768, 1280)): "sdxl",
}  # fmt: skip
_PRECISIONS: dict[str, Precision] = {"F32": "fp32", "F64": "fp32", "F16": "fp16", "BF16": "bf16"}


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint on disk that can be trained through.

    Attributes:
        path: A file, or a folder in diffusers' layout.
        family: "sd1", "sd2" or "sdxl".
        config: Folder in `data/configs` that fits a file; empty for a folder, which brings its own.
        prediction_type: What the UNet predicts; None where only the weights can tell (`hosts/standalone.py` asks).
        precision: How the UNet is stored.
        zero_snr: Its noise schedule ends in pure noise (Lin et al. 2023).
    """

    path: Path
    family: Family
    config: str
    prediction_type: PredictionType | None
    precision: Precision
    zero_snr: bool = False


def recognise(path: Path) -> CheckpointFile:
    """Says what a file or folder is.

    Raises:
        UnsupportedCheckpoint: If it is missing, damaged, or something that cannot be trained through; the message
            says what it is.
    """
    if path.is_dir():
        found = read_folder(path)
        return CheckpointFile(
            path, found.family, "", found.prediction_type, _PRECISIONS.get(found.stored, "fp32"), found.zero_snr
        )
    header = _header_of(path)
    refuse_foreign(path.name, header)
    family = _family(path, header)
    prediction = stated_prediction(header, _yaml_beside(path)) or (None if family == "sd2" else "epsilon")
    return CheckpointFile(
        path, family, _config(path, family, header), prediction, _precision(header), "ztsnr" in header.shapes
    )


def _header_of(path: Path) -> Header:
    if not path.exists():
        raise UnsupportedCheckpoint(f"There is no checkpoint {path}.", "Check the path.")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"GGUF":
        refuse_quantised(path.name, "GGUF")
    return read_pickled_header(path) if path.suffix.lower() in (".ckpt", ".pt", ".pth", ".bin") else read_header(path)


def _family(path: Path, header: Header) -> Family:
    for family, tables in _TOKEN_TABLES.items():
        if all(table in header.shapes for table in tables):
            return family
    raise refused(path.name, "a UNet without the text encoders of SD 1.x, SD 2.x or SDXL", CHOOSE)


def _config(path: Path, family: Family, header: Header) -> str:
    widths = tuple(header.shapes[table][-1] for table in _TOKEN_TABLES[family])
    if (family, widths) not in _CONFIGS:
        known = ", ".join("+".join(map(str, w)) for _, w in _CONFIGS)
        raise refused(path.name, f"of an unknown size (text encoders of width {widths}; known are {known})")
    return _CONFIGS[family, widths]


def _precision(header: Header) -> Precision:
    """That of most of the UNet's tensors."""
    stored = Counter(kind for key, kind in header.dtypes.items() if key.startswith(UNET))
    return _PRECISIONS[stored.most_common(1)[0][0]]


def stated_prediction(header: Header, yaml: str = "") -> PredictionType | None:
    """What file or `.yaml` say about the UNet's prediction; None where they say nothing.

    A `v_pred` tensor is how SDXL fine-tunes say it, `modelspec.*` is the metadata standard, and a `.yaml` beside the
    file is what the WebUI goes by.
    """
    if "v_pred" in header.shapes:
        return "v_prediction"
    said = header.metadata.get("modelspec.prediction_type") or header.metadata.get("modelspec.predict_key", "")
    architecture = header.metadata.get("modelspec.architecture", "")
    if said.lower().startswith("v") or architecture.endswith("-v"):
        return "v_prediction"
    if said.lower().startswith("eps") or architecture == "stable-diffusion-v2-512":
        return "epsilon"
    if "parameterization:" in yaml:
        return "v_prediction" if re.search(r"^\s*parameterization:\s*[\"']?v\b", yaml, re.MULTILINE) else "epsilon"
    return "epsilon" if "linear_start:" in yaml else None


def _yaml_beside(path: Path) -> str:
    yaml = path.with_suffix(".yaml")
    return yaml.read_text(encoding="utf-8", errors="replace") if yaml.is_file() else ""
