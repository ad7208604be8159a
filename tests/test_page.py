"""The report's page: every figure is there, every link leads somewhere, nothing is needed."""

from __future__ import annotations

import copy
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image as pillow

from celebbasis_ext.errors import MissingPackage
from celebbasis_ext.evaluate.page import MEASURES, Value, methods_of, value_of, write_page

VOID = {"meta", "img", "source", "br"}
MEASURED = {
    "likeness": {"mean": 0.971, "se": 0.012},
    "obedience": {"mean": 0.983, "se": 0.004},
    "leak": {"mean": 0.034, "se": 0.008},
    "leak_background": {"mean": 0.061, "se": 0.009},
    "leak_shirt": 0.027,
    "leak_expression": {"mean": -0.013, "se": 0.005},
    "norm": {"mean": 1.023, "se": 0.007},
    "seconds": {"mean": 14.27, "se": 0.31},
    "faces_found": 0.998,
}
REPORT: dict[str, Any] = {
    "settings": {
        "people": 50, "seed": 7, "checkpoint": "tiny <sd1> & co", "date": "2024-05-01",
        "prompts": ["a photo of {}", "{} on the beach"], "recipe": {"steps": 100, "components": None},
        "versions": {"torch": "2.13.0"},
    },
    "reference": {
        "celebrities": {"likeness_raw": {"mean": 0.812, "se": 0.011}, "obedience_raw": 0.953},
        "impostors": {"likeness_raw": {"mean": 0.087, "se": 0.013}},
    },
    "celeb_basis": MEASURED,
    "paper": {**MEASURED, "likeness": {"mean": 0.713, "se": 0.021}, "norm": 0.412},
    "textual_inversion": {"likeness": {"mean": 0.932, "se": 0.017}, "leak": 0.581, "norm": 3.42},
    "others": {"<script>alert(1)</script> $x$": {"likeness": 0.555}},
    "by_person": {
        "celeb_basis": [{"likeness": 0.9 + i / 100, "obedience": 0.98, "leak": i / 50} for i in range(5)],
        "paper": [{"likeness": 0.7, "leak": 0.1}, {"likeness": 0.6}],
    },
}  # fmt: skip


class Page(HTMLParser):
    """What a browser would see: text, links, tags; refuses tags that are not closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.folder, self.source = path.parent, path.read_text(encoding="utf-8")
        self.links: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(self.source)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("report")
    inside, outside = folder / "sheets" / "anna & co.png", tmp_path_factory.mktemp("else") / "sheet.png"
    inside.parent.mkdir()
    for path, colour in ((inside, "red"), (outside, "blue")):
        pillow.new("RGB", (8, 8), colour).save(path)
    sheets = [("Anna <b>& co</b>", inside), ("From elsewhere", outside), ("Lost", folder / "no.png")]
    path = write_page(REPORT, sheets, folder)
    assert path == folder / "index.html"
    return Page(path)


# --- the whole page


def test_every_figure_is_there(page: Page) -> None:
    methods = [REPORT[key] for key in ("celeb_basis", "paper", "textual_inversion")]
    groups = [*methods, *REPORT["others"].values(), *REPORT["reference"].values()]
    people = [person for rows in REPORT["by_person"].values() for person in rows]
    for figures in (*groups, *people):
        for entry in figures.values():
            value = value_of(entry)
            assert value is not None
            number = f"{value.mean:.{value.places}f}".replace("-", "\N{MINUS SIGN}")
            assert number in page.text
            assert value.se is None or f"{number} ± {value.se:.{value.places}f}" in page.text


def test_settings_and_meanings_are_there(page: Page) -> None:
    for words in (
        "50 people",
        "seed 7",
        "tiny <sd1> & co",
        "{} on the beach",
        "2.13.0",
        "steps",
        "2024-05-01",
    ):
        assert words in page.text
    for measure in MEASURES:
        assert measure.meaning in page.text


def test_targets_say_whether_they_are_met(page: Page) -> None:
    tiles = re.findall(r'<div class="tile ([\w-]+)"><p class="name">(\w+)', page.source)
    met = {"Likeness": "met", "Obedience": "missed", "Leak": "met", "Seconds": "met"}
    assert {name: state for state, name in tiles} == met
    for aim in ("≥ 0.95", "≥ 0.99", "≤ 0.05", "≤ 20 s"):
        assert f"target {aim}" in page.text


def test_the_best_are_marked(page: Page) -> None:
    marked = re.findall(r'<b class="best" title="best">([\d.]+)', page.source)
    assert marked == ["0.971", "0.983", "0.034", "1.023", "14.3", "0.983", "0.034", "14.3"]  # ties share


def test_every_link_is_relative_and_leads_to_a_picture(page: Page) -> None:
    assert len(page.links) >= 2 * 7 + 4
    for link in page.links:
        assert not re.match(r"[a-z]+:|/", link)
        with pillow.open(page.folder / unquote(link)) as image:
            image.load()
    assert "sheets/anna%20%26%20co.png" in page.links
    assert "sheet-2-sheet.png" in page.links
    assert "The picture is missing." in page.text and "Lost" in page.text


def test_the_page_asks_nothing_of_the_network(page: Page) -> None:
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"https?:|url\(|@import", page.source)


def test_names_are_escaped(page: Page) -> None:
    assert "<script>alert(1)</script> $x$" in page.text and "<script" not in page.source
    assert "Anna <b>& co</b>" in page.text


def test_the_page_follows_the_reader(page: Page) -> None:
    assert '<meta name="viewport" content="width=device-width' in page.source
    assert "prefers-color-scheme: dark" in page.source
    for name in ("likeness", "obedience", "leak", "norm", "seconds", "likeness-leak", "leak-attributes"):
        with (
            pillow.open(page.folder / f"{name}.png") as light,
            pillow.open(page.folder / f"{name}-dark.png") as dark,
        ):
            assert light.size == dark.size and light.width > 600
            assert light.convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index]
            assert light.tobytes() != dark.tobytes()


def test_nothing_unfinished_is_left(page: Page) -> None:
    assert not [path for path in page.folder.rglob("*") if "unfinished" in path.name]


# --- partial reports


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"settings": {}},
        {"settings": None, "reference": None, "celeb_basis": None, "others": None, "by_person": None},
        {"celeb_basis": {"likeness": float("nan"), "leak": {"se": 0.1}, "norm": "n/a", "seconds": True}},
        {"reference": {"impostors": {"likeness_raw": 0.1}}},
    ],
)
def test_almost_empty_reports(report: dict[str, Any], tmp_path: Path) -> None:
    page = Page(write_page(report, (), tmp_path / "new"))
    assert "Likeness" in page.text and "nan" not in page.text
    assert not page.links


@pytest.mark.parametrize("missing", ["settings", "reference", "celeb_basis", "paper", "by_person"])
def test_a_part_is_missing(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celebbasis_ext.evaluate.page._Plotter.plot", lambda *_: "")
    report = copy.deepcopy(REPORT)
    del report[missing]
    page = Page(write_page(report, (), tmp_path))
    assert "0.555" in page.text
    assert ("0.087" in page.text) == (missing != "reference")
    assert ("0.983 ± 0.004" in page.text) and ("tiny <sd1>" in page.text) == (missing != "settings")


def test_one_method_alone_is_not_the_best(tmp_path: Path) -> None:
    page = Page(write_page({"celeb_basis": {"seconds": 31.4}}, (), tmp_path))
    assert "31.4" in page.text and 'title="best"' not in page.source
    assert "not measured" in page.text and "missed" in page.text


def test_written_twice(tmp_path: Path) -> None:
    write_page({"celeb_basis": {"norm": 1.5}}, (), tmp_path)
    page = Page(write_page({"celeb_basis": {"norm": 2.5}}, (), tmp_path))
    assert "2.500" in page.text and "1.500" not in page.text


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackage, match="pip install matplotlib"):
        write_page(REPORT, (), tmp_path / "new")
    assert not (tmp_path / "new").exists()


# --- its parts


@pytest.mark.parametrize(
    "entry,value",
    [
        (1, Value(1.0)),
        ({"mean": 0.5, "se": 0.1}, Value(0.5, 0.1)),
        ({"mean": 0.5, "se": None}, Value(0.5)),
        ({"mean": float("inf"), "se": 0.1}, None),
        (None, None),
        ("0.5", None),
        ([0.5], None),
    ],
)
def test_value_of(entry: object, value: Value | None) -> None:
    assert value_of(entry) == value


def test_methods_come_in_order_with_their_people() -> None:
    methods = methods_of({"others": {"z": {"norm": 1}}, "paper": {"norm": 2}, "by_person": {"z": [{"norm": 3}]}})
    assert [method.label for method in methods] == ["the paper's recipe", "z"]
    assert [person["norm"].mean for person in methods[1].people] == [3.0]
