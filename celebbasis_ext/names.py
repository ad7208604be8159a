"""Which celebrity names can carry a basis: those that a tokenizer splits into one token per word.

The list is shipped; the choice is made for each tokenizer, because no two text encoders share a vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from celebbasis_ext.errors import TooFewNames

SHIPPED_LIST = Path(__file__).parent / "data" / "celebrities.txt"


@dataclass(frozen=True)
class UsableName:
    """A name that may enter the basis.

    Attributes:
        name: As it stands in the list.
        token_ids: One id for each word, without start and end tokens.
    """

    name: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True)
class RejectedName:
    """A name that was left out.

    Attributes:
        name: As it stands in the list.
        reason: One short sentence for the person who wrote the list.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class NameReport:
    """What became of every name, in the order of the list.

    Attributes:
        usable: [N] names whose token ids all have the same length.
        rejected: The others, each with its reason.
    """

    usable: tuple[UsableName, ...]
    rejected: tuple[RejectedName, ...]

    def distinct(self, column: int) -> int:
        """Counts the different token ids in one column (0: first names) of the usable names.

        Raises:
            IndexError: A usable name has no such column.
        """
        return len({entry.token_ids[column] for entry in self.usable})


def load_names(path: Path | None = None) -> tuple[str, ...]:
    """Reads a list with one name per line; blank lines and lines that begin with '#' do not count.

    Args:
        path: A UTF-8 text file; the shipped list if None.

    Returns:
        The names in the file's order, each exact spelling once.

    Raises:
        TooFewNames: The file has no names.
        OSError: The file cannot be read.
    """
    source = path or SHIPPED_LIST
    # Editors on Windows put a byte order mark first; it must not become part of a name or hide a '#'.
    lines = (line.strip() for line in source.read_text(encoding="utf-8-sig").splitlines())
    names = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not names:
        raise TooFewNames(f"Expected at least one name in {source}, found none.", "Write one name on each line.")
    return names


def select_names(
    names: Sequence[str],
    tokenize: Callable[[str], Sequence[int]],
    *,
    tokens: int = 2,
    describe_token: Callable[[int], str] | None = None,
    known_tokens: Container[int] | None = None,
) -> NameReport:
    """Sorts names into those that a tokenizer splits into the wanted number of tokens and those it does not.

    Args:
        names: What to sort.
        tokenize: Gives a name's token ids without start and end tokens.
        tokens: How many tokens a usable name has.
        describe_token: Spells a token for the reasons; its id is shown if None.
        known_tokens: Ids that the text encoder has learned; all of them if None.

    Returns:
        The report; of several names with the same ids only the first is usable. It may well have no usable
        name at all: how many are enough is for the basis to say.
    """
    spell = describe_token or str
    first_with: dict[tuple[int, ...], str] = {}
    rejected: list[RejectedName] = []
    for name in names:
        ids = tuple(tokenize(name))
        twin = first_with.get(ids)
        reason = f"has the same tokens as {twin}" if twin else _fault(ids, tokens, spell, known_tokens)
        if reason:
            rejected.append(RejectedName(name, reason))
        else:
            first_with[ids] = name
    usable = tuple(UsableName(name, ids) for ids, name in first_with.items())
    return NameReport(usable, tuple(rejected))


def _fault(ids: tuple[int, ...], tokens: int, spell: Callable[[int], str], known_tokens: Container[int] | None) -> str:
    """Says why these ids cannot serve; an empty string if they can."""
    if len(ids) != tokens:
        plural = "" if len(ids) == 1 else "s"
        return f"splits into {len(ids)} token{plural}: {' | '.join(map(spell, ids))}".removesuffix(": ")
    unknown = [token for token in ids if known_tokens is not None and token not in known_tokens]
    return f"the text encoder does not know: {' | '.join(map(spell, unknown))}" if unknown else ""
