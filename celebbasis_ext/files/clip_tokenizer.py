"""The tokenizer of every Stable Diffusion text encoder, brought along: 49,408 tokens, nothing to download."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.files.folders import cache_dir

MERGES = Path(__file__).parents[1] / "data" / "bpe_simple_vocab_16e6.txt.gz"
MERGE_COUNT = 49152 - 256 - 2


def _byte_characters() -> list[str]:
    """The printable stand-ins for the 256 bytes, in the order of OpenAI's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [256 + i for i in range(256 - len(printable))]
    return [chr(code) for code in printable + rest]


def write_clip_tokenizer(folder: Path) -> None:
    """Writes `vocab.json`, `merges.txt` and the config that transformers' `CLIPTokenizer` reads from a folder.

    A config that is there already stays: OpenCLIP's encoders (SD2, SDXL's second) pad with "!" instead of the end.
    """
    merges = gzip.decompress(MERGES.read_bytes()).decode("utf-8").split("\n")[1 : MERGE_COUNT + 1]
    characters = _byte_characters()
    tokens = [*characters, *(c + "</w>" for c in characters), *("".join(merge.split()) for merge in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    _write(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    _write(folder / "merges.txt", "#version: 0.2\n" + "\n".join(merges) + "\n")
    if not (folder / "tokenizer_config.json").exists():
        _write(folder / "tokenizer_config.json", json.dumps(_CONFIG, indent=2))


def has_clip_tokenizer(folder: Path) -> bool:
    return all((folder / name).exists() for name in ("vocab.json", "merges.txt", "tokenizer_config.json"))


def _write(path: Path, text: str) -> None:
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


_CONFIG = {
    "tokenizer_class": "CLIPTokenizer",
    "model_max_length": 77,
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
}


def clip_tokenizer() -> Any:
    """transformers' `CLIPTokenizer`, its files kept in the cache folder."""
    from transformers import CLIPTokenizer

    folder = cache_dir() / "clip-tokenizer"
    if not has_clip_tokenizer(folder):
        write_clip_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(str(folder))
