"""What a trigger word may be called, by the rules of everything that will read it.

The name is the file's stem and the word in the prompt at once. Hosts compare token ids, not letters: they ignore case,
take "face1" for "face 1", and let a name fire inside any text whose tokens go on from it. What breaks somewhere is an
error; what surprises somebody is a warning; and there is always a proposal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from celebbasis_ext.errors import InvalidName, NameTaken

Tokenize = Callable[[str], Sequence[int]]
"""Token ids without start and end."""

LONGEST = 80
_ALLOWED = "._-"  # beside letters and digits; the WebUI's own list, less the space that ComfyUI cannot read
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in "0123456789¹²³")}
_SYNTAX = re.compile(r"\b(AND|BREAK|ADDBASE|ADDCOMM|ADDCOL|ADDROW)\b")
_PIECE = re.compile(r"[^\W\d_]+|\d")
_LETTERS = str.maketrans(
    {
        "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ŧ": "t",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
    }
)  # fmt: skip
_ATTEMPTS = 200
_LONGEST_STEM = 40


@dataclass(frozen=True)
class NameWarning:
    """Something about a name that works, but not as one would think.

    Attributes:
        sentence: For people to read.
    """

    sentence: str


def check_name(name: str) -> str:
    """The name, if file systems and prompt parsers can carry it.

    Raises:
        InvalidName: If they cannot; the hint proposes another.
    """
    problem = _misspelled(name)
    if problem:
        raise InvalidName(
            f"The name {_shown(name)} {problem}.", f"Use letters, digits and dashes, for example {_stem(name)}-cb."
        )
    return name


def _shown(name: str) -> str:
    return repr(name if len(name) <= LONGEST else name[:24] + "…")


def _misspelled(name: str) -> str:
    if not name.strip():
        return "is empty"
    if len(name.encode(errors="replace")) > LONGEST:
        return f"has {len(name)} characters, at most {LONGEST} bytes are allowed"
    if any(c.isspace() or unicodedata.category(c).startswith("C") for c in name):
        return "contains spaces or control characters"
    if not all(c.isalnum() or c in _ALLOWED for c in name):
        return "contains a character that means something in paths or prompts"
    if not (name[0].isalnum() and name[-1].isalnum()):
        return "does not begin and end with a letter or a digit"
    if _SYNTAX.search(name):
        return f"contains {_SYNTAX.findall(name)[0]}, which is a command in prompts"
    return "is reserved by Windows" if name.split(".")[0].lower() in _RESERVED else ""


def check_trigger(name: str, tokenize: Tokenize, existing: Iterable[str] = ()) -> str:
    """The name, if a prompt can say it without saying anything else.

    Args:
        name: What is proposed.
        tokenize: Of the checkpoint's text encoder.
        existing: The names of embeddings that are there already.

    Raises:
        InvalidName: If it cannot be written, is an ordinary word, or loses its end before a comma.
        NameTaken: If an existing embedding has the same tokens.
    """
    ids = list(tokenize(check_name(name)))
    taken = tuple(existing)
    problem = _unusable(name, ids, tokenize)
    if problem:
        raise InvalidName(f"The name {name!r} {problem}.", _proposal(name, taken, tokenize))
    for other in taken:
        if list(tokenize(other)) == ids:
            how = "exists already" if other == name else f"means the same to a prompt as the existing {other!r}"
            raise NameTaken(f"An embedding {name!r} {how}.", _proposal(name, taken, tokenize))
    return name


def _unusable(name: str, ids: list[int], tokenize: Tokenize) -> str:
    if len(ids) <= 1:
        return "is an ordinary word, and would replace it in every prompt" if ids else "is nothing to the text encoder"
    if any(list(tokenize(name + after))[: len(ids)] != ids for after in (",", ".", " x", ")", ":")):
        return "is read differently when a comma or a bracket follows"
    return ""


def _proposal(wish: str, existing: Sequence[str], tokenize: Tokenize) -> str:
    for name in _candidates(wish):
        if not _complaint(name, existing, tokenize):
            return f"Choose another, for example {name}."
    return "Choose another."


def name_warnings(name: str, tokenize: Tokenize, existing: Iterable[str] = ()) -> tuple[NameWarning, ...]:
    """What is surprising about a name that `check_trigger` lets pass."""
    return tuple(NameWarning(sentence) for sentence in _surprises(name, tokenize, existing))


def _surprises(name: str, tokenize: Tokenize, existing: Iterable[str]) -> Iterator[str]:
    ids = list(tokenize(name))
    if not name.isascii():
        yield f"{name} has letters beyond a to z, which some programs spell or compare differently."
    elif name != name.lower():
        yield f"Prompts do not tell {name} from {name.lower()}, but SD.Next and file systems do."
    if name.isalpha():
        yield f"{name} may be a word that prompts use already; {name.lower()}-cb could not be."
    spaced = " ".join(_PIECE.findall(name))
    if spaced != name and list(tokenize(spaced)) == ids:
        yield f"{name} also fires on the words {spaced!r}."
    for other in existing:
        other_ids = list(tokenize(other))
        if other_ids != ids and other_ids == ids[: len(other_ids)]:
            yield f"The existing {other} fires inside {name} wherever {name} is not loaded."
        elif other_ids != ids and ids == other_ids[: len(ids)]:
            yield f"{name} fires inside the existing {other} wherever {other} is not loaded."


def propose_name(wish: str, existing: Iterable[str], tokenize: Tokenize) -> str:
    """A name close to a wish that is free, and of which nothing is to be said: "Anna Müller" -> "anna-muller-cb".

    Args:
        wish: Anything, such as a person's name.
        existing: The names of embeddings that are there already.
        tokenize: Of the checkpoint's text encoder.

    Raises:
        InvalidName: If every attempt collides with an existing name.
    """
    taken = tuple(existing)
    for name in _candidates(wish):
        if not _complaint(name, taken, tokenize):
            return name
    raise InvalidName(f"No free name close to {_shown(wish)} was found.", "Choose one yourself, such as anna-cb.")


def _candidates(wish: str) -> Iterator[str]:
    stem = _stem(wish)
    yield f"{stem}-cb"
    for number in range(2, _ATTEMPTS):
        yield f"{stem}-{number}-cb"  # a number at the end would make the first name fire inside the second
        yield f"cb-{stem}-{number}"


def _complaint(name: str, existing: Sequence[str], tokenize: Tokenize) -> str:
    """What any of the rules has to say of a name, without a proposal."""
    ids = list(tokenize(name))
    taken = any(list(tokenize(other)) == ids or other.lower() == name.lower() for other in existing)
    found = _misspelled(name) or _unusable(name, ids, tokenize) or ("is taken" if taken else "")
    return found or next(_surprises(name, tokenize, existing), "")


def _stem(wish: str) -> str:
    """Lower-case letters, digits and dashes out of anything, without the ending that every proposal gets."""
    plain = unicodedata.normalize("NFKD", wish[: 4 * _LONGEST_STEM].lower().translate(_LETTERS))
    words = re.findall(r"[a-z0-9]+", "".join(c for c in plain if not unicodedata.combining(c)))
    if words and words[-1] == "cb":
        words.pop()
    return "-".join(words)[:_LONGEST_STEM].strip("-") or "person"
