"""Colours, widths and keys: the tab for everybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import TODAY
from tests.browser.page import TabPage


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_and_nothing_sticks_out(tab: TabPage, photos: Path, name: str, theme: str) -> None:
    tab.make_up(name)
    tab.open(theme)
    tab.upload([photos / "anna.png"])
    tab.until_text("#celebbasis_hint_0", "Write")
    try:
        for width in (1280, 390):
            tab.size(width)
            assert faint_texts(tab) == []
            assert sticking_out(tab) == []
        tab.go_to("People")
        tab.click(f"[data-cb-person='{name}']")
        tab.until_text("#celebbasis_details", "Nearest celebrities")
        for width in (390, 1280):
            tab.size(width)
            assert faint_texts(tab) == []
            assert sticking_out(tab) == []
    finally:
        tab.size(1280)


def faint_texts(tab: TabPage) -> list[str]:
    """The tab's own texts whose contrast with what lies behind them is below 4.5, WCAG's level AA."""
    found = tab.run(
        """
        const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
        const behind = (node) => {
          for (; node; node = node.parentElement) {
            const c = rgb(getComputedStyle(node).backgroundColor);
            if (c.length < 4 || c[3] > 0.99) return c;
          }
          return [255, 255, 255];
        };
        const own = "p, figcaption, dt, dd, th, td, code, strong, span, .cb-button";
        return [...document.querySelectorAll("#celebbasis_tab [class^=cb-]")]
          .flatMap((e) => [e, ...e.querySelectorAll(own)])
          .filter((e) => e.offsetParent && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
          .map((e) => [e.innerText, rgb(getComputedStyle(e).color), behind(e)]);
        """
    )
    assert found
    return [f"{text!r}: {contrast(front, back):.2f}" for text, front, back in found if contrast(front, back) < 4.5]


def contrast(text: list[float], behind: list[float]) -> float:
    """WCAG's ratio between two colours."""
    light, dark = sorted((luminance(text), luminance(behind)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: list[float]) -> float:
    channels = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


def sticking_out(tab: TabPage) -> list[str]:
    """Elements of the tab that reach beyond the window, which would then scroll sideways."""
    return list(
        tab.run(
            """
            const width = document.documentElement.clientWidth;
            const scrolls = (e) => e.parentElement.closest("#celebbasis_tab .cb-sheet");
            return [...document.querySelectorAll("#celebbasis_tab, #celebbasis_tab *")]
              .filter((e) => e.offsetParent && e.getBoundingClientRect().right > width + 1 && !scrolls(e))
              .map((e) => `${e.tagName} ${e.id} ${e.className} ${e.getBoundingClientRect().right}`);
            """
        )
    )


def test_everything_can_be_done_by_keyboard(tab: TabPage, photos: Path, name: str) -> None:
    from selenium.webdriver.common.keys import Keys

    tab.upload([photos / "anna.png"])
    tab.name_of()
    tab.run("document.querySelector('#celebbasis_name_0 textarea, #celebbasis_name_0 input').focus()")
    wanted = ["celebbasis_words_0", "celebbasis_preset", "celebbasis_consent", "celebbasis_train"]
    reached = [tab.tab_to(elem_id) for elem_id in wanted[:3]]
    tab.press(Keys.SPACE)
    tab.until(lambda: tab.run("return document.querySelector('#celebbasis_consent input').checked"), "consent")
    assert [*reached, tab.tab_to(wanted[3])] == wanted
    assert tab.outlined()

    tab.make_up(name)
    tab.make_up(name.replace("-cb", "o-cb"))
    tab.run("document.querySelector('#celebbasis_refresh').focus()")
    while tab.tab_to("celebbasis_cards") and tab.run("return document.activeElement.dataset.cbPerson") != name:
        pass
    assert tab.outlined()
    tab.press(Keys.ENTER)
    tab.until(lambda: tab.count(f"[data-cb-person='{name}'][aria-pressed=true]"), "the pressed card")
    tab.until_text("#celebbasis_details", name)
    assert tab.run("return document.activeElement.dataset.cbPerson") == name


def test_every_field_has_a_name_for_who_cannot_see_it(tab: TabPage, photos: Path) -> None:
    tab.upload([photos / "anna.png"])
    tab.name_of()
    tab.unfold("#celebbasis_advanced", "#celebbasis_setting_steps")
    fields = tab.browser.find_elements("css selector", "#celebbasis_tab textarea, #celebbasis_tab input")
    shown = [field for field in fields if field.is_displayed()]
    assert len(shown) > 5
    assert not [field.get_attribute("outerHTML")[:120] for field in shown if not field.accessible_name]


def test_the_browser_keeps_no_photo_and_no_name(tab: TabPage, photos: Path, name: str) -> None:
    tab.give([photos / "anna.png"], [name])
    tab.open()
    kept = tab.run("return JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert name not in kept
    assert "base64" not in kept


def test_the_page_of_today_asks_nobody_else_for_anything(tab: TabPage, server: str, request: Any) -> None:
    """The old gradio's page names a script of cdnjs.cloudflare.com; today's needs nothing from outside."""
    if request.node.callspec.params["server"] != TODAY:
        pytest.skip("the host's own gradio decides what it asks for")
    messages = (json.loads(entry["message"])["message"] for entry in tab.browser.get_log("performance"))
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert urls
    assert not [url for url in urls if not url.startswith((server.rstrip("/"), "data:", "blob:"))]
