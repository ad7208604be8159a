"""The shipped list is large enough for a basis, and every name that is left out says why."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from celebbasis_ext.errors import TooFewNames
from celebbasis_ext.names import NameReport, RejectedName, UsableName, load_names, select_names

MERGES = Path(__file__).parent.parent / "celebbasis_ext" / "data" / "bpe_simple_vocab_16e6.txt.gz"
BASIS_SIZE = 512


class ClipBpe:
    """CLIP's byte pair encoding for names of plain ASCII letters, written apart from any library."""

    def __init__(self) -> None:
        lines = gzip.decompress(MERGES.read_bytes()).decode("utf-8").split("\n")
        merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        # CLIP numbers the bytes that print first, and gives the others letters from 256 on.
        printing = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
        letters = printing + [chr(256 + place) for place in range(256 - len(printing))]
        self.ids = {letter: place for place, letter in enumerate(letters)}
        self.ids |= {f"{letter}</w>": 256 + place for place, letter in enumerate(letters)}
        self.ids |= {"".join(pair): 512 + rank for pair, rank in self.ranks.items()}
        self.pieces = {number: piece for piece, number in self.ids.items()}

    def __call__(self, name: str) -> list[int]:
        return [self.ids[piece] for word in name.lower().split() for piece in self.split(word)]

    def split(self, word: str) -> list[str]:
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            pairs = list(pairwise(pieces))
            place = min(range(len(pairs)), key=lambda n: self.ranks.get(pairs[n], len(self.ranks)))
            if pairs[place] not in self.ranks:
                break
            pieces[place : place + 2] = ["".join(pairs[place])]
        return pieces

    def describe(self, number: int) -> str:
        return self.pieces[number].removesuffix("</w>")


@pytest.fixture(scope="module")
def bpe() -> ClipBpe:
    return ClipBpe()


@pytest.fixture(scope="module")
def shipped(bpe: ClipBpe) -> NameReport:
    return select_names(load_names(), bpe, describe_token=bpe.describe)


def by_word(vocabulary: dict[str, int]) -> Callable[[str], list[int]]:
    """A tokenizer that gives each word its id."""
    return lambda name: [vocabulary[word] for word in name.lower().split()]


def test_bpe_of_these_tests_gives_clips_known_ids(bpe: ClipBpe) -> None:
    assert bpe("a photo of a cat") == [320, 1125, 539, 320, 2368]


def test_bpe_of_these_tests_agrees_with_transformers(bpe: ClipBpe) -> None:
    transformers = pytest.importorskip("transformers")
    merges = [pair for pair, _ in sorted(bpe.ranks.items(), key=lambda entry: entry[1])]
    vocabulary = bpe.ids | {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    reference = transformers.CLIPTokenizer(vocab=vocabulary, merges=merges)
    for name in load_names()[::7]:
        assert reference(name, add_special_tokens=False)["input_ids"] == bpe(name), name


def test_shipped_list_has_enough_names() -> None:
    names = load_names()
    assert len(names) >= 1500
    assert len({name.lower() for name in names}) == len(names)


def test_shipped_list_is_one_plain_first_and_last_name_per_line() -> None:
    for name in load_names():
        words = name.split(" ")
        assert len(words) == 2, name
        assert all(word.isascii() and word.isalpha() and word[0].isupper() for word in words), name


def test_shipped_list_fills_the_basis_of_clip(shipped: NameReport) -> None:
    assert len(shipped.usable) >= 1000
    assert shipped.distinct(0) > BASIS_SIZE
    assert shipped.distinct(1) > BASIS_SIZE
    assert all(len(entry.token_ids) == 2 for entry in shipped.usable)


def test_every_shipped_name_is_either_usable_or_rejected(shipped: NameReport) -> None:
    sorted_names = [entry.name for entry in shipped.usable] + [entry.name for entry in shipped.rejected]
    assert sorted(sorted_names) == sorted(load_names())
    assert all(entry.reason for entry in shipped.rejected)


def test_a_name_of_three_tokens_is_rejected_with_its_pieces(bpe: ClipBpe) -> None:
    report = select_names(["Tom Hanks", "Lupita Xqzwv"], bpe, describe_token=bpe.describe)
    pieces = [bpe.describe(number) for number in bpe("Lupita Xqzwv")]
    assert [entry.name for entry in report.usable] == ["Tom Hanks"]
    assert report.rejected == (RejectedName("Lupita Xqzwv", f"splits into {len(pieces)} tokens: {' | '.join(pieces)}"),)
    assert len(pieces) > 2


def test_reasons_show_ids_where_nobody_describes_tokens() -> None:
    report = select_names(["a"], lambda name: [7])
    assert report.rejected == (RejectedName("a", "splits into 1 token: 7"),)


def test_a_name_without_tokens_is_rejected() -> None:
    assert select_names(["?"], lambda name: []).rejected == (RejectedName("?", "splits into 0 tokens"),)


def test_another_number_of_tokens_can_be_wanted() -> None:
    report = select_names(["a b", "a b c"], by_word({"a": 1, "b": 2, "c": 3}), tokens=3)
    assert report.usable == (UsableName("a b c", (1, 2, 3)),)


def test_of_spelling_twins_only_the_first_is_usable() -> None:
    report = select_names(["Tom Hanks", "tom hanks"], by_word({"tom": 1, "hanks": 2}))
    assert report.usable == (UsableName("Tom Hanks", (1, 2)),)
    assert report.rejected == (RejectedName("tom hanks", "has the same tokens as Tom Hanks"),)


def test_tokens_that_the_encoder_does_not_know_are_rejected() -> None:
    tokenize = by_word({"tom": 1, "hanks": 2, "cruise": 3})
    report = select_names(["Tom Cruise", "Tom Hanks"], tokenize, known_tokens={1, 2}, describe_token=lambda n: f"<{n}>")
    assert [entry.name for entry in report.usable] == ["Tom Hanks"]
    assert report.rejected == (RejectedName("Tom Cruise", "the text encoder does not know: <3>"),)


def test_no_known_tokens_is_not_the_same_as_no_check() -> None:
    tokenize = by_word({"tom": 1, "hanks": 2})
    assert select_names(["Tom Hanks"], tokenize, known_tokens=set()).usable == ()
    assert len(select_names(["Tom Hanks"], tokenize, known_tokens=None).usable) == 1


def test_distinct_counts_each_column_apart() -> None:
    tokenize = by_word({"tom": 1, "hanks": 2, "cruise": 3, "holland": 4})
    report = select_names(["Tom Hanks", "Tom Cruise", "Tom Holland"], tokenize)
    assert (report.distinct(0), report.distinct(1)) == (1, 3)
    with pytest.raises(IndexError):
        report.distinct(2)
    assert NameReport((), ()).distinct(0) == 0


def test_a_list_keeps_its_order_and_loses_comments_blanks_and_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\ufeff# actors\r\nTom Hanks\r\n\r\n  Meryl Streep \nTom Hanks\ntom hanks\n", encoding="utf-8")
    assert load_names(path) == ("Tom Hanks", "Meryl Streep", "tom hanks")


def test_a_list_without_names_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("# nobody yet\n\n", encoding="utf-8")
    with pytest.raises(TooFewNames) as caught:
        load_names(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
