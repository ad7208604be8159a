"""Files are whole or not there: written under another name, then moved."""

from __future__ import annotations

import errno
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celebbasis_ext.errors import CannotWrite

_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.unfinished")
_ABANDONED_AFTER = 60.0
"""Seconds since the last byte; nobody who is alive and writing pauses for that long."""
_HINTS = {
    errno.ENOSPC: "Make room on the disk, or choose another folder.",
    errno.EDQUOT: "Make room on the disk, or choose another folder.",
    errno.EROFS: "Choose a folder that can be written to.",
    errno.EACCES: "Choose a folder that you may write to.",
    errno.EPERM: "Choose a folder that you may write to.",
    errno.ENOTDIR: "Choose a folder, not a file.",
    errno.EEXIST: "Choose a folder, not a file.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; moves it to `path` at the end, removes it on any error.

    The temporary name has no extension that a host would load. What a killed process left behind under such a name
    is cleared away first. Folders are made.

    Raises:
        CannotWrite: Whatever the file system says; `path` is what it was.
    """
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(path.parent)
        yield unfinished
        _usual_permissions(unfinished)
        unfinished.replace(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CannotWrite(
            f"{path} cannot be written: {reason}.", _HINTS.get(error.errno or 0, "Choose another folder.")
        ) from error
    finally:
        _remove(unfinished)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all, even where the power fails; raises CannotWrite."""
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _clear_abandoned(folder: Path) -> None:
    """Removes what a killed process left in a folder."""
    now = time.time()
    for entry in folder.iterdir():
        if _UNFINISHED.fullmatch(entry.name) and now - _last_written(entry, now) > _ABANDONED_AFTER:
            _remove(entry)


def _last_written(path: Path, otherwise: float) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return otherwise


def _remove(path: Path) -> None:
    """Removes a file if it is there; that it cannot be removed must not hide why it was to be."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def _usual_permissions(path: Path) -> None:
    """Some writers make files that only their owner may read; a WebUI may run as somebody else."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
