"""The tab in a real browser: what somebody sees and presses, from the photo to the People page."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celebbasis_ext.evaluate.sheets import save_png
from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import strangers
from tests.browser.page import TabPage

STEPS = 6


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """anna.png, ben.png: one face each. pair.png: two people. empty.png: nobody. broken.png: no picture at all."""
    folder = tmp_path_factory.mktemp("photos")
    anna, ben = strangers(2, 5)
    save_png(draw(anna, Look(background="red", shirt="green"), 192).image, folder / "anna.png")
    save_png(draw(ben, Look(background="beach", glasses=True), 192).image, folder / "ben.png")
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


def train(tab: TabPage, photo: Path, name: str, steps: int = STEPS) -> None:
    """From an empty page to a training that has begun."""
    tab.upload([photo])
    tab.name_of()
    tab.type("celebbasis_name_0", name)
    tab.set_up(steps)
    tab.until(lambda: f"Write {name} in a prompt" in tab.text("#celebbasis_hint_0"), "a good name")
    tab.click("#celebbasis_train")
    tab.until_state("queued", "running", "done")


def test_a_photo_shows_its_face_a_free_name_and_what_else_is_in_it(tab: TabPage, photos: Path) -> None:
    tab.upload([photos / "anna.png"])
    assert tab.name_of() == "anna-cb"
    assert "1 face found" in tab.text("#celebbasis_portrait_0")
    assert tab.run("return document.querySelectorAll('#celebbasis_portrait_0 rect').length") == 1
    assert "red background" in tab.value("celebbasis_words_0")


def test_several_faces_are_numbered_and_one_is_chosen(tab: TabPage, photos: Path) -> None:
    tab.upload([photos / "pair.png"])
    tab.until(lambda: "2 faces found" in tab.text("#celebbasis_portrait_0"), "two faces")
    assert tab.run("return [...document.querySelectorAll('#celebbasis_portrait_0 text')].map(t => t.textContent)") == [
        "1",
        "2",
    ]
    assert tab.value("celebbasis_words_0") == ""
    tab.until(lambda: tab.shows("#celebbasis_face_0"), "the choice of a face")
    tab.run("document.querySelectorAll('#celebbasis_face_0 input')[1].click()")
    tab.until(lambda: tab.run("return !!document.querySelector('#celebbasis_portrait_0 rect.cb-chosen')"), "a choice")
    tab.until(lambda: tab.value("celebbasis_words_0"), "words about the chosen one's surroundings")


def test_training_needs_a_choice_among_several_faces(tab: TabPage, photos: Path, name: str) -> None:
    train(tab, photos / "pair.png", name)
    assert tab.until_state("failed") == "failed"
    tab.until(lambda: "2 faces" in tab.text("#celebbasis_outcome [role=alert]"), "the reason")


@pytest.mark.parametrize(("photo", "reason"), [("broken.png", "damaged"), ("empty.png", "No face")])
def test_a_bad_photo_says_what_is_wrong(tab: TabPage, photos: Path, photo: str, reason: str) -> None:
    tab.upload([photos / photo])
    tab.until(lambda: reason in tab.text("#celebbasis_portrait_0 [role=alert]"), reason)


def test_names_are_checked_as_they_are_typed(tab: TabPage, photos: Path) -> None:
    tab.upload([photos / "anna.png"])
    tab.name_of()
    tab.type("celebbasis_name_0", "cat")
    tab.until(lambda: "ordinary word" in tab.text("#celebbasis_hint_0"), "the reason")
    assert "cat-cb" in tab.text("#celebbasis_hint_0")


def test_without_consent_or_photo_nothing_starts(tab: TabPage, photos: Path) -> None:
    before = tab.job().get("job")
    tab.click("#celebbasis_train")
    tab.until(lambda: "agreed" in tab.text("#celebbasis_message"), "the question for consent")
    tab.click("#celebbasis_consent input")
    tab.click("#celebbasis_train")
    tab.until(lambda: "no photo" in tab.text("#celebbasis_message"), "the question for a photo")
    assert tab.job().get("job") == before


def test_from_photo_to_word_to_the_people_page(tab: TabPage, photos: Path, name: str) -> None:
    train(tab, photos / "anna.png", name)
    assert tab.until_state("done", "failed") == "done"
    tab.until(lambda: tab.text("#celebbasis_outcome .cb-word code") == name, "the trigger word")
    assert "likeness" in tab.text("#celebbasis_outcome .cb-scores")
    assert "anybody" in tab.text("#celebbasis_outcome .cb-scores")
    assert tab.run("return document.querySelector('#celebbasis_outcome .cb-sheet img').naturalWidth") > 500
    assert tab.run("return document.querySelectorAll('#celebbasis_progress .cb-loss polyline').length") == 2

    tab.go_to("People")
    tab.click(f"[data-cb-person='{name}']")
    tab.until(lambda: "Nearest celebrities" in tab.text("#celebbasis_details"), "what is known of the person")
    assert tab.run("return document.querySelector('#celebbasis_details a[download]').download") == f"{name}.safetensors"
    renamed = name.replace("-cb", "x-cb")
    tab.type("celebbasis_new_name", renamed)
    tab.click("#celebbasis_rename")
    tab.until(lambda: tab.shows(f"[data-cb-person='{renamed}']"), "the card of the new name")
    tab.click("#celebbasis_delete")
    assert tab.shows(f"[data-cb-person='{renamed}']")
    tab.click("#celebbasis_really")
    tab.until(lambda: not tab.shows(f"[data-cb-person='{renamed}']"), "the card to go")


def test_a_taken_name_is_refused_with_a_proposal(tab: TabPage, photos: Path, name: str) -> None:
    train(tab, photos / "anna.png", name, steps=1)
    tab.until_state("done")
    tab.open()
    tab.upload([photos / "ben.png"])
    tab.name_of()
    tab.type("celebbasis_name_0", name.upper())
    tab.until(lambda: "exists already" in tab.text("#celebbasis_hint_0"), "the reason")


def test_stop_keeps_what_was_learned_and_resume_goes_on(tab: TabPage, photos: Path, name: str) -> None:
    train(tab, photos / "ben.png", name, steps=16)
    tab.until(lambda: tab.step() >= 2, "two steps")
    tab.click("#celebbasis_stop")
    assert tab.until_state("stopped", "done") == "stopped"
    tab.until(lambda: "Stopped early" in tab.text("#celebbasis_outcome"), "the notice")
    first = tab.job()["job"]
    tab.click("#celebbasis_resume")
    tab.until(lambda: tab.job()["job"] != first, "another job")
    tab.until(lambda: tab.step() >= 3, "it to go on")
    assert tab.until_state("done", "failed") == "done"


def test_a_reload_in_the_middle_finds_the_running_job(tab: TabPage, photos: Path, name: str) -> None:
    train(tab, photos / "ben.png", name, steps=30)
    tab.until(lambda: tab.step() >= 2, "two steps")
    before = tab.job()["job"]
    tab.open()
    tab.until(lambda: tab.job().get("job") == before, "the same job")
    assert tab.step() >= 2
    tab.click("#celebbasis_stop")
    tab.until_state("stopped")


def test_two_people_are_learned_together(tab: TabPage, photos: Path, name: str) -> None:
    tab.upload([photos / "anna.png", photos / "ben.png"])
    tab.name_of(1)
    names = [name, name.replace("-cb", "b-cb")]
    for row, own in enumerate(names):
        tab.type(f"celebbasis_name_{row}", own)
    tab.set_up(2)
    tab.click("#celebbasis_train")
    assert tab.until_state("done", "failed") == "done"
    words = "return [...document.querySelectorAll('#celebbasis_outcome .cb-word code')].map(c => c.textContent)"
    tab.until(lambda: tab.run(words) == names, "both words")


def test_a_pasted_photo_is_taken(tab: TabPage, photos: Path) -> None:
    import base64

    content = base64.b64encode((photos / "anna.png").read_bytes()).decode()
    tab.run(
        """
        const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], "pasted.png", {type: "image/png"}));
        const paste = {clipboardData: data, bubbles: true, cancelable: true};
        document.body.dispatchEvent(new ClipboardEvent("paste", paste));
        """,
        content,
    )
    assert tab.name_of() == "pasted-cb"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_text_can_be_read_and_nothing_sticks_out(tab: TabPage, photos: Path, theme: str, width: int) -> None:
    tab.browser.set_window_size(width, 1000)
    try:
        tab.open(theme)
        tab.upload([photos / "anna.png"])
        tab.name_of()
        tab.until(lambda: "Write" in tab.text("#celebbasis_hint_0"), "the line below the name")
        assert contrast(tab, "#celebbasis_hint_0 p") >= 4.5
        assert contrast(tab, "#celebbasis_portrait_0 figcaption") >= 4.5
        own = tab.run("return document.querySelector('#celebbasis_tab').getBoundingClientRect().right")
        page = tab.run("return document.documentElement.clientWidth")
        assert own <= page + 1
        assert tab.run("return document.querySelector('#celebbasis_tab').scrollWidth") <= own + 1
    finally:
        tab.browser.set_window_size(1280, 1000)


def contrast(tab: TabPage, selector: str) -> float:
    """WCAG's ratio between a text's colour and what lies behind it."""
    text, behind = tab.run(
        """
        const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
        let node = document.querySelector(arguments[0]);
        const text = rgb(getComputedStyle(node).color);
        for (; node; node = node.parentElement) {
          const c = rgb(getComputedStyle(node).backgroundColor);
          if (c.length < 4 || c[3] > 0.99) return [text, c];
        }
        return [text, [255, 255, 255]];
        """,
        selector,
    )
    light, dark = sorted((luminance(text), luminance(behind)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: list[float]) -> float:
    channels = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


def test_everything_can_be_reached_by_keyboard(tab: TabPage, photos: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    tab.upload([photos / "anna.png"])
    tab.name_of()
    tab.run("document.querySelector('#celebbasis_name_0 textarea, #celebbasis_name_0 input').focus()")
    seen = []
    for _ in range(30):
        tab.browser.switch_to.active_element.send_keys(Keys.TAB)
        seen.append(tab.run("return document.activeElement.closest('[id^=celebbasis_]')?.id ?? ''"))
        if seen[-1] == "celebbasis_train":
            break
    wanted = ["celebbasis_words_0", "celebbasis_preset", "celebbasis_consent", "celebbasis_train"]
    assert [elem_id for elem_id in dict.fromkeys(seen) if elem_id in wanted] == wanted
    unnamed = [
        field.get_attribute("outerHTML")[:120]
        for field in tab.browser.find_elements(By.CSS_SELECTOR, "#celebbasis_tab textarea, #celebbasis_tab input")
        if field.is_displayed() and not field.accessible_name
    ]
    assert not unnamed


def test_the_page_of_today_asks_nobody_else_for_anything(tab: TabPage, server: str, request: Any) -> None:
    """The old gradio's page names a script of cdnjs.cloudflare.com; today's needs nothing from outside."""
    if "today" not in request.node.callspec.id:
        pytest.skip("the host's own gradio decides what it asks for")
    messages = (json.loads(entry["message"])["message"] for entry in tab.browser.get_log("performance"))
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert urls
    assert not [url for url in urls if not url.startswith((server.rstrip("/"), "data:", "blob:"))]
