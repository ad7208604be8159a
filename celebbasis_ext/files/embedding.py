"""The embedding file: one tensor that every host reads, and a header that says who made it and how.

SD1 and SD2 files have the key `emb_params` [T, D]; SDXL files have `clip_l` and `clip_g`. The safetensors header is
not read by the hosts, so it is free for provenance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from celebbasis_ext.errors import InvalidEmbedding, InvalidName, NameTaken
from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.types import Embedding, Floats, Image

SINGLE_KEY = "emb_params"
SUFFIX = ".safetensors"
_FORBIDDEN = '<>:"/\\|?*()[]{},'
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))}


def check_name(name: str) -> str:
    """The name, if it can be a trigger word and a file name everywhere.

    Raises:
        InvalidName: If it cannot; the hint proposes another.
    """
    problem = _problem(name)
    if problem:
        raise InvalidName(f"The name {name!r} {problem}.", "Use letters, digits and dashes, for example anna-cb.")
    return name


def _problem(name: str) -> str:
    if not name.strip():
        return "is empty"
    if len(name) > 80:
        return f"has {len(name)} characters, at most 80 are allowed"
    if name != name.strip() or any(c.isspace() or ord(c) < 32 for c in name):
        return "contains spaces or control characters"
    if any(c in _FORBIDDEN for c in name):
        return "contains a character that means something in paths or prompts"
    if not (name[0].isalnum() and name[-1].isalnum()):
        return "does not begin and end with a letter or a digit"
    return "is reserved by Windows" if name.lower() in _RESERVED else ""


def embedding_path(folder: Path, name: str) -> Path:
    return folder / f"{check_name(name)}{SUFFIX}"


def check_free(folder: Path, name: str, overwrite: bool = False) -> Path:
    """Where the embedding will be written.

    Raises:
        NameTaken: If a file of that name, in any case or kind, is there and `overwrite` is False.
    """
    path = embedding_path(folder, name)
    if overwrite or not folder.exists():
        return path
    for other in folder.iterdir():
        if other.stem.lower() == name.lower() and other.suffix.lower() in (SUFFIX, ".pt", ".bin"):
            raise NameTaken(
                f"An embedding named {other.stem!r} exists already ({other}).", "Choose another name, or --overwrite."
            )
    return path


def save_embedding(embedding: Embedding, folder: Path, preview: Image | None = None, overwrite: bool = False) -> Path:
    """Writes `<name>.safetensors` and, if there is one, `<name>.preview.png`; each whole or not at all.

    Raises:
        InvalidName, NameTaken: See `check_name` and `check_free`.
    """
    from safetensors.numpy import save_file

    path = check_free(folder, embedding.name, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    vectors = {key: np.ascontiguousarray(value, np.float32) for key, value in embedding.vectors.items()}
    tensors = {SINGLE_KEY: next(iter(vectors.values()))} if len(vectors) == 1 else vectors
    with replacing(path) as unfinished:
        save_file(tensors, unfinished, dict(embedding.metadata))
    if preview is not None:
        save_preview(path, preview)
    return path


def save_preview(path: Path, preview: Image) -> None:
    """Writes the picture [h, w, 3] that hosts show for the embedding at `path`."""
    from PIL import Image as Pillow

    with replacing(path.with_suffix(".preview.png")) as unfinished:
        Pillow.fromarray(preview).save(unfinished, format="PNG")


def load_embedding(path: Path) -> Embedding:
    """Reads a file of ours, or of anybody in the same layout.

    Raises:
        InvalidEmbedding: If it is missing, damaged, or holds anything else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {key: np.asarray(file.get_tensor(key), np.float32) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InvalidEmbedding(
            f"{path} cannot be read as an embedding ({error}).", "Expected a .safetensors file."
        ) from error
    return Embedding(path.stem, _checked_vectors(path, tensors), metadata)


def _checked_vectors(path: Path, tensors: Mapping[str, Floats]) -> dict[str, Floats]:
    if set(tensors) == {"clip_l", "clip_g"} and all(t.ndim == 2 for t in tensors.values()):
        return dict(tensors)
    if len(tensors) == 1:
        (only,) = tensors.values()
        if only.ndim <= 2 and only.size:
            return {"clip_l": np.atleast_2d(only)}
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    raise InvalidEmbedding(
        f"{path.name} is no embedding: expected one [vectors, width] tensor, or clip_l and clip_g; got {shapes}.",
        "Choose a Textual-Inversion file.",
    )


def pack_metadata(coefficients: Floats, **facts: object) -> dict[str, str]:
    """Header text: the coefficients [T, K] and whatever else is to be known, as JSON."""
    header = {"celebbasis.made_by": "Celeb Basis, learned from a photo of a face (arXiv 2306.00926)"}
    header["celebbasis.coefficients"] = json.dumps([[float(f"{c:.7g}") for c in row] for row in coefficients])
    return header | {f"celebbasis.{key}": json.dumps(value) for key, value in facts.items()}


def stored_coefficients(embedding: Embedding) -> Floats | None:
    """[T, K] from the header of a file of ours, else None."""
    text = embedding.metadata.get("celebbasis.coefficients")
    return None if text is None else np.array(json.loads(text), np.float32)
