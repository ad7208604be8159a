"""sha256 of large files, computed once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.files.folders import cache_dir


def cached_sha256(path: Path) -> str:
    """64 hex digits; remembered until the file's path, size or time of change is another."""
    stat = path.stat()
    facts = json.dumps([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
    note = cache_dir() / "sha256" / hashlib.sha256(facts.encode()).hexdigest()[:32]
    if note.exists() and len(known := note.read_text(encoding="ascii", errors="replace").strip()) == 64:
        return known
    digest = _sha256(path)
    note.parent.mkdir(parents=True, exist_ok=True)
    with replacing(note) as unfinished:
        unfinished.write_text(digest, encoding="ascii")
    return digest


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
