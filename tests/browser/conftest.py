"""The servers, one for each gradio, the browser, and what is shown to it. Where something is missing the tests are
skipped, and say why.

CELEBBASIS_BROWSER=1   run them; "gradio3": those on gradio 3.41.2 alone
CELEBBASIS_WEBUI_URL   a running WebUI that has the extension, in place of the standalone page
CELEBBASIS_GRADIO3     a Python that has gradio 3.41.2 and what the engine needs (default: that of `.venv-gradio3`)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celebbasis_ext.evaluate.sheets import save_png
from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import strangers
from tests.browser.page import TabPage, open_browser
from tests.browser.server import ROOT, serving

WEBUI, OLD, TODAY = "webui", "gradio 3.41.2", "gradio of today"


def old_python() -> Path:
    """The Python that has gradio 3.41.2, whether it is there or not."""
    return Path(os.environ.get("CELEBBASIS_GRADIO3", ROOT / ".venv-gradio3" / "bin" / "python"))


def has_gradio(python: Path) -> bool:
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('gradio') is None)"
    return python.exists() and subprocess.run([str(python), "-c", code], check=False).returncode == 0


def servers() -> list[str]:
    return [WEBUI] if os.environ.get("CELEBBASIS_WEBUI_URL") else [OLD, TODAY]


def missing(server: str) -> str:
    """Why the tests do not run here; empty if they do. They take minutes, and want the machine for themselves."""
    wanted = os.environ.get("CELEBBASIS_BROWSER")
    if not wanted:
        return "python3 bootstrap.py browser-test runs these"
    if wanted == "gradio3" and server == TODAY:
        return "only those on gradio 3.41.2 were asked for"
    if find_spec("selenium") is None:
        return "selenium is not installed"
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        return "Debian's chromium and chromium-driver are not installed"
    if server == OLD and not has_gradio(old_python()):
        return "there is no environment with gradio 3.41.2 (python3 bootstrap.py browser-test makes one)"
    if server == TODAY and find_spec("gradio") is None:
        return "gradio is not installed"
    return ""


@pytest.fixture(scope="session", params=servers())
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page with the tab."""
    if why := missing(request.param):
        pytest.skip(why)
    if request.param == WEBUI:
        yield os.environ["CELEBBASIS_WEBUI_URL"]
        return
    python = str(old_python()) if request.param == OLD else sys.executable
    with serving(python, tmp_path_factory.mktemp("served")) as address:
        yield address


@pytest.fixture(scope="session")
def browser(server: str) -> Iterator[Any]:
    chrome = open_browser()
    yield chrome
    chrome.quit()


@pytest.fixture
def tab(browser: Any, server: str) -> Iterator[TabPage]:
    """The page anew; a training that a test leaves behind is stopped."""
    page = TabPage(browser, server, in_webui="CELEBBASIS_WEBUI_URL" in os.environ).open()
    yield page
    if page.job().get("active") == "true":
        page.open().click("#celebbasis_stop")
        page.until_over()


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One face: anna.png, too.png (Anna again), ben.png, large.png. Two: pair.png. None: empty.png, broken.png."""
    folder = tmp_path_factory.mktemp("photos")
    anna, ben = strangers(2, 5)
    save_png(draw(anna, Look(background="red", shirt="green"), 192).image, folder / "anna.png")
    save_png(draw(anna, Look(background="city", shirt="white"), 192).image, folder / "too.png")
    save_png(draw(ben, Look(background="beach", glasses=True), 192).image, folder / "ben.png")
    large = draw(anna, Look(background="red"), 384).image
    grain = np.random.default_rng(0).integers(-3, 4, large.shape)  # which no compression makes small
    save_png(np.clip(large + grain, 0, 255).astype(np.uint8), folder / "large.png")
    pair = [draw(person, Look(background="red"), 192).image for person in (anna, ben)]
    save_png(np.concatenate(pair, axis=1), folder / "pair.png")
    save_png(np.full((128, 128, 3), 200, np.uint8), folder / "empty.png")
    whole = (folder / "anna.png").read_bytes()
    (folder / "broken.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture
def name() -> str:
    """A name that nobody has, also in a WebUI that keeps what earlier runs left."""
    return f"t{uuid.uuid4().hex[:6]}-cb"
