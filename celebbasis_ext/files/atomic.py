"""Files are whole or not there: written under another name, then moved."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; moves it to `path` at the end, removes it on any error.

    The temporary name has no extension that a host would load.
    """
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.unfinished")
    try:
        yield unfinished
        _usual_permissions(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _usual_permissions(path: Path) -> None:
    """Some writers make files that only their owner may read; a WebUI may run as somebody else."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
