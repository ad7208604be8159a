"""The Train page in a real browser: from the photo to the word."""

from __future__ import annotations

import base64
import shutil
import time
from pathlib import Path

from tests.browser.page import TabPage

MANY = 2000
"""Steps that no test waits for: it stops the training long before."""


def file_of(name: str, photo: Path) -> Path:
    """The same photo in a file from which that name is proposed."""
    return Path(shutil.copy(photo, photo.with_name(f"{name.removesuffix('-cb')}.png")))


def test_a_photo_shows_its_face_a_free_name_and_what_else_is_in_it(tab: TabPage, photos: Path, name: str) -> None:
    tab.upload([file_of(name, photos / "anna.png")])
    assert tab.name_of() == name
    assert "1 face found" in tab.text("#celebbasis_portrait_0")
    assert tab.count("#celebbasis_portrait_0 rect") == 1
    assert "red background" in tab.value("celebbasis_words_0")


def test_a_dropped_photo_is_taken(tab: TabPage, photos: Path, name: str) -> None:
    tab.drop(file_of(name, photos / "ben.png"))
    assert tab.name_of() == name


def test_a_pasted_photo_is_taken(tab: TabPage, photos: Path, name: str) -> None:
    content = base64.b64encode((photos / "anna.png").read_bytes()).decode()
    tab.run(
        """
        const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], arguments[1], {type: "image/png"}));
        const paste = {clipboardData: data, bubbles: true, cancelable: true};
        document.body.dispatchEvent(new ClipboardEvent("paste", paste));
        """,
        content,
        file_of(name, photos / "anna.png").name,
    )
    assert tab.name_of() == name


def test_a_slow_upload_survives_answers_that_overtake_it(tab: TabPage, photos: Path, name: str) -> None:
    tab.uplink(30_000)
    try:
        tab.upload([file_of(name, photos / "large.png")])
        time.sleep(1)  # the upload takes some seconds, and anything else on the page may be answered meanwhile
        tab.run("window.celebbasis.press('celebbasis_watch')")
        assert tab.name_of() == name
    finally:
        tab.uplink(-1)


def test_several_faces_are_numbered_and_one_has_to_be_chosen(tab: TabPage, photos: Path, name: str) -> None:
    tab.give([photos / "pair.png"], [name])
    tab.until_text("#celebbasis_portrait_0", "2 faces found")
    numbers = "return [...document.querySelectorAll('#celebbasis_portrait_0 text')].map(t => t.textContent)"
    assert tab.run(numbers) == ["1", "2"]
    assert tab.value("celebbasis_words_0") == ""

    tab.set_up(1)
    tab.click("#celebbasis_train")
    tab.until_text("#celebbasis_message [role=alert]", "2 faces")

    labels = ["#celebbasis_face_0 label:first-of-type", "#celebbasis_face_0 label:last-of-type"]
    tab.run("arguments[0].forEach(l => document.querySelector(l).click())", labels)
    tab.until(lambda: tab.count("#celebbasis_portrait_0 [data-face='2']") == 1, "the one chosen last")
    tab.until(lambda: tab.count("#celebbasis_portrait_0 rect.cb-chosen") == 1, "a chosen face")
    tab.until(lambda: tab.value("celebbasis_words_0"), "words about the chosen one's surroundings")


def test_bad_photos_say_what_is_wrong(tab: TabPage, photos: Path) -> None:
    tab.upload([photos / "broken.png", photos / "empty.png"])
    tab.until_text("#celebbasis_portrait_0 [role=alert]", "damaged")
    tab.until_text("#celebbasis_portrait_1 [role=alert]", "No face")


def test_names_are_checked_as_they_are_typed(tab: TabPage, photos: Path) -> None:
    tab.upload([photos / "anna.png"])
    tab.name_of()
    tab.type("celebbasis_name_0", "cat")
    tab.until_text("#celebbasis_hint_0", "ordinary word", "cat-cb")


def test_without_consent_or_photo_nothing_starts(tab: TabPage) -> None:
    before = tab.job().get("job")
    tab.click("#celebbasis_train")
    tab.until_text("#celebbasis_message", "agreed")
    tab.click("#celebbasis_consent input")
    tab.click("#celebbasis_train")
    tab.until_text("#celebbasis_message", "no photo")
    assert tab.job().get("job") == before


def test_from_a_photo_to_a_word_that_draws(tab: TabPage, photos: Path, name: str) -> None:
    tab.give([photos / "anna.png"], [name])
    tab.set_up(3)
    tab.start()
    assert tab.until_over() == "done"
    tab.until(lambda: tab.text("#celebbasis_outcome .cb-word code") == name, "the trigger word")
    scores = tab.text("#celebbasis_outcome .cb-scores")
    assert "likeness" in scores
    assert "anybody" in scores
    assert tab.count("#celebbasis_outcome .cb-drawn img") == 2 * 8 - 1  # of anybody there is no photo
    assert tab.run("return document.querySelector('#celebbasis_outcome [download]').href").startswith("data:image/png")
    assert tab.count("#celebbasis_progress .cb-loss polyline") == 2

    tab.click(f"#celebbasis_outcome [data-cb-copy='{name}']")
    tab.until_text("#celebbasis_outcome .cb-word", "Copied")
    tab.send_to_a_prompt(name)
    drawn = tab.drawn()
    assert drawn > 0 if tab.in_webui else drawn == 4
    if tab.in_webui:
        tab.until(lambda: tab.has_card(name), "the card in the Textual Inversion page")


def test_instant_learns_one_person_from_two_photos(tab: TabPage, photos: Path, name: str) -> None:
    tab.upload([photos / "anna.png", photos / "too.png"])
    for row in range(2):
        tab.name_of(row)
        tab.type(f"celebbasis_name_{row}", name)
    tab.until_text("#celebbasis_hint_1", f"Another photo of {name}")
    tab.click("#celebbasis_consent input")
    tab.start("instant")
    assert tab.until_over() == "done"
    tab.until(lambda: tab.text("#celebbasis_outcome .cb-word code") == name, "the trigger word")
    assert tab.count("#celebbasis_outcome .cb-word code") == 1
    assert "expected" in tab.text("#celebbasis_outcome")


def test_a_training_shows_itself_and_outlives_a_reload(tab: TabPage, photos: Path, name: str) -> None:
    tab.give([photos / "ben.png"], [name])
    tab.set_up(MANY, every=3)
    job = tab.start()
    bar = ".progressDiv .progress" if tab.in_webui else "#celebbasis_progress [role=progressbar]"
    tab.until(lambda: tab.shows(bar), "the bar")
    tab.until(lambda: tab.shows("#celebbasis_progress .cb-preview img"), "a preview")
    tab.until_step(4)
    assert tab.count("#celebbasis_progress .cb-loss polyline") == 2
    before = tab.step()

    tab.open()
    assert tab.job()["job"] == job
    tab.until_step(before + 1)
    tab.until(lambda: tab.shows(bar), "the bar after the reload")
    tab.click("#celebbasis_stop")
    assert tab.until_over() == "stopped"


def test_stop_keeps_what_was_learned_and_resume_goes_on(tab: TabPage, photos: Path, name: str) -> None:
    tab.give([photos / "ben.png"], [name])
    tab.set_up(MANY)
    tab.start()
    tab.until_step(3)
    before = tab.step()
    tab.click("#celebbasis_stop")
    assert tab.until_over() == "stopped"
    tab.until_text("#celebbasis_outcome", name, "Stopped early")

    tab.start("resume")
    tab.until_step(1)
    assert tab.step() > before
    tab.click("#celebbasis_stop")
    assert tab.until_over() == "stopped"
    tab.go_to("People")
    tab.until_text(f"[data-cb-person='{name}']", "unfinished")


def test_two_people_are_learned_together(tab: TabPage, photos: Path, name: str) -> None:
    names = [name, name.replace("-cb", "b-cb")]
    tab.give([photos / "anna.png", photos / "ben.png"], names)
    tab.set_up(2)
    tab.start()
    assert tab.until_over() == "done"
    words = "return [...document.querySelectorAll('#celebbasis_outcome .cb-word code')].map(c => c.textContent)"
    tab.until(lambda: tab.run(words) == names, "both words")
    assert tab.count("#celebbasis_outcome .cb-scores tbody tr") == 3
    tab.go_to("People")
    for own in names:
        tab.until(lambda own=own: tab.shows(f"[data-cb-person='{own}']"), f"the card of {own}")
