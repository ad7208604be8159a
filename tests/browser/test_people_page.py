"""The People page in a real browser."""

from __future__ import annotations

from pathlib import Path

from tests.browser.page import TabPage

IN_VIEW = """
const details = document.querySelector("#celebbasis_details"), box = details.getBoundingClientRect();
return details.innerText.includes(arguments[0]) && box.top < innerHeight - 80 && box.bottom > 80;
"""


def test_somebody_is_made_up_inspected_renamed_and_deleted(tab: TabPage, photos: Path, name: str) -> None:
    tab.make_up(name)
    tab.until_text("#celebbasis_people_message", f"{name} is there")
    tab.until_text("#celebbasis_details", "Nearest celebrities")
    assert tab.run("return document.querySelector('#celebbasis_details a[download]').download") == f"{name}.safetensors"

    tab.type("celebbasis_new_name", "cat")
    tab.click("#celebbasis_rename")
    tab.until_text("#celebbasis_people_message [role=alert]", "ordinary word")
    renamed = name.replace("-cb", "x-cb")
    tab.type("celebbasis_new_name", renamed)
    tab.click("#celebbasis_rename")
    tab.until(lambda: tab.shows(card(renamed)) and not tab.shows(card(name)), "the card of the new name")
    if tab.in_webui:
        tab.until(lambda: tab.has_card(renamed) and not tab.has_card(name), "the WebUI's own card of the new name")

    tab.go_to("Train")
    tab.upload([photos / "anna.png"])
    tab.name_of()
    tab.type("celebbasis_name_0", renamed.upper())
    tab.until_text("#celebbasis_hint_0", "exists already", "-cb")

    tab.go_to("People")
    tab.click(card(renamed))
    tab.click("#celebbasis_delete")
    tab.click("#celebbasis_keep")
    tab.until(lambda: not tab.shows("#celebbasis_really"), "the question to go")
    assert tab.shows(card(renamed))
    tab.click("#celebbasis_delete")
    tab.until_text("#celebbasis_really", renamed)
    tab.click("#celebbasis_really")
    tab.until(lambda: not tab.shows(card(renamed)), "the card to go")
    if tab.in_webui:
        tab.until(lambda: not tab.has_card(renamed), "the WebUI's own card to go")


def test_a_person_and_a_celebrity_are_mixed(tab: TabPage, name: str) -> None:
    tab.make_up(name)
    mixed = name.replace("-cb", "m-cb")
    tab.unfold("#celebbasis_mixing", "#celebbasis_mix_name")
    celebrity = tab.text("#celebbasis_details").partition("Nearest celebrities")[2].split(" (")[0].strip()
    tab.pick("celebbasis_parent_0", name)
    tab.pick("celebbasis_parent_1", celebrity)
    tab.type("celebbasis_mix_name", mixed)
    tab.click("#celebbasis_mix")
    tab.until(lambda: tab.shows(card(mixed)), "the card of the mix")
    tab.until_text("#celebbasis_people_message", f"{mixed} is there")
    tab.until_text("#celebbasis_details", "Nearest celebrities", celebrity)


def test_whoever_was_wanted_last_is_shown_and_acted_on(tab: TabPage, name: str) -> None:
    other = name.replace("-cb", "o-cb")
    tab.make_up(name)
    tab.make_up(other)
    tab.run("arguments[0].forEach(c => document.querySelector(c).click())", [card(other), card(name)])
    tab.until(lambda: tab.value("celebbasis_person") == name, "the one pressed last")
    assert name in tab.text("#celebbasis_details")
    tab.pick("celebbasis_person", other)
    tab.until(lambda: tab.shows(f"{card(other)}[aria-pressed=true]"), "the card of the one in the list")
    assert other in tab.text("#celebbasis_details")
    tab.click("#celebbasis_delete")
    tab.until_text("#celebbasis_really", other)


def test_whoever_is_pressed_comes_into_view(tab: TabPage, name: str) -> None:
    other = name.replace("-cb", "o-cb")
    tab.make_up(name)
    tab.make_up(other)
    try:
        for width, height in ((390, 500), (1280, 500)):
            tab.size(width, height)
            for wanted in (name, other):
                tab.click(card(wanted))
                tab.until(lambda wanted=wanted: tab.run(IN_VIEW, wanted), "the details in the window")
    finally:
        tab.size(1280)


def card(name: str) -> str:
    return f"[data-cb-person='{name}']"
