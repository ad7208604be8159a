"""Which names are known: galleries whose truth is known because they are made of numbers, and a small real one."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from celebbasis_ext.cli import main
from celebbasis_ext.files.checksum import cached_sha256
from celebbasis_ext.files.gallery import Plan, add_shots, write_plan
from celebbasis_ext.gallery import PROMPTS, drawable_names, gather, with_known_names
from celebbasis_ext.jobs import Workshop, basis_of
from celebbasis_ext.miniature.workshop import Assets
from celebbasis_ext.name_filter import NEIGHBOURS, FilteredNames, filter_names
from celebbasis_ext.names import load_names
from celebbasis_ext.types import Floats, Gallery, Gathered, Shot

SIZE = 64
CROP = np.zeros((112, 112, 3), np.uint8)


def unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


class People:
    """Makes names whose pictures are as alike as one likes."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def somebody(self) -> Floats:
        return unit(self.rng.standard_normal(SIZE))

    def named(self, name: str, centre: Floats, alike: float, images: int = 4) -> tuple[Shot, ...]:
        """Pictures whose mean cosine with each other is about `alike`."""
        noise = unit(self.rng.standard_normal((images, SIZE)))
        vectors = unit(np.sqrt(alike) * centre + np.sqrt(1 - alike) * noise)
        return tuple(Shot(name, PROMPTS[i % 4], i, 1, CROP, vector, 0.95) for i, vector in enumerate(vectors))

    def known(self, count: int) -> list[tuple[Shot, ...]]:
        likeness = self.rng.normal(0.6, 0.06, count).clip(0.4, 0.9)
        return [self.named(f"known {i}", self.somebody(), alike) for i, alike in enumerate(likeness)]

    def unknown(self, count: int) -> list[tuple[Shot, ...]]:
        """Anybody each time, some of them a little alike."""
        likeness = self.rng.uniform(0, 0.3, count)
        return [self.named(f"unknown {i}", self.somebody(), alike) for i, alike in enumerate(likeness)]

    def everybody(self, count: int) -> list[tuple[Shot, ...]]:
        """One and the same face, whoever is asked for."""
        face = self.somebody()
        return [self.named(f"everybody {i}", face, 0.55) for i in range(count)]


def gallery(*groups: Sequence[tuple[Shot, ...]]) -> Gallery:
    return Gallery(tuple(shot for group in groups for shots in group for shot in shots), "test", "numbers")


def outcome(filtered: FilteredNames) -> Counter[tuple[str, str | None]]:
    return Counter((verdict.name.split()[0], verdict.reason) for verdict in filtered.verdicts)


@pytest.mark.parametrize("unknown", [6, 60, 300])
def test_known_and_unknown_names_are_told_apart(unknown: int) -> None:
    people = People()
    counts = outcome(filter_names(gallery(people.known(240), people.unknown(unknown))))
    kept, lost = counts["known", None], counts["known", "never the same person"]
    found, missed = counts["unknown", "never the same person"], counts["unknown", None]
    assert kept + lost == 240 and found + missed == unknown
    assert kept / (kept + missed) >= 0.98 and kept / 240 >= 0.98
    assert lost <= 3 and found / unknown >= 0.95


def test_where_all_are_known_all_are_kept() -> None:
    filtered = filter_names(gallery(People().known(300)))
    assert outcome(filtered) == {("known", None): 300}
    assert filtered.threshold == filtered.chance, "one cluster: chance alone is the bound"


def test_where_nobody_is_known_hardly_anybody_is_kept() -> None:
    people = People()
    strangers = [people.named(f"stranger {i}", people.somebody(), 0.0) for i in range(300)]
    assert outcome(filter_names(gallery(strangers)))["stranger", None] <= 3


def test_a_few_known_names_among_strangers_are_found() -> None:
    people = People()
    strangers = [people.named(f"stranger {i}", people.somebody(), 0.0) for i in range(295)]
    counts = outcome(filter_names(gallery(strangers, people.known(5))))
    assert counts["known", None] == 5 and counts["stranger", None] <= 3


def test_one_face_for_many_names_is_everybody() -> None:
    people = People()
    counts = outcome(filter_names(gallery(people.known(200), people.everybody(80), people.unknown(40))))
    assert counts["everybody", None] <= 12
    assert counts["everybody", "looks like everybody"] >= 60
    assert counts["known", None] >= 196


def test_twins_are_not_everybody() -> None:
    people = People()
    face = people.somebody()
    twins = [people.named(f"twin {i}", face, 0.6) for i in range(2)]
    assert outcome(filter_names(gallery(people.known(50), twins)))["twin", None] == 2


def test_pictures_that_do_not_count_are_named_as_the_reason() -> None:
    people = People()
    good = people.named("good", people.somebody(), 0.7)

    def spoilt(name: str, count: int, **change: object) -> tuple[Shot, ...]:
        shots = people.named(name, people.somebody(), 0.7)
        return tuple(dataclasses.replace(s, **(change if i < count else {})) for i, s in enumerate(shots))  # type: ignore[arg-type]

    nothing = {"faces": 0, "crop": None, "identity": None, "quality": 0.0}
    odd = [
        good, spoilt("empty", 2, **nothing), spoilt("crowd", 3, faces=2), spoilt("blurred", 4, quality=0.3),
        spoilt("once", 1, **nothing), spoilt("single", 0)[:1],
    ]  # fmt: skip
    verdicts = {v.name: v for v in filter_names(gallery(people.known(40), odd)).verdicts}
    assert verdicts["empty"].reason == "no face" and verdicts["crowd"].reason == "several faces"
    assert verdicts["blurred"].reason == "poor pictures" and verdicts["single"].reason == "too few pictures"
    assert verdicts["good"].kept and verdicts["once"].kept, "one bad picture of four is no fault"
    assert np.isnan(verdicts["empty"].within) and np.isnan(verdicts["empty"].nearest)


def test_similarities_are_those_of_all_pairs() -> None:
    people = People(3)
    shots = [*people.known(12), people.named("short", people.somebody(), 0.5, images=3)]
    vectors = {s[0].name: [shot.identity for shot in s] for s in shots}
    verdicts = {v.name: v for v in filter_names(gallery(shots)).verdicts}
    for name, own in vectors.items():
        pairs = [float(a @ b) for a, b in itertools.combinations(own, 2)]  # type: ignore[operator]
        assert verdicts[name].within == pytest.approx(np.mean(pairs), abs=1e-5)
        others = [np.mean([a @ b for a in own for b in vectors[o]]) for o in vectors if o != name]  # type: ignore[operator]
        assert verdicts[name].nearest == pytest.approx(np.mean(sorted(others)[-NEIGHBOURS:]), abs=1e-5)


def test_verdicts_do_not_depend_on_order_or_on_the_recognisers_axes() -> None:
    people = People()
    groups = [*people.known(80), *people.unknown(20)]
    before = filter_names(gallery(groups))
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((SIZE, SIZE)))[0].astype(np.float32)
    turned = [
        tuple(dataclasses.replace(s, identity=s.identity @ turn) for s in shots)  # type: ignore[operator]
        for shots in reversed(groups)
    ]
    after = filter_names(gallery(turned))
    assert set(after.kept) == set(before.kept)
    assert after.verdicts[0].name == before.verdicts[-1].name


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_names_to_say_anything_are_not_kept(count: int) -> None:
    filtered = filter_names(gallery(People().known(count)))
    assert filtered.kept == () and len(filtered.verdicts) == count


def test_the_miniature_knows_its_celebrities_and_no_other_words(miniature: Workshop, tmp_path: Path) -> None:
    names = drawable_names(miniature)[::100]
    words = ("red beach", "hat smiling", "shirt photo", "green wall")
    *_, last = gather(miniature, (*names, *words), 3, tmp_path)
    assert isinstance(last, Gathered)
    assert filter_names(last.gallery).kept == names
    known = with_known_names(miniature, last.gallery)
    assert basis_of(known).names == names
    assert basis_of(known).fingerprint != basis_of(miniature).fingerprint


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, miniature: Workshop) -> Gallery:
    """A made-up gallery of the miniature's in a cache of its own, of names that it has."""
    monkeypatch.setenv("CELEBBASIS_CACHE", str(tmp_path / "cache"))
    people = People()
    names = drawable_names(miniature)
    groups = [*people.known(20), *people.unknown(12)]
    checkpoint = dataclasses.replace(miniature.host.checkpoint, sha256=cached_sha256(Assets().checkpoint))
    plan = Plan(checkpoint, "tokens", "numbers", names[:33], 4, PROMPTS, 10)
    folder = write_plan(plan, tmp_path / "cache" / "galleries")
    for at, shots in enumerate(groups):
        keys = plan.keys[4 * at : 4 * at + 4]
        add_shots(folder, [dataclasses.replace(s, name=n, prompt=p, seed=d) for s, (n, p, d) in zip(shots, keys)])  # noqa: B905
    return gallery(groups)


def test_the_command_shows_verdicts_and_writes_a_list(
    stored: Gallery, miniature: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "names"
    assert main(["names", "--known", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    names = drawable_names(miniature)
    assert "128 of 132 pictures of 33 names" in printed and "20 names are known" in printed
    assert "12 are not: 12 never the same person" in printed and f"{names[20]}: never the same person, " in printed
    assert printed.count(": never the same person, ") == 8 and "--rejected" in printed
    assert load_names(out / "kept.txt") == names[:20]
    assert sorted(path.name for path in out.iterdir()) == ["dropped.png", "kept.png", "kept.txt"]
    for sheet in ("kept.png", "dropped.png"):
        with Pillow.open(out / sheet) as picture:
            assert picture.width > 1000
    assert main(["names", "--known", "--rejected", "--checkpoint", str(Assets().checkpoint), "--out", str(out)]) == 0
    assert capsys.readouterr().out.count(": never the same person, ") == 12


def test_a_list_of_names_makes_another_basis(stored: Gallery, out: Path, tmp_path: Path) -> None:
    assert main(["names", "--known", "--out", str(tmp_path)]) == 0
    listed = ["--names", str(tmp_path / "kept.txt")]
    for seed, options in (("1", []), ("2", listed)):
        assert main(["sample", "--seed", seed, "--name", f"s{seed}-cb", "--out", str(out), *options]) == 0
    bases = [path.stem for path in (tmp_path / "cache" / "bases").iterdir()]
    assert len(bases) == 2


def test_a_list_that_cannot_be_read_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "--seed", "3", "--out", str(tmp_path), "--names", str(tmp_path / "nothing.txt")]) == 2
    assert "nothing.txt" in capsys.readouterr().err
    (tmp_path / "latin.txt").write_bytes(b"Zo\xeb Saldana")
    assert main(["sample", "--seed", "3", "--out", str(tmp_path), "--names", str(tmp_path / "latin.txt")]) == 2
    assert "latin.txt" in capsys.readouterr().err


def test_without_a_gallery_the_command_says_that_one_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CELEBBASIS_CACHE", str(tmp_path / "cache"))
    assert main(["names", "--known"]) == 2
    assert "gallery first" in capsys.readouterr().err
    assert main(["names", "--checkpoint", str(tmp_path / "none.safetensors")]) == 2
    assert "none.safetensors" in capsys.readouterr().err
