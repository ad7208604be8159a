"""The pages of cards, as far as they remember folders."""

from __future__ import annotations

from pathlib import Path


class Lister:
    """Looks into a folder once, and then remembers what lay there."""

    def __init__(self) -> None:
        self.cached: dict[Path, set[str]] = {}

    def exists(self, path: str) -> bool:
        folder, name = Path(path).parent, Path(path).name
        if folder not in self.cached:
            self.cached[folder] = {file.name for file in folder.iterdir()}
        return name in self.cached[folder]

    def reset(self) -> None:
        self.cached.clear()


class ExtraNetworksPage:
    def __init__(self, title: str) -> None:
        self.name = title.lower()
        self.lister = Lister()


extra_pages: list[ExtraNetworksPage] = []
