"""Names that the miniature was never taught, to be mixed into those it knows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from celebbasis_ext.hosts.standalone import StandaloneHost
from celebbasis_ext.miniature.captions import WORDS
from celebbasis_ext.miniature.people import FIRST_NAMES, LAST_NAMES
from celebbasis_ext.names import load_names

KINDS = {
    "empty": "two tokens that the text encoder never met: their rows are zeros",
    "random": "two such tokens with random rows of the trained rows' mean and spread",
    "words": "two words that it knows, but not as a name",
    "half": "a first or last name that it knows beside a token that it never met, empty or random",
}
SEED = 7


def planted(host: StandaloneHost, count: int) -> dict[str, str]:
    """{name: kind} the kinds in turn; fewer names are the first of more. Random rows are set in the host's memory.

    An unseen combination of a first and a last name that were both taught is none of these: it is drawn as one person,
    as consistently as a celebrity, and so it is a name that a basis can use.
    """
    strange = _strange_words(host)
    random, empty = strange[::2], strange[1::2]
    _fill_rows(host, [token for word in random for token in host.tokenize(word)])
    names = {
        "empty": _pairs(empty, empty, 1),
        "random": _pairs(random, random, 2),
        "words": _pairs(_known_words(host), _known_words(host), 3),
        "half": _halves(strange),
    }
    turns = (islice(names[kind], (count + 3 - i) // 4) for i, kind in enumerate(KINDS))
    by_kind = {kind: list(turn) for kind, turn in zip(KINDS, turns, strict=True)}
    found = [(by_kind[kind][i // 4], kind) for i, kind in ((i, list(KINDS)[i % 4]) for i in range(count))]
    return dict(found)


def _strange_words(host: StandaloneHost) -> list[str]:
    """Names of real people of which the miniature has never heard, one token each."""
    (table,) = host.token_tables().values()
    words = sorted({word.lower() for name in load_names() for word in name.split()})
    ids = {word: host.tokenize(word) for word in words}
    return [word for word in words if len(ids[word]) == 1 and not table[ids[word][0]].any()]


def _known_words(host: StandaloneHost) -> list[str]:
    """Words of captions that are no part of a name."""
    (table,) = host.token_tables().values()
    plain = [w for w in WORDS if w.isalpha() and len(w) > 1 and w not in {*FIRST_NAMES, *LAST_NAMES}]
    return [word for word in plain if len(host.tokenize(word)) == 1 and table[host.tokenize(word)[0]].any()]


def _pairs(firsts: list[str], lasts: list[str], seed: int) -> Iterator[str]:
    """Different pairs of two different words, without end."""
    rng, seen = np.random.default_rng((SEED, seed)), set()
    while True:
        first, last = firsts[rng.integers(len(firsts))], lasts[rng.integers(len(lasts))]
        if first != last and (first, last) not in seen:
            seen.add((first, last))
            yield f"{first} {last}"


def _halves(strange: list[str]) -> Iterator[str]:
    """The known half is in turn the first name and the last."""
    before, after = _pairs(list(FIRST_NAMES), strange, 4), _pairs(strange, list(LAST_NAMES), 5)
    while True:
        yield next(before)
        yield next(after)


def _fill_rows(host: StandaloneHost, tokens: list[int]) -> None:
    """Gives tokens rows as the trained ones are: each entry normal, with their mean and spread at that place."""
    (text,) = host.texts
    weight = text.embedding.weight
    with torch.no_grad():
        trained = weight[weight.abs().sum(1) > 0]
        noise = torch.randn(len(tokens), weight.shape[1], generator=torch.Generator().manual_seed(SEED))
        weight[tokens] = (trained.mean(0) + noise * trained.std(0)).to(weight)
