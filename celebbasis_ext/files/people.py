"""The people in a folder: who is there, renamed, deleted. Files that are not ours are neither shown nor touched."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
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
    facts: dict[str, Any]


def list_people(folder: Path) -> tuple[TrainedPerson, ...]:
    """Those in a folder, the newest first; damaged and foreign files are passed over."""
    paths = folder.glob(f"*{SUFFIX}") if folder.is_dir() else ()
    found = [person for path in paths if (person := _person(path)) is not None]
    return tuple(sorted(found, key=lambda person: person.changed, reverse=True))


def find_person(folder: Path, name: str) -> TrainedPerson:
    """The one of that name.

    Raises:
        InvalidName: The name is none.
        UnknownPerson: There is no such file, or it is not ours.
    """
    path = embedding_path(folder, name)
    person = _person(path) if path.is_file() else None
    if person is None:
        raise UnknownPerson(
            f"There is no person named {name!r} in {folder}, or the file was not made here.", "Refresh the list."
        )
    return person


def versions(folder: Path) -> dict[str, int]:
    """Who is in a folder, and when they or their card changed last, in microseconds since 1970; foreign files too."""
    found: dict[str, int] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # somebody is deleted this moment
            found[path.stem] = max(file.stat().st_mtime_ns for file in (path, *_companions(path))) // 1000
    return found


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


def _person(path: Path) -> TrainedPerson | None:
    """What is known of a file; None where it is not ours."""
    try:
        metadata = load_embedding(path).metadata
    except CelebBasisError:
        return None
    if MADE_BY not in metadata:
        return None
    preview = path.with_suffix(".preview.png")
    return TrainedPerson(
        path.stem, path, preview if preview.is_file() else None, path.with_suffix(".resume").is_file(),
        path.stat().st_mtime, _facts(metadata),
    )  # fmt: skip


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


def _companions(path: Path) -> list[Path]:
    beside = (path.with_name(path.stem + ending) for ending in COMPANIONS)
    return [companion for companion in beside if companion.is_file()]
