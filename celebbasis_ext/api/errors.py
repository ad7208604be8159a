"""Faults as JSON with the right status: what was wrong, and what to do. Messages name files, never folders."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from celebbasis_ext import errors
from celebbasis_ext.errors import CelebBasisError
from celebbasis_ext.files.folders import cache_dir

_log = logging.getLogger(__name__)


class MalformedRequest(CelebBasisError):
    """The request is no JSON, or was cut short."""


class InvalidRequest(CelebBasisError):
    """A field is missing, unknown, or has a value that it cannot have."""


class NoConsent(CelebBasisError):
    """Nobody has said that the person agrees."""


class NotLoggedIn(CelebBasisError):
    """The host wants to know who asks."""


class ForeignOrigin(CelebBasisError):
    """The request came by a name that this computer does not have."""


class TooLarge(CelebBasisError):
    """The request, or what is in it, has too many bytes, photos or pixels."""


class NotJson(CelebBasisError):
    """The request does not say that it is JSON."""


class LineTooLong(CelebBasisError):
    """Too many jobs are waiting."""


class NotHere(CelebBasisError):
    """There is no such route, job or picture."""


STATUS: dict[type[CelebBasisError], int] = {
    MalformedRequest: 400,
    NotLoggedIn: 401,
    ForeignOrigin: 403,
    NotHere: 404,
    errors.UnknownPerson: 404,
    errors.NameTaken: 409,
    TooLarge: 413,
    NotJson: 415,
    errors.PersonBusy: 423,
    LineTooLong: 429,
    errors.CannotWrite: 500,
    errors.Unforeseen: 500,
    errors.CheckpointChanged: 503,
    errors.MissingModel: 503,
    errors.MissingPackage: 503,
    errors.OutOfMemory: 503,
    errors.TooFewNames: 503,
    errors.UnsupportedCheckpoint: 503,
    errors.WrongEncoder: 503,
    CelebBasisError: 422,
}
"""By the nearest class; whatever is not named here is wrong with what was sent."""

_UNFORESEEN = ("Something went wrong that nobody foresaw.", "The log of the server has the details.")
_ABSOLUTE = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?[/\\](?:[^\s/\\\"'()<>|:]+[/\\])+([^\s/\\\"'()<>|:]+)")


def status_of(error: CelebBasisError) -> int:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def said(error: CelebBasisError, folder: Path) -> dict[str, str]:
    """An error's kind, message and hint, without where on this computer things are kept.

    Args:
        error: What went wrong.
        folder: Of the embeddings.
    """
    message, hint = _UNFORESEEN if isinstance(error, errors.Unforeseen) else (error.message, error.hint)
    return {
        "kind": type(error).__name__,
        "message": without_folders(message, folder),
        "hint": without_folders(hint, folder),
    }


def without_folders(text: str, folder: Path) -> str:
    """The text with every path in it reduced to the file's name."""
    known = (folder, folder.absolute(), folder.resolve(), cache_dir(), Path(tempfile.gettempdir()), Path.home())
    for path in sorted({str(path) for path in known}, key=len, reverse=True):
        if len(path) > 1:  # "/" and "." are everywhere
            text = text.replace(path, "/…")
    return _ABSOLUTE.sub(r"\1", text).replace("/…", "…")


def reply_to(error: Exception, folder: Path) -> Response:
    """The answer to a request that failed in whatever way; what nobody foresaw goes to the log."""
    ours = _as_ours(error)
    if isinstance(ours, errors.Unforeseen):
        _log.error("A request failed", exc_info=error)
    status = status_of(ours)
    headers = {"WWW-Authenticate": 'Basic realm="Celeb Basis"'} if status == 401 else {}
    # Escaped to ASCII: a name that came in half a surrogate pair cannot be encoded otherwise.
    return Response(json.dumps({"error": said(ours, folder)}), status, headers, "application/json")


def _as_ours(error: Exception) -> CelebBasisError:
    if isinstance(error, CelebBasisError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error.errors())
    if isinstance(error, ClientDisconnect) or (isinstance(error, HTTPException) and error.status_code == 400):
        return MalformedRequest("The request cannot be read as JSON.", "Send a JSON object.")
    return errors.Unforeseen(*_UNFORESEEN)


def _invalid(problems: Iterable[Any]) -> CelebBasisError:
    """What pydantic found, of whichever version, without what was sent."""
    listed = list(problems)
    if any(str(problem["type"]) in ("json_invalid", "value_error.jsondecode") for problem in listed):
        return MalformedRequest("The request cannot be read as JSON.", "Send a JSON object.")
    sentences = list(_sentences(listed[:5]))
    more = f" And {len(listed) - 5} more." if len(listed) > 5 else ""
    return InvalidRequest(f"The request does not fit: {'; '.join(sentences)}.{more}", "See /docs for what is expected.")


def _sentences(problems: Iterable[Any]) -> Iterator[str]:
    for problem in problems:
        place = ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0])
        yield f"{place[:100]}: {problem['msg'][:200]}"
