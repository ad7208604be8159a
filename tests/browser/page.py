"""The tab as somebody at a browser meets it. Knows ids and gradio's habits, so that the tests need not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PATIENCE = 240
"""Seconds; a busy machine is slow, a quick one does not wait."""


def open_browser(width: int = 1280, height: int = 1000) -> Chrome:
    """Debian's Chromium without a window."""
    from selenium.webdriver import Chrome
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument(f"--window-size={width},{height}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.binary_location = "/usr/bin/chromium"
    return Chrome(options=options, service=Service("/usr/bin/chromedriver"))


class TabPage:
    """The tab in a browser.

    Args:
        browser: Selenium's.
        url: Of the page, without a query.
        in_webui: Whether the tab is one of many in the WebUI.
    """

    def __init__(self, browser: Any, url: str, in_webui: bool = False) -> None:
        self.browser, self.url, self.in_webui = browser, url, in_webui

    def open(self, theme: str = "light") -> TabPage:
        self.browser.get(f"{self.url.rstrip('/')}/?__theme={theme}")
        if self.in_webui:
            self.until(lambda: self.click_text("button", "Celeb Basis", "#tabs"), "the WebUI's tabs")
        self.until(
            lambda: self.run("return !!window.celebbasis && !!document.querySelector('#celebbasis_train')"), "tab"
        )
        self.until(lambda: self.shows("#celebbasis_train"), "the Train button")
        self.until(lambda: "at" in self.job(), "the server's answer about the current training")
        return self

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def until(self, asked: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Waits until something is true; an assertion names what never came."""
        end = time.monotonic() + seconds
        while True:
            answer = asked()
            if answer:
                return answer
            assert time.monotonic() < end, (
                f"waited {seconds:.0f} s for {what}; message: {self.text('#celebbasis_message')}"
            )
            time.sleep(0.15)

    def shows(self, selector: str) -> bool:
        """Whether an element is there and takes up room."""
        return bool(self.run("return !!document.querySelector(arguments[0])?.offsetParent", selector))

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def click(self, selector: str) -> None:
        """As a person: the element is scrolled into view, and something that covers it would be hit instead."""
        element = self.until(lambda: self._clickable(selector), f"a clickable {selector}")
        element.click()

    def _clickable(self, selector: str) -> Any:
        found = self.browser.find_elements("css selector", selector)
        if not found or not found[0].is_displayed() or not found[0].is_enabled():
            return None
        self.run("arguments[0].scrollIntoView({block: 'center'})", found[0])
        return found[0]

    def click_text(self, selector: str, text: str, within: str = "#celebbasis_tab") -> bool:
        """Clicks the first element that says just this; False where there is none."""
        for element in self.browser.find_elements("css selector", f"{within} {selector}"):
            if element.text.strip() == text and element.is_displayed():
                self.run("arguments[0].scrollIntoView({block: 'center'})", element)
                element.click()
                return True
        return False

    def go_to(self, page: str) -> None:
        """Train, People or Generate."""
        self.until(lambda: self.click_text("button", page, "#celebbasis_pages"), f"the page {page}")

    def upload(self, paths: Sequence[Path]) -> None:
        if self.run("return !document.querySelector('#celebbasis_photos input[type=file]')"):
            self.click("#celebbasis_photos button[aria-label='Clear']")
        found = self.until(
            lambda: self.browser.find_elements("css selector", "#celebbasis_photos input[type=file]"), "an upload field"
        )
        found[0].send_keys("\n".join(str(path) for path in paths))

    def value(self, elem_id: str) -> str:
        script = "return document.querySelector(`#${arguments[0]} textarea, #${arguments[0]} input`)?.value ?? ''"
        return str(self.run(script, elem_id))

    def type(self, elem_id: str, text: str) -> None:
        from selenium.webdriver.common.keys import Keys

        selector = f"#{elem_id} textarea, #{elem_id} input"
        field = self.until(lambda: self._clickable(selector), f"the field {elem_id}")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text if text else Keys.DELETE)
        field.send_keys(Keys.TAB)

    def set_up(self, steps: int) -> None:
        """Few steps, a preview early on, and the consent."""
        if not self.shows("#celebbasis_setting_steps"):
            self.click("#celebbasis_advanced > button, #celebbasis_advanced .label-wrap")
        self.type("celebbasis_setting_steps", str(steps))
        self.type("celebbasis_setting_batch", "4")
        self.click("#celebbasis_consent input")

    def name_of(self, row: int = 0) -> str:
        """The name beside a photo, once it is there."""
        return str(self.until(lambda: self.value(f"celebbasis_name_{row}"), f"a name for photo {row + 1}"))

    def job(self) -> dict[str, str]:
        """What the page knows of the training: state, job, active."""
        return dict(self.run("return {...document.querySelector('#celebbasis_progress .cb-job')?.dataset}"))

    def until_state(self, *states: str) -> str:
        self.until(lambda: self.job().get("state") in states, f"the state {' or '.join(states)}")
        return str(self.job()["state"])

    def step(self) -> int:
        """Steps done, read from the line that people read."""
        words = self.text("#celebbasis_progress .cb-headline").split()
        return int(words[words.index("step") + 1]) if "step" in words else 0
