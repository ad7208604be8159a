"""The people in a folder: who is there, renamed, deleted. Files that are not ours are neither shown nor touched."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from celebbasis_ext.errors import CelebBasisError, UnknownPerson
from celebbasis_ext.files.embedding import SUFFIX, check_free, embedding_path, load_embedding

MADE_BY = "celebbasis.made_by"
COMPANIONS = (".preview.png", ".txt", ".resume")
"""What may lie beside an embedding and belongs to it."""


@dataclass(frozen=True)
class TrainedPerson:
    """A file of ours.

    Attributes:
        name: The trigger word.
        path: The embedding.
        preview: Its picture, or None.
        resumable: Whether an interrupted run lies beside it.
        changed: When the file was written, in seconds since 1970.
        facts: What the header says: "checkpoint", "settings", "scores", "steps", "description" ...
    """

    name: str
    path: Path
    preview: Path | None
    resumable: bool
    changed: float
    facts: Mapping[str, Any]


def list_people(folder: Path) -> tuple[TrainedPerson, ...]:
    """Those in a folder, the newest first; damaged and foreign files are passed over."""
    return tuple(sorted(_people(folder, _files(folder)), key=lambda person: person.changed, reverse=True))


def find_person(folder: Path, name: str) -> TrainedPerson:
    """The one of that name.

    Raises:
        InvalidName: The name is none.
        UnknownPerson: There is no such file, or it is not ours.
    """
    path = embedding_path(folder, name)
    person = _person(path, {file.name: file.stat() for file in (path, *_companions(path)) if file.is_file()})
    if person is None:
        raise UnknownPerson(
            f"There is no person named {name!r} in {folder}, or the file was not made here.", "Refresh the list."
        )
    return person


def versions(folder: Path) -> dict[str, int]:
    """Who is in a folder, and when they or their card changed last, in microseconds since 1970."""
    files = _files(folder)
    return {
        person.name: max(files[file.name].st_mtime_ns for file in _beside(person.path) if file.name in files) // 1000
        for person in _people(folder, files)
    }


def rename_person(folder: Path, name: str, new_name: str) -> Path:
    """Gives a person another trigger word: the embedding and what belongs to it move, nothing is overwritten.

    Raises:
        InvalidName, NameTaken: The new name cannot be used.
        UnknownPerson: The person is not there, or not ours.
    """
    person = find_person(folder, name)
    target = embedding_path(folder, new_name) if new_name.lower() == name.lower() else check_free(folder, new_name)
    for companion in _companions(person.path):
        moved = target.with_name(target.stem + companion.name[len(person.path.stem) :])
        if not moved.exists() or moved.samefile(companion):
            companion.rename(moved)
    person.path.rename(target)
    return target


def delete_person(folder: Path, name: str) -> tuple[Path, ...]:
    """Removes a person's embedding and what belongs to it; returns what was removed.

    Raises:
        InvalidName, UnknownPerson: See `find_person`.
    """
    person = find_person(folder, name)
    removed = (person.path, *_companions(person.path))
    for path in removed:
        path.unlink()
    return removed


def _files(folder: Path) -> dict[str, os.stat_result]:
    """What is in a folder, by name. Folders of thousands are usual, and read while somebody waits: in one go."""
    found: dict[str, os.stat_result] = {}
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            with suppress(FileNotFoundError):  # somebody is deleted this moment
                if entry.is_file():
                    found[entry.name] = entry.stat()
    return found


def _people(folder: Path, files: Mapping[str, os.stat_result]) -> list[TrainedPerson]:
    return [person for name in files if (person := _person(folder / name, files)) is not None]


def _person(path: Path, files: Mapping[str, os.stat_result]) -> TrainedPerson | None:
    """Who is in a file among those of its folder; None where it is not ours."""
    if path.suffix != SUFFIX or path.name not in files:
        return None
    stat = files[path.name]
    try:
        facts = _facts_of(path, stat.st_mtime_ns, stat.st_size)
    except CelebBasisError:
        return None
    if facts is None:
        return None
    preview, resume = path.with_suffix(".preview.png"), path.with_suffix(".resume")
    return TrainedPerson(
        path.stem, path, preview if preview.name in files else None, resume.name in files, stat.st_mtime, facts
    )


@lru_cache(maxsize=1 << 14)
def _facts_of(path: Path, mtime_ns: int, size: int) -> Mapping[str, Any] | None:
    """What the header of a file, as it is since then, says; None where it is not ours. What cannot be read raises, and
    is tried again.
    """
    metadata = load_embedding(path).metadata
    return MappingProxyType(_facts(metadata)) if MADE_BY in metadata else None


def _facts(metadata: Any) -> dict[str, Any]:
    """The header's own entries, read; what is no JSON stays text."""
    facts: dict[str, Any] = {}
    for key, value in metadata.items():
        if key.startswith("celebbasis."):
            try:
                facts[key.removeprefix("celebbasis.")] = json.loads(value)
            except (ValueError, RecursionError):
                facts[key.removeprefix("celebbasis.")] = value
    return facts


def _beside(path: Path) -> list[Path]:
    """An embedding, and where what belongs to it would be."""
    return [path, *(path.with_name(path.stem + ending) for ending in COMPANIONS)]


def _companions(path: Path) -> list[Path]:
    return [companion for companion in _beside(path)[1:] if companion.is_file()]
