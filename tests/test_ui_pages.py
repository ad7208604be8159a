"""The pages on the gradio that is installed: laid out, connected, and what their handlers answer."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celebbasis_ext.describe import GivenWords
from celebbasis_ext.errors import InvalidSettings
from celebbasis_ext.evaluate.sheets import save_png
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.recipes import PRESETS, RECIPES, WARM_PRESETS
from celebbasis_ext.types import LoraConfig, TrainConfig
from tests.test_instant import checked, encoder_for
from tests.test_jobs import NAMES, PHOTO
from tests.test_ui import SpellingHost, Twins

gr = pytest.importorskip("gradio", reason="gradio is not installed (the extra ui)")

from celebbasis_ext.context import Context  # noqa: E402
from celebbasis_ext.studio import Studio  # noqa: E402
from celebbasis_ext.ui.config_fields import FIELDS, config_from, explanations, values_of  # noqa: E402
from celebbasis_ext.ui.people_page import PeoplePage  # noqa: E402
from celebbasis_ext.ui.tab import build  # noqa: E402
from celebbasis_ext.ui.train_page import MOST_PHOTOS, TrainPage  # noqa: E402

PATIENCE = 60.0
FAST = dataclasses.replace(TrainConfig(), steps=3, batch=2, views=2)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    folder = tmp_path / "embeddings"
    workshop = Workshop(SpellingHost(folder), Twins(), GivenWords("red background"), NAMES)
    return Context(lambda: workshop, folder)


@pytest.fixture
def pages(context: Context) -> tuple[TrainPage, PeoplePage]:
    with gr.Blocks(analytics_enabled=False):
        studio = Studio(context)
        train = TrainPage(studio)
        return train, PeoplePage(studio, train)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    save_png(PHOTO, tmp_path / "anna.png")
    return tmp_path / "anna.png"


def form(
    paths: list[Path], *people: tuple[Any, ...], consent: bool = True, config: TrainConfig = FAST, lora: bool = False,
    preset: str = "Balanced",
) -> list[Any]:  # fmt: skip
    rows = [*people, *[(None, "", "")] * (MOST_PHOTOS - len(people))]
    people_entries = [entry for row in rows for entry in row]
    return [[str(p) for p in paths], consent, "", 0, lora, preset, False, *values_of(config), *people_entries]


def wait(context: Context) -> Any:
    return context.queue.wait(context.queue.jobs()[-1].id, PATIENCE)


def test_the_tab_can_be_shown_inside_another_page(context: Context) -> None:
    inner = build(context)
    with gr.Blocks(analytics_enabled=False) as outer, gr.Tab("Celeb Basis"):
        inner.render()
    ids = {c.get("props", {}).get("elem_id") for c in outer.config["components"]} if hasattr(outer, "config") else None
    ids = ids or {c["props"].get("elem_id") for c in outer.get_config_file()["components"]}
    assert {"celebbasis_photos", "celebbasis_train", "celebbasis_cards"} <= ids


def test_every_setting_is_in_the_form_under_its_own_name_and_explained() -> None:
    assert tuple(field.name for field in dataclasses.fields(TrainConfig)) == FIELDS
    assert set(explanations()) <= set(FIELDS)
    assert "Optimiser steps" in explanations()["steps"]
    assert "celebrities" in explanations()["radius"]


@pytest.mark.parametrize("config", [*RECIPES.values(), *PRESETS.values(), *WARM_PRESETS.values()])
def test_settings_come_back_from_the_form_as_they_went_in(config: TrainConfig) -> None:
    assert config_from(values_of(config)) == config


@pytest.mark.parametrize(("name", "value"), [("steps", None), ("steps", 0), ("average", 2), ("components", "many")])
def test_settings_that_make_no_sense_are_named(name: str, value: Any) -> None:
    values = values_of(FAST)
    values[FIELDS.index(name)] = value
    with pytest.raises(InvalidSettings, match=name):
        config_from(values)


def test_an_order_from_the_form_is_trained(pages: Any, context: Context, photo: Path) -> None:
    train, _ = pages
    message, shown, *_ = train._train(*form([photo], (None, "anna-cb", "green shirt")))
    assert message == "" and shown
    assert wait(context).state == "done"
    (person,) = context.embeddings_dir.glob("*.safetensors")
    assert person.name == "anna-cb.safetensors"
    _, _, ending, *_ = train._watch(shown)
    assert "anna-cb" in ending and "likeness" in ending


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"consent": False}, "agree"),
        ({"paths": []}, "no photo"),
        ({"name": "cat"}, "ordinary word"),
        ({"config": dataclasses.replace(FAST, steps=0)}, "steps"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_ordered(
    pages: Any, context: Context, photo: Path, change: dict[str, Any], said: str
) -> None:
    train, _ = pages
    person = (None, change.pop("name", "anna-cb"), "")
    message, *_ = train._train(*form(change.pop("paths", [photo]), person, **change))
    assert said in message
    assert context.queue.jobs() == ()


def test_what_has_not_changed_is_not_sent_again(pages: Any, context: Context, photo: Path) -> None:
    train, _ = pages
    _, shown, *_ = train._train(*form([photo], (None, "anna-cb", "")))
    wait(context)
    first = train._watch(shown)
    again = train._watch(first[0])
    assert first[0] == again[0] and "anna-cb" in first[2]
    assert "value" not in again[2]


def test_stop_and_resume(pages: Any, context: Context, photo: Path) -> None:
    train, _ = pages
    config = dataclasses.replace(FAST, steps=400)
    entries = form([photo], (None, "anna-cb", ""), config=config)
    train._train(*entries)
    job, under_way = context.queue.jobs()[-1], threading.Event()
    while context.queue[job.id].progress.step < 2 and not context.queue[job.id].over:
        under_way.wait(0.01)
    train._stop()
    assert wait(context).state == "stopped"
    assert train._train(*entries)[0] != ""  # the name is taken now
    config = dataclasses.replace(config, steps=context.queue[job.id].progress.step + 2)
    with_fewer = form([photo], (None, "anna-cb", ""), config=config)
    train.studio.context.orders.clear()  # as after a restart: the photo has to be given again
    assert train._resume(*with_fewer)[0] == ""
    assert wait(context).state == "done", wait(context).error
    assert "no interrupted run" in train._resume(*with_fewer)[0]


def test_photos_fill_their_rows_and_what_was_typed_stays(pages: Any, tmp_path: Path, photo: Path) -> None:
    train, _ = pages
    save_png(np.tile(PHOTO, (1, 2, 1)), tmp_path / "both.png")
    empty = [None, "", ""] * MOST_PHOTOS
    kept, *updates = train._photos_changed([str(photo)], (), *empty)
    assert kept == (str(photo),)
    assert updates[3] == "anna-cb" and "1 face found" in updates[1]
    typed = [None, "maria-cb", "my words", *empty[3:]]
    kept, *updates = train._photos_changed([str(photo), str(tmp_path / "both.png")], kept, *typed)
    assert (updates[3], updates[5]) == ("maria-cb", "my words")
    assert updates[8]["visible"] and len(updates[8]["choices"]) == 2
    assert updates[9] == "both-cb"


def test_more_photos_than_rows_are_said(pages: Any, tmp_path: Path) -> None:
    train, _ = pages
    paths = [tmp_path / f"p{i}.png" for i in range(MOST_PHOTOS + 1)]
    for path in paths:
        save_png(PHOTO, path)
    kept, *_, message = train._photos_changed([str(p) for p in paths], (), *[None, "", ""] * MOST_PHOTOS)
    assert len(kept) == MOST_PHOTOS and "Only the first" in message


def test_people_are_listed_chosen_renamed_and_deleted(pages: Any, context: Context, photo: Path) -> None:
    train, people = pages
    train._train(*form([photo], (None, "anna-cb", "")))
    wait(context)
    dropdown, cards, *_ = people.refreshed()
    assert "anna-cb" in cards and dropdown["choices"] == ["anna-cb"]
    assert "Nearest celebrities" in people._choose("anna-cb")[1]
    message, _, _, cards, *_ = people._rename("anna-cb", "maria-cb")
    assert "maria-cb" in message and "maria-cb" in cards
    message, _, _, cards, *_ = people._rename("maria-cb", "cat")
    assert "ordinary word" in message and "maria-cb" in cards
    assert "Nobody is chosen" in people._delete(None)[0]
    assert "maria-cb is deleted" in people._delete("maria-cb")[0]
    assert people.refreshed()[0]["choices"] == []


def test_mixing_and_making_up_from_the_page(pages: Any, context: Context) -> None:
    _, people = pages
    message, _, _, cards, *_ = people._make_up(3, "nobody-cb")
    assert "nobody-cb is there" in message and "nobody-cb" in cards
    message, _, _, cards, *_ = people._mix("mix-cb", "nobody-cb", 0.5, NAMES[0], 0.5, None, 0, "", 0)
    assert "mix-cb is there" in message and "mix-cb" in cards
    assert "at least two" in people._mix("other-cb", "nobody-cb", 1)[0]


def test_resume_on_the_people_page_fills_the_form(pages: Any, context: Context, photo: Path) -> None:
    train, people = pages
    train._train(*form([photo], (None, "anna-cb", "")))
    wait(context)
    assert "finished" in people._resume("anna-cb")[0]
    (context.embeddings_dir / "anna-cb.resume").write_bytes(b"x")
    train.studio.context.orders.clear()
    message, name, *values = people._resume("anna-cb")
    assert "photo again" in message and name == "anna-cb"
    assert config_from(values) == FAST


@pytest.fixture
def taught(context: Context) -> Context:
    """The same surroundings once the checkpoint has an encoder."""
    bare = context.open_workshop()
    workshop = dataclasses.replace(bare, encoder=checked(encoder_for(bare)))
    return dataclasses.replace(context, open_workshop=lambda: workshop)


@pytest.fixture
def taught_page(taught: Context) -> TrainPage:
    with gr.Blocks(analytics_enabled=False):
        return TrainPage(Studio(taught))


def test_instant_needs_no_settings_and_shows_what_was_expected(
    taught_page: TrainPage, taught: Context, photo: Path
) -> None:
    entries = form([photo], (None, "anna-cb", ""), config=dataclasses.replace(FAST, steps=0))
    message, shown, *_ = taught_page._insert(*entries)
    assert message == "" and wait(taught).kind == "insert"
    _, _, ending, *_ = taught_page._watch(shown)
    assert "0.55 ± 0.07" in ending and "contact sheet" in ending
    assert "exists already" in taught_page._insert(*entries)[0]
    assert "agree" in taught_page._insert(*form([photo], (None, "ben-cb", ""), consent=False))[0]


def test_without_an_encoder_instant_says_what_is_to_be_done_once(pages: Any, context: Context, photo: Path) -> None:
    train, _ = pages
    message, *_, learn = train._insert(*form([photo], (None, "anna-cb", "")))
    assert "10 celebrities" in message and "looked at once" in message
    assert learn["visible"] and context.queue.jobs() == ()
    said, *_, learn = train._learn()
    assert said == "" and learn["visible"] is False
    ended = wait(context)
    assert (ended.kind, ended.state) == ("encoder", "failed"), "ten names are too few"
    *_, learn = train._watch("")
    assert learn["visible"], "to be gone on with"


def test_presets_start_at_the_encoder_as_soon_as_there_is_one(
    pages: Any, taught_page: TrainPage, context: Context
) -> None:
    cold, warm = values_of(PRESETS["Best"]), values_of(WARM_PRESETS["Best"])
    assert taught_page._preset_chosen("Best") == [True, *warm]
    assert taught_page._presets_again("Best", False, *cold) == [True, *warm]
    assert pages[0]._preset_chosen("Best") == [False, *cold]
    assert pages[0]._presets_again("Best", True, *warm) == [False, *cold]
    own = values_of(dataclasses.replace(PRESETS["Best"], steps=77))
    now, *updates = taught_page._presets_again("Best", False, *own)
    assert now and all("value" not in update for update in updates), "somebody's own settings stay"
    assert config_from(warm).start == "encoder"


def test_a_preset_is_what_it_is_for_the_checkpoint_also_if_the_page_has_not_heard(
    pages: Any, taught_page: TrainPage, photo: Path
) -> None:
    untouched = form([photo], (None, "anna-cb", ""), config=PRESETS["Best"], preset="Best")
    assert taught_page._order(untouched)[0].config == WARM_PRESETS["Best"]
    overtaken = form([photo], (None, "anna-cb", ""), config=PRESETS["Fast"], preset="Best")
    assert taught_page._order(overtaken)[0].config == WARM_PRESETS["Best"]
    assert pages[0]._order(untouched)[0].config == PRESETS["Best"]
    own = form([photo], (None, "anna-cb", ""), config=FAST, preset="Best")
    assert taught_page._order(own)[0].config == FAST


def test_photos_of_one_name_are_one_person(taught_page: TrainPage, taught: Context, tmp_path: Path) -> None:
    paths = [tmp_path / f"anna{i}.png" for i in range(2)]
    for i, path in enumerate(paths):
        save_png(np.roll(PHOTO, 20 * i, axis=0), path)
    assert "Another photo of anna-cb" in taught_page._name_hints("anna-cb", "anna-cb")[1]
    assert "capitals" in taught_page._name_hints("anna-cb", "Anna-cb")[1]
    entries = form(paths, (None, "anna-cb", "green shirt"), (None, "anna-cb", ""))
    assert taught_page._train(*entries)[0] == ""
    assert wait(taught).state == "done", wait(taught).error
    assert [p.stem for p in taught.embeddings_dir.glob("*.safetensors")] == ["anna-cb"]
    assert "capitals" in taught_page._train(*form(paths, (None, "ben-cb", ""), (None, "BEN-cb", "")))[0]


def test_a_lora_is_ordered_with_its_box(taught_page: TrainPage, taught: Context, photo: Path) -> None:
    for lora, expected in ((False, None), (True, LoraConfig())):
        order, _ = taught_page._order(form([photo], (None, "anna-cb", ""), lora=lora))
        assert order.lora == expected
