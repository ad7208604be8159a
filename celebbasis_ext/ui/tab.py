"""The tab "Celeb Basis": two pages, the same in every host and on every gradio from 3.41 on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from celebbasis_ext.context import Context
from celebbasis_ext.studio import Studio
from celebbasis_ext.ui import markup
from celebbasis_ext.ui.generate_box import GenerateBox
from celebbasis_ext.ui.gradio_versions import plain_html, run_on_load
from celebbasis_ext.ui.people_page import PeoplePage
from celebbasis_ext.ui.train_page import TrainPage

HERE = Path(__file__).parent


def build(context: Context) -> Any:
    """The tab, as a `gr.Blocks` that a host renders where it wants it."""
    with gr.Blocks(analytics_enabled=False) as blocks:
        fill(context)
        run_on_load(blocks, script())
    return blocks


def fill(context: Context) -> None:
    """Puts the tab's content into the `gr.Blocks` that is open."""
    studio = Studio(context)
    with gr.Column(elem_id="celebbasis_tab"):
        plain_html(f"<style>{(HERE / 'style.css').read_text('utf-8')}</style>{markup.notices(context.notices)}")
        with gr.Tabs(elem_id="celebbasis_pages"):
            with gr.Tab("Train", elem_id="celebbasis_train_page"):
                train = TrainPage(studio)
            with gr.Tab("People", elem_id="celebbasis_people_page") as tab:
                people = PeoplePage(studio, train)
            if not context.in_webui:
                with gr.Tab("Generate", elem_id="celebbasis_generate_page"):
                    GenerateBox(context)
        tab.select(people.refreshed, people.person, people.listed, queue=False)


def script() -> str:
    """What the page runs when it is there."""
    return (HERE / "tab.js").read_text("utf-8")
