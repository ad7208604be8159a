from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file


class Embedding:
    def __init__(self, vec: Any, name: str, step: int | None = None) -> None:
        self.vec, self.name, self.step = vec, name, step
        self.shape: int | None = None
        self.vectors = 0
        self.filename: str | None = None


class EmbeddingDatabase:
    def __init__(self) -> None:
        self.ids_lookup: dict[int, list[tuple[list[int], Embedding]]] = {}
        self.word_embeddings: dict[str, Embedding] = {}
        self.embedding_dirs: dict[str, float | None] = {}

    def register_embedding(self, embedding: Embedding, model: Any) -> Embedding | None:
        return self.register_embedding_by_name(embedding, model, embedding.name)

    def register_embedding_by_name(self, embedding: Embedding | None, model: Any, name: str) -> Embedding | None:
        ids = model.cond_stage_model.tokenize([name])[0]
        others = [own for own in self.ids_lookup.pop(ids[0], []) if own[1].name != name]
        if embedding is not None:
            others.append((ids, embedding))
            self.word_embeddings[name] = embedding
        else:
            self.word_embeddings.pop(name, None)
        if others:
            self.ids_lookup[ids[0]] = sorted(others, key=lambda own: len(own[0]), reverse=True)
        return embedding

    def find_embedding_at_position(self, tokens: list[int], offset: int) -> tuple[Embedding | None, int | None]:
        for ids, embedding in self.ids_lookup.get(tokens[offset], []):
            if tokens[offset : offset + len(ids)] == ids:
                return embedding, len(ids)
        return None, None

    def load_textual_inversion_embeddings(self, force_reload: bool = False) -> None:
        from modules import shared

        times = {folder: Path(folder).stat().st_mtime for folder in self.embedding_dirs if Path(folder).is_dir()}
        if not force_reload and all(self.embedding_dirs[folder] == time for folder, time in times.items()):
            return
        self.ids_lookup.clear()
        self.word_embeddings.clear()
        for folder, time in times.items():
            for path in sorted(Path(folder).rglob("*.safetensors")):
                (tensor,) = load_file(path).values()
                embedding = Embedding(tensor.float(), path.stem)
                embedding.vectors, embedding.shape, embedding.filename = len(tensor), tensor.shape[-1], str(path)
                self.register_embedding(embedding, shared.sd_model)
            self.embedding_dirs[folder] = time
