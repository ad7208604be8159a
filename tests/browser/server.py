"""The standalone page, served by a Python of choice."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser.page import PATIENCE

ROOT = Path(__file__).parents[2]


@contextmanager
def serving(python: str, folder: Path) -> Iterator[str]:
    """The page's address, as long as it is needed.

    Args:
        python: Whose gradio serves it.
        folder: Where it works, writes its log, and keeps its embeddings.
    """
    process = subprocess.Popen(
        [python, "-m", "celebbasis_ext.cli", "ui", "--port", str(free_port()), "--out", str(folder / "embeddings")],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=(folder / "log").open("wb"), text=True,
    )  # fmt: skip
    try:
        yield address_said_by(process, folder / "log")
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def address_said_by(process: subprocess.Popen[str], log: Path) -> str:
    """The address that a server prints when it answers; one that is silent for too long is ended."""
    assert process.stdout is not None
    too_long = threading.Timer(PATIENCE, process.kill)
    too_long.start()
    try:
        for line in process.stdout:
            if line.startswith("Celeb Basis is at "):
                return line.split()[4]
    finally:
        too_long.cancel()
    raise AssertionError(f"The server ended before it answered:\n{log.read_text()}")
