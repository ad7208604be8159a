"""Trigger words against the hosts' parsers: what breaks, what surprises, what is proposed instead."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celebbasis_ext.errors import InvalidName, NameTaken
from celebbasis_ext.files.clip_tokenizer import clip_tokenizer
from celebbasis_ext.files.name_rules import check_name, check_trigger, name_warnings, propose_name


@cache
def clip() -> Any:
    return clip_tokenizer()


@cache
def tokenize(text: str) -> list[int]:
    return list(clip()(text, add_special_tokens=False)["input_ids"])


def warned(name: str, *existing: str) -> str:
    return " ".join(warning.sentence for warning in name_warnings(name, tokenize, existing))


@pytest.mark.parametrize("name", ["anna", "cat", "photo", "smiling", "Paris", "7", "a"])
def test_an_ordinary_word_is_refused(name: str) -> None:
    assert check_name(name) == name, "it is not the spelling"
    with pytest.raises(InvalidName, match=r"ordinary word.*-cb"):
        check_trigger(name, tokenize)


@pytest.mark.parametrize("name", ["a-AND-b", "AND", "BREAK", "x.BREAK", "con", "CON", "nul.txt", "com1", "lpt9.a"])
def test_commands_and_reserved_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        check_name(name)


@pytest.mark.parametrize("name", ["sandy-cb", "and-cb", "breakfast-cb", "conan-cb", "common"])
def test_words_that_only_look_like_commands_pass(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "\t", "a\x00b", "a\u202eb", "a|b", "a#b", "x" * 300, "ü" * 60, "anna!", "a-", "_a"]
)
def test_bad_spelling_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check_name(name)
    assert len(str(caught.value)) < 240
    assert "\n" not in str(caught.value)


def test_a_name_that_a_comma_changes_is_refused() -> None:
    assert tokenize("dİ,")[: len(tokenize("dİ"))] != tokenize("dİ")
    with pytest.raises(InvalidName, match="read differently"):
        check_trigger("dİ", tokenize)


@pytest.mark.parametrize(("name", "existing"), [("Anna-cb", "anna-cb"), ("face1", "face 1"), ("face1-cb", "FACE 1-cb")])
def test_twins_are_compared_as_tokens(name: str, existing: str) -> None:
    with pytest.raises(NameTaken, match="means the same") as caught:
        check_trigger(name, tokenize, [existing])
    assert propose_name(name, [existing], tokenize) in caught.value.hint


def test_prefixes_are_warned_about_in_both_directions() -> None:
    assert "cb_01 fires inside the existing cb_012" in warned("cb_01", "cb_012")
    assert "The existing cb_01 fires inside cb_012" in warned("cb_012", "cb_01")
    assert warned("anna-cb", "hanna-cb", "annabel-cb", "ben-cb") == "", "letters in common are no tokens in common"


def test_other_surprises_are_warned_about() -> None:
    assert "'face 1'" in warned("face1")
    assert "beyond a to z" in warned("jürgen-cb")
    assert "SD.Next" in warned("Anna-cb")
    assert "kangaroos-cb" in warned("kangaroos")
    assert warned("anna-cb") == ""


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ("Anna Müller", "anna-muller-cb"), ("anna-cb", "anna-cb"), ("", "person-cb"), ("李雷", "person-cb"),
        ("Łukasz Weiß", "lukasz-weiss-cb"), ("../../etc/passwd", "etc-passwd-cb"), ("AND", "and-cb"), ("con", "con-cb"),
    ],
)  # fmt: skip
def test_a_name_is_proposed(wish: str, name: str) -> None:
    assert propose_name(wish, [], tokenize) == name


def test_a_proposal_keeps_away_from_what_is_there() -> None:
    assert propose_name("Anna", ["anna-cb"], tokenize) == "anna-2-cb"
    assert propose_name("Anna", ["ANNA-CB", "anna-2-cb"], tokenize) == "cb-anna-2"
    assert propose_name("Anna", ["anna"], tokenize) == "cb-anna-2", "anna fires inside anna-cb"


def test_no_proposal_is_an_error_that_says_so() -> None:
    with pytest.raises(InvalidName, match="No free name"):
        propose_name("Anna", ["anna", "cb"], tokenize)


# The emphasis parser of AUTOMATIC1111 (modules/prompt_parser.py), and of Forge, reForge and stable-diffusion.cpp.
ATTENTION = re.compile(
    r"\\\(|\\\)|\\\[|\\]|\\\\|\\|\(|\[|:\s*([+-]?[.\d]+)\s*\)|\)|]|[^\\()\[\]:]+|:",
)


def texts_of(prompt: str) -> list[str]:
    """The pieces of text that the emphasis parser hands to the tokenizer."""
    pieces: list[str] = []
    for match in ATTENTION.finditer(prompt):
        text = match.group(0)
        if text in "()[]" or match.group(1) is not None:
            continue
        pieces += re.split(r"\s*\bBREAK\b\s*", text.removeprefix("\\"), flags=re.S)
    return pieces


PROMPTS = (
    "a photo of {}", "{}, smiling", "({}:1.2) at the beach", "[{}]", "{}.", "a sketch of {}: detailed", "{} {}",
    "(a photo of {})", "very, {},, nice",
)  # fmt: skip


def fires(name: str, prompt: str) -> bool:
    """Whether the host's lookup finds the name's tokens in what the parser leaves of a prompt."""
    ids = tokenize(name)
    for text in texts_of(prompt):
        found = tokenize(text)
        if any(found[i : i + len(ids)] == ids for i in range(len(found))):
            return True
    return False


names = st.one_of(
    st.text(st.sampled_from("abcxyzABDNRKE019._- "), min_size=1, max_size=12),
    st.text(min_size=1, max_size=8),
    st.from_regex(r"[a-z]{1,8}[-_.]?[a-z0-9]{1,4}", fullmatch=True),
)


@settings(max_examples=400, deadline=None)
@given(names)
def test_what_is_accepted_fires_in_every_prompt(name: str) -> None:
    try:
        check_trigger(name, tokenize)
    except InvalidName:
        return
    for prompt in PROMPTS:
        assert fires(name, prompt.replace("{}", name)), prompt


@settings(max_examples=300, deadline=None)
@given(names, names)
def test_what_is_accepted_beside_another_is_told_from_it(name: str, other: str) -> None:
    try:
        check_trigger(other, tokenize)
        check_trigger(name, tokenize, [other])
    except (InvalidName, NameTaken):
        return
    if name_warnings(name, tokenize, [other]):
        return
    assert not fires(name, f"a photo of {other}, smiling") or tokenize(name) != tokenize(other)[: len(tokenize(name))]
    assert tokenize(other) != tokenize(name)[: len(tokenize(other))]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), st.lists(names, max_size=4))
def test_every_wish_gives_a_free_name_or_a_typed_error(wish: str, existing: list[str]) -> None:
    try:
        name = propose_name(wish, existing, tokenize)
    except InvalidName:
        return
    assert check_trigger(name, tokenize, existing) == name
    assert name_warnings(name, tokenize, existing) == ()
    assert name.isascii() and name == name.lower()
    assert name.lower() not in {other.lower() for other in existing}
    assert propose_name(name, [], tokenize) == name or existing, "a proposal proposes itself"
