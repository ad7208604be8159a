"""The People page: everybody who was learned, as cards; one of them in detail; new people out of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from celebbasis_ext.errors import CelebBasisError, InvalidSettings
from celebbasis_ext.files.people import TrainedPerson, versions
from celebbasis_ext.studio import Studio
from celebbasis_ext.ui import markup
from celebbasis_ext.ui.config_fields import values_of
from celebbasis_ext.ui.gradio_versions import QUIET, plain_html
from celebbasis_ext.ui.people_actions import PeopleActions
from celebbasis_ext.ui.train_page import TrainPage

MOST_PARENTS = 4


class PeoplePage:
    """Lays the page out and connects it; made inside a `gr.Blocks`.

    Attributes:
        listed: The components that `refreshed` fills.
    """

    def __init__(self, studio: Studio, train_page: TrainPage) -> None:
        self.studio, self.train_page = studio, train_page
        self.actions, self.context = PeopleActions(studio.context), studio.context
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                self._lay_out_cards()
            with gr.Column(scale=2, min_width=320, elem_classes=["cb-sticky"]):
                self._lay_out_details()
        with gr.Row():
            with gr.Column(min_width=320):
                self._lay_out_mixing()
            with gr.Column(min_width=320):
                self._lay_out_making_up()
        self.shown = [self.cards, self.details, self.controls]
        self.listed = [self.person, *self.shown, *(who for who, _ in self.parents)]
        self._connect()

    def _lay_out_cards(self) -> None:
        with gr.Row():
            self.person = gr.Dropdown([], label="Person", elem_id="celebbasis_person", scale=4)
            self.refresh = gr.Button("Refresh", elem_id="celebbasis_refresh", size="sm", scale=1, min_width=90)
        self.cards = plain_html(elem_id="celebbasis_cards")
        self.pressed = gr.Textbox(elem_id="celebbasis_pressed", elem_classes=["cb-hidden"], label="Pressed card")
        self.press = gr.Button("Press", elem_id="celebbasis_press", elem_classes=["cb-hidden"])

    def _lay_out_details(self) -> None:
        self.message = plain_html(elem_id="celebbasis_people_message")
        self.details = plain_html(elem_id="celebbasis_details")
        with gr.Column(visible=False) as self.controls:
            with gr.Row():
                self.new_name = gr.Textbox(label="New name", elem_id="celebbasis_new_name", scale=3)
                self.rename = gr.Button("Rename", elem_id="celebbasis_rename", scale=1, min_width=90)
            with gr.Row():
                self.resume = gr.Button("Resume", elem_id="celebbasis_resume_person", size="sm", min_width=90)
                self.delete = gr.Button("Delete", elem_id="celebbasis_delete", size="sm", min_width=90)
            with gr.Row(visible=False) as self.question:
                self.really = gr.Button("Delete for ever", variant="stop", elem_id="celebbasis_really")
                self.keep = gr.Button("Keep", elem_id="celebbasis_keep")

    def _lay_out_mixing(self) -> None:
        with gr.Accordion("Mix people", open=False, elem_id="celebbasis_mixing"):
            self.parents = [self._parent(i) for i in range(MOST_PARENTS)]
            self.mix_name = gr.Textbox(label="Name of the mix", placeholder="mix-cb", elem_id="celebbasis_mix_name")
            self.mix = gr.Button("Mix", elem_id="celebbasis_mix")

    def _parent(self, index: int) -> tuple[Any, Any]:
        with gr.Row():
            who = gr.Dropdown(
                [], label=f"Person {index + 1}", allow_custom_value=True, elem_id=f"celebbasis_parent_{index}", scale=1,
                info="One of yours, or the name of a celebrity." if index == 0 else None,
            )  # fmt: skip
            weight = gr.Slider(-1, 1, 0.5 if index < 2 else 0, step=0.05, label=f"Weight {index + 1}", scale=1)
        return who, weight

    def _lay_out_making_up(self) -> None:
        with gr.Accordion("Make somebody up", open=False, elem_id="celebbasis_making_up"):
            gr.Markdown("A person who does not exist, drawn from the space of all celebrities.")
            self.seed = gr.Number(1, label="Seed of the person", precision=0, elem_id="celebbasis_person_seed")
            self.made_name = gr.Textbox(
                label="Name of the made-up person", placeholder="nobody-cb", elem_id="celebbasis_made_name"
            )
            self.make = gr.Button("Make up", elem_id="celebbasis_make")

    def _connect(self) -> None:
        answer = [self.message, self.question, *self.listed]
        shown = [*self.shown, self.question]
        self.refresh.click(self.refreshed, self.person, self.listed, queue=False)
        # Whose details are shown and whom the buttons act on come in one answer: they must be the same person.
        self.press.click(lambda name: [name, *self._choose(name)], self.pressed, [self.person, *shown], **QUIET)
        self.person.input(self._choose, self.person, shown, **QUIET)
        self.rename.click(self._rename, [self.person, self.new_name], answer, queue=False)
        self.delete.click(self._ask, self.person, [self.question, self.really], **QUIET)
        filled = [self.train_page.rows[0].name, *self.train_page.settings]
        self.resume.click(self._resume, self.person, [self.message, *filled], queue=False)
        self.keep.click(_hidden, None, self.question, **QUIET)
        self.really.click(self._delete, self.person, answer, queue=False)
        weights = [component for parent in self.parents for component in parent]
        self.mix.click(self._mix, [self.mix_name, *weights], answer, queue=False)
        self.make.click(self._make_up, [self.seed, self.made_name], answer, queue=False)

    def refreshed(self, chosen: str | None = None) -> list[Any]:
        """The folder read again."""
        people = self.actions.everybody()
        names = [person.name for person in people]
        chosen = chosen if chosen in names else None
        known = gr.update(choices=[*names, *self._celebrities()])
        return [gr.update(choices=names, value=chosen), *self._show(people, chosen), *[known] * MOST_PARENTS]

    def _celebrities(self) -> list[str]:
        try:
            return self.actions.celebrities()
        except CelebBasisError:
            return []

    def _show(self, people: Sequence[TrainedPerson], name: str | None) -> list[Any]:
        """Fills `shown`."""
        return [
            markup.cards(people, name, versions(self.context.embeddings_dir)),
            self._details(name),
            gr.update(visible=bool(name)),
        ]

    def _choose(self, name: str | None) -> list[Any]:
        return [*self._show(self.actions.everybody(), name), _hidden()]

    @staticmethod
    def _ask(name: str | None) -> list[Any]:
        return [gr.update(visible=True), gr.update(value=f"Delete {name} for ever")]

    def _details(self, name: str | None) -> str:
        if not name:
            return ""
        try:
            person = self.actions.find(name)
            return markup.details(person, self.actions.facts(person), self.context.in_webui)
        except CelebBasisError as error:
            return markup.error_box(error)

    def _rename(self, name: str | None, new_name: str) -> list[Any]:
        return self._answer(name, lambda: self.actions.rename(_somebody(name), (new_name or "").strip()), "{} it is.")

    def _delete(self, name: str | None) -> list[Any]:
        def deleted() -> None:
            self.actions.delete(_somebody(name))

        return self._answer(name, deleted, f"{name} is deleted.")

    def _resume(self, name: str | None) -> list[Any]:
        """Goes on at once where the photo is still known; else fills the Train page with all but the photo."""
        untouched = [gr.update()] * (1 + len(self.train_page.settings))
        try:
            person = self.actions.find(_somebody(name))
            stopped = self.studio.stopped((person.name,))
            if stopped is not None:
                self.studio.resume(*stopped)
                return [markup.note_box(f"{person.name} is being learned further; see Train."), *untouched]
            config = self.actions.config_of(person)
        except CelebBasisError as error:
            return [markup.error_box(error), *untouched]
        said = "Give the photo again on the Train page and press Resume: name and settings are filled in."
        return [markup.note_box(said), person.name, *values_of(config)]

    def _mix(self, name: str, *entries: Any) -> list[Any]:
        parents = [(str(entries[i] or ""), float(entries[i + 1] or 0)) for i in range(0, len(entries), 2)]
        return self._answer(None, lambda: self.actions.mix(parents, (name or "").strip()), "{} is there.")

    def _make_up(self, seed: float | None, name: str) -> list[Any]:
        return self._answer(None, lambda: self.actions.make_up(int(seed or 0), (name or "").strip()), "{} is there.")

    def _answer(self, before: str | None, act: Callable[[], str | None], said: str) -> list[Any]:
        """Acts; the message says how it went, and whoever it was about is chosen."""
        try:
            name = act()
        except CelebBasisError as error:
            return [markup.error_box(error), _hidden(), *self.refreshed(before)]
        return [markup.note_box(said.format(name)), _hidden(), *self.refreshed(name)]


def _hidden() -> Any:
    return gr.update(visible=False)


def _somebody(name: str | None) -> str:
    if not name:
        raise InvalidSettings("Nobody is chosen.", "Press a card.")
    return name
