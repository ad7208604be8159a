"""The tab as somebody at a browser meets it. Knows ids and gradio's habits, so that the tests need not."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PATIENCE = 120
"""Seconds that a page, a browser or a server may take for an answer; a busy machine is slow."""
TRAINING = 3 * PATIENCE
"""Seconds for a short training with its contact sheet."""
OVER = ("done", "stopped", "failed")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--force-prefers-reduced-motion",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # whoever asks the world is told no, at once
)  # fmt: skip


def open_browser(width: int = 1280, height: int = 1000) -> Chrome:
    """Debian's Chromium without a window. Whatever it does not answer in time is an error."""
    from selenium.webdriver import Chrome
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    for flag in (*FLAGS, f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.page_load_strategy = "eager"  # the rest of a page is waited for by what it shows
    options.timeouts = {"pageLoad": 1000 * PATIENCE, "script": 1000 * PATIENCE}
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.binary_location = "/usr/bin/chromium"
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(1.5 * PATIENCE)  # Selenium's own default is to wait for ever
    try:
        return Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    finally:
        socket.setdefaulttimeout(before)


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
        """The page anew, ready to be used."""
        self.browser.get(f"{self.url.rstrip('/')}/?__theme={theme}")
        if self.in_webui:
            self.until(lambda: self.click_text("button", "Celeb Basis", "#tabs"), "the WebUI's tabs")
        self.until(lambda: self.run("return !!window.celebbasis"), "the tab's script")
        self.until(lambda: self.shows("#celebbasis_train"), "the Train button")
        self.until(lambda: "at" in self.job(), "the server's answer about the current training")
        return self

    def size(self, width: int, height: int = 1000) -> None:
        """A window of that size, also narrower than a window can be."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def until(self, asked: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Waits until something is true and returns it; an assertion names what never came."""
        from selenium.common.exceptions import (
            ElementClickInterceptedException,
            ElementNotInteractableException,
            StaleElementReferenceException,
            TimeoutException,
        )
        from selenium.webdriver.support.wait import WebDriverWait

        passing = (
            ElementClickInterceptedException, ElementNotInteractableException, StaleElementReferenceException,
        )  # fmt: skip
        try:
            return WebDriverWait(self.browser, seconds, 0.1, passing).until(lambda _: asked())
        except TimeoutException:
            seen = f"training: {self.job()}; message: {self.text('#celebbasis_message')!r}"
            errors = self.errors()
            raise AssertionError(f"waited {seconds:.0f} s for {what}; {seen}; errors: {errors[-3:]}") from None

    def errors(self) -> list[str]:
        """What went wrong in the page's scripts since it was asked last; that nobody is reached outside is no error."""
        entries = self.browser.get_log("browser")
        return [e["message"] for e in entries if e["level"] == "SEVERE" and "ERR_NAME_NOT_RESOLVED" not in e["message"]]

    def shows(self, selector: str) -> bool:
        """Whether an element is there and takes up room."""
        return bool(self.run("return !!document.querySelector(arguments[0])?.offsetParent", selector))

    def count(self, selector: str) -> int:
        return int(self.run("return document.querySelectorAll(arguments[0]).length", selector))

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def until_text(self, selector: str, *parts: str) -> None:
        self.until(lambda: all(part in self.text(selector) for part in parts), f"{parts} in {selector}")

    def click(self, selector: str) -> None:
        """As a person: the element is scrolled into view, and something that covers it would be hit instead."""
        self.until(lambda: self._clicked(selector), f"a clickable {selector}")

    def _clicked(self, selector: str) -> bool:
        element = self._usable(selector)
        if element is None:
            return False
        element.click()
        return True

    def _usable(self, selector: str) -> Any:
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

    def press(self, key: str) -> None:
        """A key, for whatever has the focus at that moment."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(key).perform()

    def focused(self) -> str:
        """The id of the tab's element that has the focus; empty where there is none."""
        return str(self.run("return document.activeElement.closest('[id^=celebbasis_]')?.id ?? ''"))

    def tab_to(self, elem_id: str) -> str:
        """Presses Tab until the focus is in that element; returns its id. An assertion fails where it never comes."""
        for _ in range(60):
            self.press("\ue004")
            if self.focused() == elem_id:
                return elem_id
        raise AssertionError(f"Tab never reaches {elem_id}")

    def outlined(self) -> bool:
        """Whether the element that has the focus can be told from the others."""
        script = "const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.boxShadow]"
        return self.run(script) != ["none", "none"]

    def go_to(self, page: str) -> None:
        """Train, People or Generate."""
        seen_by_all = "button:not([aria-hidden=true] *)"  # today's gradio has a second row of tabs, to measure them
        self.until(lambda: self.click_text(seen_by_all, page, "#celebbasis_pages"), f"the tab {page}")
        self.until(lambda: self.shows(f"#celebbasis_{page.lower()}_page"), f"the page {page}")

    def unfold(self, accordion: str, content: str) -> None:
        """Opens an accordion, unless what is in it shows already. Where pictures above it arrive at the same moment the
        click may miss it; a person would click again.
        """
        clicked = 0.0

        def opened() -> bool:
            nonlocal clicked
            if not self.shows(content) and time.monotonic() - clicked > 10 and self._clicked(self._head_of(accordion)):
                clicked = time.monotonic()
            return self.shows(content)

        self.until(opened, content)

    @staticmethod
    def _head_of(accordion: str) -> str:
        return f"{accordion} > button, {accordion} .label-wrap"

    def fold(self, accordion: str, content: str) -> None:
        """Closes an accordion."""
        self.click(self._head_of(accordion))
        self.until(lambda: not self.shows(content), f"{content} to go")

    def theme(self, name: str) -> None:
        """Light or dark, on the page as it is."""
        self.run("document.body.classList.toggle('dark', arguments[0] === 'dark')", name)

    def settle(self) -> None:
        """Waits until nothing moves any more, and takes the focus away."""
        self.run("document.activeElement.blur(); scrollTo(0, 0)")
        moving = "return document.getAnimations().filter(a => a.playState === 'running').length"
        self.until(lambda: self.run(moving) == 0, "the end of all movement")
        self.browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        time.sleep(0.3)  # what was clicked last is painted late

    def uplink(self, bytes_per_second: int) -> None:
        """How fast the browser may send; -1 for as fast as it can."""
        self.browser.execute_cdp_cmd("Network.enable", {})
        limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second}
        self.browser.execute_cdp_cmd("Network.emulateNetworkConditions", limits)

    def upload(self, paths: Sequence[Path]) -> None:
        """Into the empty field of a new page."""
        found = self.until(
            lambda: self.browser.find_elements("css selector", "#celebbasis_photos input[type=file]"), "an upload field"
        )
        found[0].send_keys("\n".join(str(path) for path in paths))

    def drop(self, path: Path) -> None:
        """A file from the desktop."""
        where = "#celebbasis_photos input[type=file]"
        self.until(lambda: self.count(where), "an upload field")
        box = self.run(
            f"return document.querySelector('{where}').closest('.block, .container').getBoundingClientRect()"
        )
        point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, **point, "data": data})

    def value(self, elem_id: str) -> str:
        script = "return document.querySelector(`#${arguments[0]} textarea, #${arguments[0]} input`)?.value ?? ''"
        return str(self.run(script, elem_id))

    def type(self, elem_id: str, text: str) -> None:
        """Puts a text into a field, in place of what is there, and leaves the field."""
        from selenium.webdriver.common.keys import Keys

        selector = f"#{elem_id} textarea, #{elem_id} input"
        field = self.until(lambda: self._usable(selector), f"the field {elem_id}")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text if text else Keys.DELETE)
        field.send_keys(Keys.TAB)

    def set_up(self, steps: int, every: int = 0) -> None:
        """How many steps, a preview every so many of them, and the consent."""
        self.unfold("#celebbasis_advanced", "#celebbasis_setting_steps")
        self.type("celebbasis_setting_steps", str(steps))
        self.type("celebbasis_setting_batch", "4")
        self.unfold("#celebbasis_previews", "#celebbasis_every")
        self.type("celebbasis_every", str(every))
        self.click("#celebbasis_consent input")

    def name_of(self, row: int = 0) -> str:
        """The name beside a photo, once it is there."""
        return str(self.until(lambda: self.value(f"celebbasis_name_{row}"), f"a name for photo {row + 1}"))

    def give(self, photos: Sequence[Path], names: Sequence[str]) -> None:
        """Photos with names that nobody has."""
        self.upload(photos)
        self.name_of(len(photos) - 1)
        for row, name in enumerate(names):
            self.type(f"celebbasis_name_{row}", name)
        for row, name in enumerate(names):
            self.until_text(f"#celebbasis_hint_{row}", f"Write {name} in a prompt")

    def start(self, button: str = "train") -> str:
        """Presses Train or Resume; returns the new job's id."""
        before = self.job().get("job")
        self.click(f"#celebbasis_{button}")
        return str(self.until(lambda: self._job_other_than(before), "a new job"))

    def _job_other_than(self, before: str | None) -> str | None:
        now = self.job().get("job")
        return now if now != before else None

    def send_to_a_prompt(self, name: str) -> None:
        """From a finished training to where pictures are ordered; a new person's word stands in the prompt there."""
        self.click(f"#celebbasis_outcome [data-cb-send='{name}']")
        prompt = "txt2img_prompt" if self.in_webui else "celebbasis_generate_prompt"
        self.until(lambda: self.shows(f"#{prompt}") and name in self.value(prompt), "the word in a prompt")

    def drawn(self) -> int:
        """Orders pictures where `send_to_a_prompt` led to; returns how many came."""
        gallery = "#txt2img_gallery" if self.in_webui else "#celebbasis_pictures"
        if self.in_webui:
            for size in ("width", "height"):
                self.type(f"txt2img_{size}", "96")
        self.click("#txt2img_generate" if self.in_webui else "#celebbasis_generate")
        self.until(lambda: self.count(f"{gallery} img"), "pictures")
        return self.count(f"{gallery} img")

    def has_card(self, name: str) -> bool:
        """Whether the WebUI shows somebody among its textual inversions, which may be a hidden page."""
        return bool(self.count(f"#txt2img_textual_inversion_cards .card[data-name='{name}']"))

    def job(self) -> dict[str, str]:
        """What the page knows of the training: state, job, active."""
        return dict(self.run("return {...document.querySelector('#celebbasis_progress .cb-job')?.dataset}"))

    def until_over(self) -> str:
        """The state in which the training ends."""
        self.until(lambda: self.job().get("state") in OVER, "the end of the training", TRAINING)
        return str(self.job()["state"])

    def until_step(self, step: int) -> None:
        """Waits until so many steps are done; an assertion fails where the training ends before."""

        def reached() -> bool:
            state = self.job().get("state")
            assert state not in OVER, f"the training is {state} before step {step}"
            return self.step() >= step

        self.until(reached, f"step {step}")

    def step(self) -> int:
        """Steps done, read from the line that people read; 0 where it names none."""
        words = self.text("#celebbasis_progress .cb-headline").split()
        return int(words[words.index("step") + 1]) if "step" in words else 0

    def make_up(self, name: str, seed: int = 1) -> None:
        """Somebody who does not exist, on the People page; it does not take long."""
        self.go_to("People")
        self.unfold("#celebbasis_making_up", "#celebbasis_made_name")
        self.type("celebbasis_person_seed", str(seed))
        self.type("celebbasis_made_name", name)
        self.click("#celebbasis_make")
        self.until_text("#celebbasis_people_message", f"{name} is there")
        self.until_text("#celebbasis_details", name)

    def pick(self, elem_id: str, text: str) -> None:
        """Writes a text into a list field and takes it."""
        from selenium.webdriver.common.keys import Keys

        field = self.until(lambda: self._usable(f"#{elem_id} input"), f"the field {elem_id}")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text, Keys.ENTER)
        field.send_keys(Keys.TAB)
