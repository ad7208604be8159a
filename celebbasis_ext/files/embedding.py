"""The embedding file: one tensor that every host reads, and a header that says who made it and how.

SD1 and SD2 files have the key `emb_params` [T, D]; SDXL files have `clip_l` and `clip_g`. The safetensors header is
not read by the hosts, so it is free for provenance. Other people's files are read in every layout that hosts read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from celebbasis_ext.errors import InvalidEmbedding, NameTaken
from celebbasis_ext.files.atomic import write_whole
from celebbasis_ext.files.card import save_card
from celebbasis_ext.files.name_rules import check_name
from celebbasis_ext.files.torch_file import (
    LARGEST_FILE,
    ForeignCode,
    StoredTensor,
    entries_of,
    legacy_torch_bytes,
    read_torch_file,
)
from celebbasis_ext.types import Embedding, Floats, Image

SINGLE_KEY = "emb_params"
SUFFIX = ".safetensors"
OLD_SUFFIX = ".pt"
_SUFFIXES = (SUFFIX, OLD_SUFFIX, ".bin")
ENCODER_OF_WIDTH = {96: "clip_l", 768: "clip_l", 1024: "clip_h", 1280: "clip_g"}
"""The text encoders of Stable Diffusion by their width; 96 is the miniature's."""
MOST_VECTORS = 75
"""A prompt's chunk has no room for more, so that hosts fail at the first use."""
_WIDEST = 8192
_FOLDERS_DEEP = 3


def embedding_path(folder: Path, name: str) -> Path:
    return folder / f"{check_name(name)}{SUFFIX}"


def embeddings_in(folder: Path) -> Iterator[Path]:
    """Every embedding file in a folder and, as hosts look there too, three levels below."""
    for root, folders, names in os.walk(folder):
        if len(Path(root).relative_to(folder).parts) >= _FOLDERS_DEEP:
            folders.clear()
        yield from (Path(root) / name for name in sorted(names) if _is_embedding(name))


def _is_embedding(name: str) -> bool:
    return Path(name).suffix.lower() in _SUFFIXES and not name.startswith(".")


def check_free(folder: Path, name: str, overwrite: bool = False) -> Path:
    """Where the embedding will be written.

    Raises:
        NameTaken: If a file of that name, in any case or kind, is there. With `overwrite` only those that would not be
            replaced count: hosts would go on to load one of them.
        InvalidName: See `check_name`.
    """
    path = embedding_path(folder, name)
    replaced = {path, path.with_suffix(OLD_SUFFIX)} if overwrite else set()
    for other in embeddings_in(folder):
        if other.stem.lower() == name.lower() and other not in replaced:
            raise NameTaken(
                f"An embedding named {other.stem!r} exists already ({other}).",
                "Move that file away." if overwrite else "Choose another name, or overwrite it.",
            )
    return path


def save_embedding(
    embedding: Embedding,
    folder: Path,
    preview: Image | None = None,
    overwrite: bool = False,
    also_pt: bool = False,
) -> Path:
    """Writes `<name>.safetensors` and, where there is a picture, the embedding's card; each file whole or not at all.

    Args:
        embedding: The person.
        folder: Is made where it is missing.
        preview: [h, w, 3] picture for the card, see `save_card`.
        overwrite: Replace an embedding of this name.
        also_pt: Write `<name>.pt` too, in the format of old WebUIs. One that is there already is replaced in any
            case: of two files of one name hosts load whichever comes last.

    Raises:
        InvalidName, NameTaken, CannotWrite: See `check_name`, `check_free` and `replacing`.
    """
    from safetensors.numpy import save

    path = check_free(folder, embedding.name, overwrite)
    old = path.with_suffix(OLD_SUFFIX)
    vectors = {key: np.ascontiguousarray(value, np.float32) for key, value in embedding.vectors.items()}
    tensors = {SINGLE_KEY: next(iter(vectors.values()))} if len(vectors) == 1 else vectors
    write_whole(path, save(tensors, dict(embedding.metadata)))
    if also_pt or old.exists():
        write_whole(old, _old_format(embedding.name, vectors, embedding.metadata))
    if preview is not None:
        save_card(path, preview, embedding.metadata)
    return path


def _old_format(name: str, vectors: Mapping[str, Floats], metadata: Mapping[str, str]) -> bytes:
    """What AUTOMATIC1111 itself writes; of two text encoders it takes nothing but the two tensors."""
    import torch

    tensors = {key: torch.from_numpy(value) for key, value in vectors.items()}
    if len(tensors) > 1:
        return legacy_torch_bytes(tensors)
    (tensor,) = tensors.values()
    checkpoint = json.loads(metadata.get("celebbasis.checkpoint", "{}"))
    return legacy_torch_bytes(
        {
            "string_to_token": {"*": 265},
            "string_to_param": {"*": tensor},
            "name": name,
            "step": json.loads(metadata.get("celebbasis.steps", "0")),
            "sd_checkpoint": checkpoint.get("sha256", "")[:10] or None,
            "sd_checkpoint_name": checkpoint.get("name"),
        }
    )


def load_embedding(path: Path) -> Embedding:
    """Reads anybody's embedding: one tensor under any key, or clip_l and clip_g; .safetensors, or .pt and .bin as the
    WebUI and diffusers write them. A pickle's code is never run.

    Raises:
        InvalidEmbedding: If it is missing, damaged, carries code, or holds anything else.
    """
    try:
        if path.is_dir():
            raise ValueError("it is a directory")
        if path.suffix.lower() == SUFFIX:
            tensors, metadata = _read_safetensors(path)
        else:
            tensors, metadata = _read_torch(path)
    except ForeignCode as error:
        raise InvalidEmbedding(
            f"{path} carries code ({error}), which was not run; an embedding has none.",
            "Do not open it elsewhere; ask whoever made it for a .safetensors file.",
        ) from error
    except (ValueError, KeyError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InvalidEmbedding(
            f"{path} cannot be read as an embedding: {reason}.",
            "Choose a Textual-Inversion file, or download it again.",
        ) from error
    return Embedding(path.stem, _checked_vectors(path, tensors), metadata)


def _read_safetensors(path: Path) -> tuple[dict[str, Floats], dict[str, str]]:
    """Raises ValueError or OSError.

    The torch reader, because numpy knows no bfloat16; and copies, because Windows does not replace a mapped file.
    """
    from safetensors import SafetensorError, safe_open

    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"it has more than {LARGEST_FILE >> 20} MiB")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        if any(tensor.is_complex() for tensor in tensors.values()):
            raise ValueError("its numbers are complex")
        return {key: tensor.float().numpy().copy() for key, tensor in tensors.items()}, metadata
    except SafetensorError as error:
        raise ValueError(f"it is damaged or no .safetensors file ({error})") from error
    except (TypeError, AttributeError, RuntimeError) as error:  # a dtype that this torch does not know
        raise ValueError(f"its numbers are of an unknown kind ({error})") from error


def _read_torch(path: Path) -> tuple[dict[str, Floats], dict[str, str]]:
    """Raises ForeignCode, ValueError, KeyError or OSError."""
    file = read_torch_file(path)
    entries = entries_of(file.content)
    tensors = entries_of(entries.get("string_to_param")) or entries
    facts = {
        key: str(entries[key]) for key in ("name", "step", "sd_checkpoint", "sd_checkpoint_name") if entries.get(key)
    }
    return {str(k): file.array(v) for k, v in tensors.items() if isinstance(v, StoredTensor)}, facts


def _checked_vectors(path: Path, tensors: Mapping[str, Floats]) -> dict[str, Floats]:
    """{encoder: [T, D]}, the encoder named by its width."""
    if set(tensors) == {"clip_l", "clip_g"}:
        vectors = {key: np.atleast_2d(tensors[key]) for key in ("clip_l", "clip_g")}
    elif len(tensors) == 1:
        only = np.atleast_2d(next(iter(tensors.values())))
        vectors = {ENCODER_OF_WIDTH.get(only.shape[-1], "clip_l"): only}
    else:
        vectors = {}
    problem = _problem(list(vectors.values()))
    if problem:
        shapes = ", ".join(f"{key} {list(value.shape)}" for key, value in list(tensors.items())[:4]) or "no tensor"
        more = f" and {len(tensors) - 4} more" if len(tensors) > 4 else ""
        raise InvalidEmbedding(
            f"{path.name} is no embedding: {problem}; got {shapes}{more}.", "Choose a Textual-Inversion file."
        )
    return vectors


def _problem(vectors: list[Floats]) -> str:
    """What keeps arrays from being one person's word vectors; empty if nothing does."""
    if not vectors:
        return "expected one tensor, or clip_l and clip_g"
    if any(v.ndim != 2 for v in vectors):
        return "expected [vectors, width]"
    if any(not (1 <= v.shape[0] <= MOST_VECTORS and 1 <= v.shape[1] <= _WIDEST) for v in vectors):
        return f"expected 1 to {MOST_VECTORS} vectors, each 1 to {_WIDEST} wide"
    if len({len(v) for v in vectors}) > 1:
        return "expected as many vectors for clip_l as for clip_g"
    return "" if all(np.isfinite(v).all() for v in vectors) else "expected numbers, but some are NaN or infinite"


def check_width(embedding: Embedding, widths: Mapping[str, int]) -> None:
    """That an embedding fits a checkpoint's text encoders, {encoder: width}.

    Raises:
        InvalidEmbedding: If it does not.
    """
    own = {encoder: vectors.shape[-1] for encoder, vectors in embedding.vectors.items()}
    if own != dict(widths):
        raise InvalidEmbedding(
            f"{embedding.name} does not fit this checkpoint: expected {_widths(widths)}, got {_widths(own)}.",
            "Choose a checkpoint of the family that it was made for.",
        )


def _widths(widths: Mapping[str, int]) -> str:
    return " and ".join(f"vectors {width} wide for {encoder}" for encoder, width in widths.items())


LEARNED = "learned from a photo of a face"


def pack_metadata(coefficients: Floats, origin: str = LEARNED, **facts: object) -> dict[str, str]:
    """Header text: where the person comes from, the coefficients [T, K], and whatever else is to be known, as JSON."""
    header = {"celebbasis.made_by": f"Celeb Basis, {origin} (arXiv 2306.00926)"}
    header["celebbasis.coefficients"] = json.dumps([[float(f"{c:.7g}") for c in row] for row in coefficients])
    return header | {f"celebbasis.{key}": json.dumps(value) for key, value in facts.items()}


def stored_coefficients(embedding: Embedding) -> Floats | None:
    """[T, K] from the header of a file of ours, else None.

    Raises:
        InvalidEmbedding: If what stands there is damaged.
    """
    stored = stored_fact(embedding, "coefficients")
    if stored is None:
        return None
    try:
        coefficients = np.array(stored, np.float32)
    except (ValueError, TypeError, OverflowError):
        coefficients = np.zeros(0, np.float32)
    if coefficients.ndim != 2 or not coefficients.size or not np.isfinite(coefficients).all():
        raise InvalidEmbedding(
            f"The coefficients in the header of {embedding.name} are damaged: expected [tokens, components] numbers.",
            "Learn the person again.",
        )
    return coefficients


def stored_fact(embedding: Embedding, key: str) -> Any:
    """A fact from the header of a file of ours, such as "settings"; None where it is not there.

    Raises:
        InvalidEmbedding: If it is damaged.
    """
    text = embedding.metadata.get(f"celebbasis.{key}")
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidEmbedding(
            f"The header of {embedding.name} is damaged at {key!r}.", "Learn the person again."
        ) from error
