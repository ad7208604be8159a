"""Help texts that fit a terminal, and pages whose links, pictures and examples are there."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow

from celebbasis_ext.cli import COMMANDS, parser
from celebbasis_ext.cli.lab import METHODS

DOCS = Path(__file__).parents[1] / "docs"
PAGES = DOCS / "commands"
NAMES = [command.__name__.rpartition(".")[2] for command in COMMANDS]
MANY_OPTIONS = 8


def parsers() -> dict[str, argparse.ArgumentParser]:
    top = parser()
    (commands,) = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    return {"": top, **commands.choices}


def options_of(name: str) -> list[argparse.Action]:
    return [action for action in parsers()[name]._actions if action.help is not argparse.SUPPRESS]


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("name", ["", *NAMES])
def test_no_line_of_help_is_over_80_columns(name: str) -> None:
    assert [line for line in parsers()[name].format_help().splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_option_says_what_it_does(name: str) -> None:
    silent = [action.dest for action in options_of(name) if len((action.help or "").split("(default")[0].split()) < 2]
    assert silent == []


@pytest.mark.parametrize("name", NAMES)
def test_a_long_list_of_options_is_in_groups(name: str) -> None:
    for group in parsers()[name]._action_groups:
        if group.title == "options":
            assert len(group._group_actions) <= MANY_OPTIONS


def test_the_list_of_commands_has_one_line_for_each() -> None:
    lines = parsers()[""].format_help().splitlines()
    for name in NAMES:
        assert [line for line in lines if re.match(rf" +{name} {{2,}}\S", line)], f"{name} is wrapped"
    assert lines[-1], "an epilog"


def test_the_usage_puts_first_what_several_values_would_swallow() -> None:
    """`--name NAME ...` before a photo takes the photo for a name."""
    for name, command in parsers().items():
        if any(action.nargs == "+" and action.option_strings for action in command._actions):
            assert command.format_usage().rstrip().endswith("[options]"), name


def test_methods_of_the_lab_are_named_right() -> None:
    from celebbasis_ext.evaluate import baselines

    assert set(METHODS) == set(baselines.METHODS)


def test_every_command_has_a_page_and_every_page_a_command() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} - {"README"} == set(NAMES)
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"({name}.md)" not in index] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_a_picture_and_an_example(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert f"(../images/commands/{name}.png)" in text
    assert re.search(rf"(?m)^(\$ )?celebbasis {name}\b", text)
    assert "design.md" in text


def markdown_files() -> list[Path]:
    return sorted([DOCS.parent / "README.md", *DOCS.rglob("*.md")])


def links_of(page: Path) -> Iterator[tuple[str, str]]:
    """(file, anchor) of every link to a file."""
    prose = re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not target.startswith(("http://", "https://")):
            file, _, anchor = target.partition("#")
            yield file, anchor


def anchors_of(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", markdown_files(), ids=lambda page: page.relative_to(DOCS.parent).as_posix())
def test_links_and_pictures_are_there(page: Path) -> None:
    for file, anchor in links_of(page):
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name} links to {file}"
        if anchor:
            assert anchor in anchors_of(target), f"{page.name} links to {file}#{anchor}"


def test_pictures_of_pages_are_small() -> None:
    for path in (DOCS / "images" / "commands").iterdir():
        assert path.stat().st_size < 250_000, path.name
        with Pillow.open(path) as picture:
            assert picture.format == "PNG" and picture.width <= 1280, path.name


def examples() -> list[tuple[str, str]]:
    """(page, command line) of everything that pages run or propose to run."""
    found = []
    for page in markdown_files():
        for block in re.findall(r"(?ms)^```(?:console|sh)\n(.*?)^```", page.read_text(encoding="utf-8")):
            lines = [line.removeprefix("$ ") for line in block.splitlines()]
            found += [(page.name, line) for line in lines if line.startswith("celebbasis ") and "COMMAND" not in line]
    return found


def test_examples_are_commands_that_exist() -> None:
    """Usage errors among them would end the test; that a page shows one is not expected."""
    lines = examples()
    assert len(lines) > len(NAMES)
    for _, line in lines:
        assert parser().parse_args(shlex.split(line)[1:]).command
