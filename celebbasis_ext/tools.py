"""What can be done with people once they are numbers: mix, make up, move, inspect, draw. Doors call these like jobs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from celebbasis_ext import blend
from celebbasis_ext.basis import load_basis
from celebbasis_ext.errors import InvalidEmbedding, InvalidSettings
from celebbasis_ext.files.embedding import (
    check_width,
    embeddings_in,
    load_embedding,
    stored_coefficients,
    stored_fact,
)
from celebbasis_ext.files.folders import cache_dir
from celebbasis_ext.files.picture import next_number, save_picture
from celebbasis_ext.inspection import Inspection, compare, inspect_file
from celebbasis_ext.jobs import Workshop, basis_of, usable_names
from celebbasis_ext.person import check_new_name, coefficients_in, save_person
from celebbasis_ext.types import CelebBasis, Embedding, Floats, Image, Lora, Saved

if TYPE_CHECKING:
    from celebbasis_ext.hosts.base import Host

_SAMPLE = re.compile(r"sample:(\d{1,18})")


@dataclass(frozen=True)
class Parent:
    """Somebody who goes into a mix.

    Attributes:
        who: A file; or as text the name of an embedding in the host's folder, a celebrity, or "sample:7" for a
            fictional person. Text is never taken for a path: it may come from another computer.
        weight: Negative leads away from them.
    """

    who: str | Path
    weight: float = 1.0


@dataclass(frozen=True)
class Moved:
    """A person over another checkpoint.

    Attributes:
        saved: The new file.
        by_names: Whether the two checkpoints' celebrities were compared; else the coefficients were taken as they are.
        agreement: Cosine between old and new word vectors, each less the new basis' mean; None where the widths differ.
    """

    saved: Saved
    by_names: bool
    agreement: float | None


def mix_people(
    workshop: Workshop, parents: Sequence[Parent], name: str, route: blend.Route = "sphere",
    *, overwrite: bool = False, also_pt: bool = False,
) -> Saved:  # fmt: skip
    """Writes somebody between several people; see `blend.mix`.

    Raises:
        InvalidSettings: If somebody is not known, or the weights cancel out.
        InvalidEmbedding, InvalidName, NameTaken, CannotWrite: See there.
    """
    check_new_name(workshop.host, name, overwrite)
    basis = basis_of(workshop)
    people = np.stack([_coefficients_of(workshop, basis, parent.who) for parent in parents])
    weights = [parent.weight for parent in parents]
    facts = {"mix": {"route": route, "parents": [{"who": _said(p.who), "weight": p.weight} for p in parents]}}
    made = save_person(
        workshop.host, basis, name, blend.mix(people, weights, route), facts,
        origin="mixed from other people", overwrite=overwrite, also_pt=also_pt,
    )  # fmt: skip
    return _saved(made)


def sample_people(
    workshop: Workshop, seeds: Sequence[int], names: Sequence[str], *, overwrite: bool = False, also_pt: bool = False
) -> Saved:
    """Writes fictional people, one for each seed; see `blend.sample`.

    Raises:
        InvalidName, NameTaken, CannotWrite: See there; nothing is written if one of the names cannot be used.
    """
    for name in names:
        check_new_name(workshop.host, name, overwrite)
    basis = basis_of(workshop)
    return _saved(
        *(
            save_person(
                workshop.host, basis, name, blend.sample(basis, seed), {"sample": {"seed": seed}},
                origin="made up, nobody's photo", overwrite=overwrite, also_pt=also_pt,
            )
            for seed, name in zip(seeds, names, strict=True)
        )
    )  # fmt: skip


def move_person(
    workshop: Workshop, embedding: Embedding, name: str,
    *, force: bool = False, overwrite: bool = False, also_pt: bool = False,
) -> Moved:  # fmt: skip
    """Writes a person of ours over the basis of the workshop's checkpoint; see `blend.carry_over`.

    Where the old basis is still in the cache the two are compared name by name; else the coefficients are taken as
    they are, which is right only as far as the two token tables are alike.

    Raises:
        InvalidEmbedding: If the file has no coefficients, or comes from another family and `force` is not given.
        InvalidName, NameTaken, CannotWrite: See there.
    """
    coefficients = stored_coefficients(embedding)
    if coefficients is None:
        raise InvalidEmbedding(
            f"{embedding.name} has no coefficients in its header, so that it cannot be moved.",
            "Only files that Celeb Basis wrote have them; a mix of it alone, on the new checkpoint, comes close.",
        )
    if not force:
        _check_same_family(workshop.host, embedding)
    check_new_name(workshop.host, name, overwrite)
    target, source = basis_of(workshop), _remembered_basis(stored_fact(embedding, "basis"))
    moved = blend.carry_over(source, target, coefficients) if source else _fitted(coefficients, target)
    facts = {
        "moved": {"from": stored_fact(embedding, "checkpoint"), "by_names": source is not None, "of": embedding.name}
    }
    made = save_person(
        workshop.host, target, name, moved, facts,
        origin="moved from another checkpoint", overwrite=overwrite, also_pt=also_pt,
    )  # fmt: skip
    return Moved(_saved(made), source is not None, _agreement(target, embedding, made[0]))


def _check_same_family(host: Host, embedding: Embedding) -> None:
    checkpoint = stored_fact(embedding, "checkpoint")
    before = checkpoint.get("family") if isinstance(checkpoint, dict) else None
    widths = [table.shape[1] for table in host.token_tables().values()]
    own = [vectors.shape[-1] for vectors in embedding.vectors.values()]
    if before != host.checkpoint.family or own != widths:
        raise InvalidEmbedding(
            f"{embedding.name} was made for {before or 'an unknown family'} ({own} wide), "
            f"and {host.checkpoint.name} is {host.checkpoint.family} ({widths} wide): their text encoders were trained "
            "apart, so that the same coefficients are another person there.",
            "Learn the person from the photo again, or force it to see what comes of it.",
        )


def _remembered_basis(fingerprint: object) -> CelebBasis | None:
    """A basis that this computer has used before."""
    path = cache_dir() / "bases" / f"basis-{fingerprint}.safetensors"
    if not (isinstance(fingerprint, str) and fingerprint.isalnum() and path.exists()):
        return None
    try:
        return load_basis(path)
    except (ValueError, KeyError, OSError):
        return None


def _fitted(coefficients: Floats, basis: CelebBasis) -> Floats:
    """[T, K] with as many components as the basis has at most."""
    tokens, count = basis.shape
    if len(coefficients) != tokens:
        raise InvalidEmbedding(
            f"The file has coefficients for {len(coefficients)} tokens, and a name here has {tokens}.",
            "Learn the person from the photo again.",
        )
    return coefficients[:, :count]


def _agreement(basis: CelebBasis, before: Embedding, after: Embedding) -> float | None:
    offsets = []
    for embedding in (before, after):
        if any(
            embedding.vectors.get(e) is None or embedding.vectors[e].shape != m.shape for e, m in basis.mean.items()
        ):
            return None
        offsets.append(np.concatenate([(embedding.vectors[e] - m).ravel() for e, m in basis.mean.items()]))
    one, other = offsets
    return float(one @ other / max(1e-12, np.linalg.norm(one) * np.linalg.norm(other)))


def _saved(*made: tuple[Embedding, Path]) -> Saved:
    embeddings, paths = zip(*made, strict=True)
    return Saved(embeddings, paths, finished=True)


def _said(who: str | Path) -> str:
    """What goes into the header: who it was, but not where on this computer they were kept."""
    return who.name if isinstance(who, Path) else who


def _coefficients_of(workshop: Workshop, basis: CelebBasis, who: str | Path) -> Floats:
    """[T, K] of a fictional person, a file, an embedding's name, or a celebrity."""
    if isinstance(who, Path):
        return coefficients_in(basis, load_embedding(who))
    if fictional := _SAMPLE.fullmatch(who):
        return blend.sample(basis, int(fictional.group(1)))
    for known in embeddings_in(workshop.host.embeddings_dir):
        if known.stem.lower() == who.lower():
            return coefficients_in(basis, load_embedding(known))
    for name, coefficients in zip(basis.names, basis.coefficients, strict=True):
        if name.lower() == who.lower():
            return np.asarray(coefficients)
    raise _nobody(workshop, who)


def _nobody(workshop: Workshop, who: str) -> InvalidSettings:
    """An error that says why a celebrity cannot be used, or who may have been meant."""
    report = usable_names(workshop)
    for rejected in report.rejected:
        if rejected.name.lower() == who.lower():
            return InvalidSettings(
                f"{rejected.name} cannot be mixed: the name {rejected.reason}.", "Choose another celebrity."
            )
    names = {name.name.lower(): name.name for name in report.usable}
    close = [names[match] for match in difflib.get_close_matches(who.lower(), names, 3)]
    hint = f"Did you mean {' or '.join(close)}?" if close else "Name a file, an embedding, a celebrity, or sample:7."
    return InvalidSettings(f"Nobody is known as {who!r}.", hint)


def embeddings_named_in(prompt: str, folder: Path) -> tuple[Path, ...]:
    """The files of a folder whose names stand in a prompt as words of their own, in any case."""
    found: dict[str, Path] = {}
    for path in embeddings_in(folder):
        word = rf"(?<![\w-]){re.escape(path.stem)}(?![\w-])"
        if re.search(word, prompt, re.IGNORECASE):
            found.setdefault(path.stem.lower(), path)
    return tuple(found.values())


def inspect(workshop: Workshop | None, embedding: Embedding) -> Inspection:
    """What an embedding is, compared with real names where the workshop's checkpoint has its widths.

    Raises:
        InvalidEmbedding: If its header is damaged.
    """
    alone = inspect_file(embedding)
    if workshop is None:
        return alone
    tables = workshop.host.token_tables()
    widths = {encoder: table.shape[1] for encoder, table in tables.items()}
    if widths != {encoder: width for encoder, (_, width) in alone.shape.items()}:
        return alone
    basis = basis_of(workshop)
    ids = [list(name.token_ids) for name in usable_names(workshop).usable]
    names = {encoder: table[ids] for encoder, table in tables.items()}
    vectors = next(iter(alone.shape.values()))[0]
    own = coefficients_in(basis, embedding) if vectors == basis.shape[0] else None
    return compare(alone, embedding, own, basis, names, workshop.host.checkpoint.name)


def draw(
    workshop: Workshop, prompt: str, embeddings: Sequence[Embedding], seeds: Sequence[int], out: Path, steps: int = 20,
    show: Callable[[Path], None] = lambda path: None, loras: Sequence[tuple[Lora, float]] = (),
) -> tuple[tuple[Image, ...], tuple[Path, ...]]:  # fmt: skip
    """Draws a prompt once for each seed, and keeps each picture with prompt, seed and people in its header.

    Args:
        workshop: Who draws.
        prompt: Trigger words of `embeddings` may stand in it.
        embeddings: The people.
        seeds: One picture each.
        out: Folder for the PNG files.
        steps: Of the sampler.
        show: Is told of each file as soon as it is there.
        loras: To draw with, each with a weight.

    Returns:
        The pictures, and their files.

    Raises:
        InvalidEmbedding, InvalidLora: If one does not fit the checkpoint.
        InvalidSettings, CannotWrite: See there.
    """
    from celebbasis_ext.lora import applied

    if not seeds or steps < 1:
        raise InvalidSettings(
            f"Expected at least one picture and one step, got {len(seeds)} and {steps}.", "Ask for more."
        )
    widths = {encoder: table.shape[1] for encoder, table in workshop.host.token_tables().items()}
    for embedding in embeddings:
        check_width(embedding, widths)
    pictures, paths, number = [], [], next_number(out)
    in_webui = " ".join([prompt, *(f"<lora:{lora.name}:{weight:g}>" for lora, weight in loras)])
    for i, seed in enumerate(seeds):
        with applied(workshop.host.cross_attention() if loras else {}, loras):
            (picture,) = workshop.host.generate([prompt], [seed], embeddings, steps)
        text = _parameters(workshop.host, in_webui, seed, steps, picture, embeddings)
        paths.append(save_picture(picture, out / f"{number + i:05d}-{seed}.png", {"parameters": text}))
        pictures.append(picture)
        show(paths[-1])
    return tuple(pictures), tuple(paths)


def _parameters(host: Host, prompt: str, seed: int, steps: int, picture: Image, embeddings: Sequence[Embedding]) -> str:
    """What the WebUI writes, so that its PNG info page reads it."""
    height, width = picture.shape[:2]
    facts = {"Steps": steps, "Seed": seed, "Size": f"{width}x{height}", "Model": host.checkpoint.name}
    if host.checkpoint.sha256:
        facts["Model hash"] = host.checkpoint.sha256[:10]
    if embeddings:
        facts["Embeddings"] = " ".join(e.name for e in embeddings)
    return prompt + "\n" + ", ".join(f"{key}: {value}" for key, value in facts.items())
