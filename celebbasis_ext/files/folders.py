"""Where things are kept on this computer."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """For what can be made again: $CELEBBASIS_CACHE, or the system's usual place."""
    if chosen := os.environ.get("CELEBBASIS_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "celebbasis"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "celebbasis"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "celebbasis"


def models_dir() -> Path:
    """For weights that are fetched once and kept: $CELEBBASIS_MODELS, or the system's usual place for data."""
    if chosen := os.environ.get("CELEBBASIS_MODELS"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "celebbasis" / "models"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "celebbasis" / "models"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "celebbasis" / "models"
