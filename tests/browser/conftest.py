"""The server and the browser. Without Chromium or gradio's old venv the tests are skipped, and say why.

CELEBBASIS_WEBUI_URL   a running WebUI that has the extension, in place of the standalone page
CELEBBASIS_GRADIO3     a Python that has gradio 3.41.2 and what the engine needs (default: that of `.venv-gradio3`)
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.browser.page import PATIENCE, TabPage, open_browser

ROOT = Path(__file__).parents[2]


def old_python() -> Path | None:
    """The Python that has gradio 3.41.2, if there is one."""
    chosen = Path(os.environ.get("CELEBBASIS_GRADIO3", ROOT / ".venv-gradio3" / "bin" / "python"))
    return chosen if chosen.exists() else None


def servers() -> list[Any]:
    if os.environ.get("CELEBBASIS_WEBUI_URL"):
        return ["webui"]
    return ["gradio 3.41.2", "gradio of today"]


def missing(server: str) -> str:
    """Why the tests do not run here; empty if they do. They take minutes, and want the machine for themselves."""
    if os.environ.get("CELEBBASIS_BROWSER") != "1":
        return "python3 bootstrap.py browser-test runs these"
    if find_spec("selenium") is None:
        return "selenium is not installed"
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        return "Debian's chromium and chromium-driver are not installed"
    if server == "gradio 3.41.2" and old_python() is None:
        return "there is no venv with gradio 3.41.2 (python3 bootstrap.py browser-test makes one)"
    if server == "gradio of today" and find_spec("gradio") is None:
        return "gradio is not installed"
    return ""


@pytest.fixture(scope="module", params=servers())
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page with the tab."""
    if why := missing(request.param):
        pytest.skip(why)
    if request.param == "webui":
        yield os.environ["CELEBBASIS_WEBUI_URL"]
        return
    python = str(old_python()) if request.param == "gradio 3.41.2" else sys.executable
    folder = tmp_path_factory.mktemp("served")
    process = subprocess.Popen(
        [python, "-m", "celebbasis_ext.cli", "ui", "--port", str(free_port()), "--out", str(folder / "embeddings")],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=(folder / "log").open("wb"), text=True,
    )  # fmt: skip
    try:
        yield address_said_by(process, folder / "log")
    finally:
        process.terminate()
        process.wait(PATIENCE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def address_said_by(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Celeb Basis is at "):
            return line.split()[4]
    raise AssertionError(f"The server ended before it answered:\n{log.read_text()}")


@pytest.fixture(scope="module")
def browser(server: str) -> Iterator[Any]:
    chrome = open_browser()
    yield chrome
    chrome.quit()


@pytest.fixture
def tab(browser: Any, server: str) -> TabPage:
    return TabPage(browser, server, in_webui="CELEBBASIS_WEBUI_URL" in os.environ).open()
