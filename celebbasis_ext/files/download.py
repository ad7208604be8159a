"""Fetches a file once: resumed after a cut, checked, and in its place only when it is whole and right.

    https://... ──▶ folder/NAME.part ──size, sha256──▶ folder/NAME

What stands in `NAME.part` is kept after a cut, and the next run goes on from there. Processes that want the same file
take turns: the second one finds it done.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from celebbasis_ext import __version__
from celebbasis_ext.errors import MissingModel

CHUNK: Final = 1 << 18
TIMEOUT: Final = 30.0
"""Seconds without a byte after which a connection counts as cut."""

ATTEMPTS: Final = 4
"""How often one address is asked, as long as it goes on giving bytes."""


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be fetched.

    Attributes:
        name: Its file name.
        urls: Where it is, tried in this order; all hold the same bytes.
        size: In bytes.
        sha256: In hexadecimal digits.
        licence: Under which it may be used.
    """

    name: str
    urls: tuple[str, ...]
    size: int
    sha256: str
    licence: str


@dataclass(frozen=True)
class Transfer:
    """How far a file is. The first one of a file is told before the first byte is asked for.

    Attributes:
        file: What is fetched.
        url: From where.
        path: Where it will be.
        done: Bytes that are here.
    """

    file: RemoteFile
    url: str
    path: Path
    done: int


Progress = Callable[[Transfer], None]


def fetch(file: RemoteFile, folder: Path, progress: Progress = lambda transfer: None, offline: bool = False) -> Path:
    """The file in the folder; fetched, if it is not there yet.

    Args:
        file: What to fetch.
        folder: Where to put it; made where it is missing.
        progress: Told how far it is.
        offline: Do not go to the network.

    Returns:
        The path of the whole, checked file.

    Raises:
        MissingModel: The file cannot be had: not allowed to, unreachable, cut, of another size or sum than expected,
            or the folder cannot be written to. What arrived before a cut is kept; what is wrong is removed.
    """
    path = folder / file.name
    if path.is_file():
        return path
    if offline:
        raise _missing(file, folder, "and nothing may be fetched (offline)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(path):
            if not path.is_file():
                _fetch_from_any(file, path, progress)
    except OSError as error:
        raise _unwritable(file, folder, error) from error
    return path


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Only one process on this computer fetches a file; the system frees the lock of one that was killed."""
    from filelock import FileLock

    lock = path.with_name(f".{path.name}.lock")
    with FileLock(lock):
        yield
        with suppress(OSError):  # Windows does not let go of an open file; there FileLock removes it.
            lock.unlink()


def _fetch_from_any(file: RemoteFile, path: Path, progress: Progress) -> None:
    """Ask one address after the other.

    Raises:
        MissingModel: None of them gave the file; the last one's reason is named.
    """
    reason = ""
    for url in file.urls:
        try:
            _fetch_from(Transfer(file, url, path, 0), progress)
            return
        except _Refused as refused:
            reason = f"and cannot be fetched from {url}: {refused}"
    raise _missing(file, path.parent, reason)


class _Refused(Exception):
    """This address does not give the file; the text says why."""


class _Cut(_Refused):
    """The connection ended early; what came is kept."""


def _fetch_from(transfer: Transfer, progress: Progress) -> None:
    """Ask one address until the file is whole, then check it and move it into its place.

    Raises:
        _Refused: It was not to be had, or is not the right one.
    """
    part = transfer.path.with_name(f"{transfer.path.name}.part")
    for attempt in range(ATTEMPTS):
        try:
            _receive(transfer, part, progress)
            break
        except _Cut:
            if attempt == ATTEMPTS - 1:
                raise
    if _sha256(part) != transfer.file.sha256:
        part.unlink()
        raise _Refused(f"its sha256 is not {transfer.file.sha256}, so it is damaged or another file; it was removed")
    part.replace(transfer.path)


def _receive(transfer: Transfer, part: Path, progress: Progress) -> None:
    """Append what is missing to the part.

    Raises:
        _Refused: The address cannot be reached, does not know the file, or has one of another size.
        _Cut: The connection ended early.
    """
    file = transfer.file
    have = part.stat().st_size if part.is_file() else 0
    if have > file.size:
        part.unlink()
        have = 0
    progress(Transfer(file, transfer.url, transfer.path, have))
    if have == file.size:
        return
    with _opened(transfer.url, have) as answer:
        start = _start(answer, have)
        _check_length(answer, file.size - start)
        with part.open("r+b" if start else "wb") as out:
            out.seek(start)
            for done in _copied(answer, out, start, file.size):
                progress(Transfer(file, transfer.url, transfer.path, done))


@contextmanager
def _opened(url: str, start: int) -> Iterator[http.client.HTTPResponse]:
    """The address's answer, asked for the bytes from `start` on."""
    headers = {"User-Agent": f"celebbasis/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise _Refused(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Refused(f"it cannot be reached ({getattr(error, 'reason', error)})") from error
    with answer:
        yield answer


def _start(answer: http.client.HTTPResponse, asked: int) -> int:
    """From which byte on the answer is: the one that was asked for, or 0 where the server gives the whole file."""
    if answer.status != http.client.PARTIAL_CONTENT:
        return 0
    given = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    if given is None or int(given[1]) != asked:
        raise _Refused("the server gives another part of the file than the one it was asked for")
    return asked


def _check_length(answer: http.client.HTTPResponse, expected: int) -> None:
    """A page that says sorry has another length; this is seen before a byte is written."""
    length = answer.headers.get("Content-Length")
    if length is not None and int(length) != expected:
        raise _Refused(f"the server offers {length} bytes, expected {expected}")


def _copied(answer: http.client.HTTPResponse, out: IO[bytes], done: int, size: int) -> Iterator[int]:
    """Write what comes, up to the file's size; yields the number of bytes that are here.

    Raises:
        _Cut: Fewer bytes came than the file has.
    """
    while chunk := _read(answer, size - done):
        out.write(chunk)
        done += len(chunk)
        yield done
    if done < size:
        raise _Cut(f"the connection was cut after {done} of {size} bytes; the next run goes on from there")


def _read(answer: http.client.HTTPResponse, left: int) -> bytes:
    """The next bytes; none where the connection has ended, in whatever way."""
    try:
        return answer.read(min(CHUNK, left))
    except http.client.IncompleteRead as error:
        return error.partial
    except (OSError, http.client.HTTPException):
        return b""


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _missing(file: RemoteFile, folder: Path, reason: str) -> MissingModel:
    return MissingModel(
        f"The file {file.name} ({file.size / 1e6:.1f} MB) is not in the folder {folder} {reason}.",
        f"Download {file.urls[0]} by other means and put it there, under this name.",
    )


def _unwritable(file: RemoteFile, folder: Path, error: OSError) -> MissingModel:
    return MissingModel(
        f"The file {file.name} ({file.size / 1e6:.1f} MB) cannot be written to the folder {folder}: "
        f"{error.strerror or error}.",
        "Make room, or name another folder in CELEBBASIS_MODELS; what is there already is kept.",
    )
