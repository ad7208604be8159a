"""Takes the pictures of docs/tab.md: the tab in every state, served by the gradio of today, in a real browser.

    python -m tests.browser.pictures          all
    python -m tests.browser.pictures people   only those whose name has this word in it

All people are drawn; all chance has a seed.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from celebbasis_ext.evaluate.sheets import save_png
from celebbasis_ext.miniature.drawing import Look, draw, draw_pair
from celebbasis_ext.miniature.people import strangers
from tests.browser.page import TabPage, open_browser
from tests.browser.server import ROOT, serving

IMAGES = ROOT / "docs" / "images"
STEPS = 40
WIDE, NARROW = 1280, 390
ANNA, BEN, CARLA = strangers(8, 502)[5], strangers(8, 501)[2], strangers(8, 502)[4]


def draw_photos(folder: Path) -> None:
    anna = draw(ANNA, Look(background="green", shirt="red", glasses=True, expression="smiling"), 384).image
    party = draw_pair((BEN, CARLA), (Look(background="city", shirt="red"), Look(shirt="green")), 384).image
    too = draw(ANNA, Look(background="city", shirt="white"), 384).image
    save_png(anna, folder / "anna.png")
    save_png(too, folder / "anna-too.png")
    save_png(party, folder / "party.png")


def states(tab: TabPage, photos: Path) -> Iterator[str]:
    """Brings the page from one state into the next, and names each as soon as it is there."""
    yield "empty"
    yield from photo_of_two(tab.open(), photos)
    yield from training(tab.open(), photos)
    yield from people(tab)
    yield from narrow(tab)
    yield from instant(tab.open(), photos)


def photo_of_two(tab: TabPage, photos: Path) -> Iterator[str]:
    tab.upload([photos / "party.png"])
    tab.until_text("#celebbasis_portrait_0", "2 faces found")
    tab.click("#celebbasis_face_0 label:first-of-type")
    tab.until(lambda: tab.value("celebbasis_words_0"), "words about the chosen one's surroundings")
    yield "faces"


def training(tab: TabPage, photos: Path) -> Iterator[str]:
    tab.give([photos / "anna.png"], ["anna-cb"])
    tab.set_up(STEPS, every=10)
    tab.fold("#celebbasis_advanced", "#celebbasis_setting_steps")
    tab.fold("#celebbasis_previews", "#celebbasis_every")
    tab.start()
    tab.until_step(STEPS // 2)
    tab.until(lambda: tab.shows("#celebbasis_progress .cb-preview img"), "a preview")
    yield "training"
    tab.click("#celebbasis_stop")
    assert tab.until_over() == "stopped"
    tab.until_text("#celebbasis_outcome", "Stopped early")
    yield "stopped"
    tab.start("resume")
    assert tab.until_over() == "done"
    tab.until(lambda: tab.shows("#celebbasis_outcome .cb-drawn img"), "the contact sheet")
    yield "result"
    tab.theme("dark")
    yield "result-dark"
    tab.size(NARROW)
    yield "narrow-dark"
    tab.size(WIDE)
    tab.theme("light")


def instant(tab: TabPage, photos: Path) -> Iterator[str]:
    tab.give([photos / "anna.png", photos / "anna-too.png"], ["anna-too-cb"])
    tab.type("celebbasis_name_1", "anna-too-cb")
    tab.until_text("#celebbasis_hint_1", "Another photo of anna-too-cb")
    tab.click("#celebbasis_consent input")
    tab.start("instant")
    assert tab.until_over() == "done"
    tab.until_text("#celebbasis_outcome", "expected")
    tab.until(lambda: tab.shows("#celebbasis_outcome .cb-drawn img"), "the contact sheet")
    yield "instant"


def people(tab: TabPage) -> Iterator[str]:
    for seed, name in ((7, "nobody-cb"), (8, "noone-cb")):
        tab.make_up(name, seed)
    tab.open().go_to("People")
    tab.click("[data-cb-person='anna-cb']")
    tab.until_text("#celebbasis_details", "anna-cb", "Nearest celebrities")
    yield "people"
    tab.click("#celebbasis_delete")
    tab.until(lambda: tab.shows("#celebbasis_really"), "the question")
    tab.theme("dark")
    yield "people-dark"
    tab.theme("light")
    tab.click("#celebbasis_keep")


def narrow(tab: TabPage) -> Iterator[str]:
    tab.size(NARROW)
    yield "narrow-people"
    tab.size(WIDE)


def save(tab: TabPage, path: Path) -> None:
    """The whole page, also what lies below the window's edge, as a PNG with a palette."""
    tab.settle()
    width, height = tab.run("const e = document.documentElement; return [e.clientWidth, document.body.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    options = {"captureBeyondViewport": True, "clip": clip}
    shot = tab.browser.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
    picture = Pillow.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")
    picture = trimmed(picture)
    picture.quantize(192, Pillow.Quantize.MEDIANCUT, dither=Pillow.Dither.NONE).save(path, "PNG", optimize=True)


def trimmed(picture: Pillow.Image, margin: int = 24) -> Pillow.Image:
    """Without the empty rows at the bottom."""
    pixels = np.asarray(picture).astype(int)
    used = np.flatnonzero(np.abs(pixels - pixels[:, :1]).max(axis=(1, 2)) > 8)
    bottom = min(picture.height, int(used[-1]) + margin) if used.size else picture.height
    return picture.crop((0, 0, picture.width, bottom))


def make(words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw_photos(folder)
        with serving(sys.executable, folder) as address:
            browser = open_browser(WIDE)
            try:
                tab = TabPage(browser, address)
                tab.size(WIDE)
                for state in states(tab.open(), folder):
                    if not words or any(word in state for word in words):
                        save(tab, IMAGES / f"tab-{state}.png")
                        print(f"tab-{state}.png", flush=True)
            finally:
                browser.quit()


if __name__ == "__main__":
    make(sys.argv[1:])
