"""The Generate page of the standalone tab: a prompt with trigger words becomes pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from celebbasis_ext.errors import CelebBasisError, InvalidSettings
from celebbasis_ext.files.embedding import load_embedding
from celebbasis_ext.ui import markup
from celebbasis_ext.ui.gradio_versions import plain_html
from celebbasis_ext.ui.people_actions import finished
from celebbasis_ext.ui.pictures import gallery

if TYPE_CHECKING:
    from celebbasis_ext.context import Context
    from celebbasis_ext.job_queue import Report
    from celebbasis_ext.types import Image

MOST_PICTURES = 8


class GenerateBox:
    """Lays itself out and connects itself; made inside a `gr.Blocks`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.prompt = gr.Textbox(
            "a photo of a person",
            label="Prompt, in which trigger words may stand",
            elem_id="celebbasis_generate_prompt",
        )
        with gr.Row():
            self.count = gr.Slider(1, MOST_PICTURES, 4, step=1, label="Pictures")
            self.seed = gr.Number(0, label="Seed of the first", precision=0)
        self.button = gr.Button("Generate", variant="primary", elem_id="celebbasis_generate")
        self.pictures = plain_html(elem_id="celebbasis_pictures")
        for event in (self.button.click, self.prompt.submit):
            event(self._generate, [self.prompt, self.count, self.seed], self.pictures, queue=False)

    def _generate(self, prompt: str, count: float, seed: float | None) -> str:
        try:
            if not prompt.strip():
                raise InvalidSettings("The prompt is empty.", "Write what the picture is to show.")
            pictures = draw(self.context, prompt.strip(), int(count), max(0, int(seed or 0)))
        except CelebBasisError as error:
            return markup.error_box(error)
        return gallery(pictures, prompt)


def draw(context: Context, prompt: str, count: int, seed: int) -> list[Image]:
    """Pictures [h, w, 3] of a prompt, one for each seed from `seed` on; waits for its turn.

    Raises:
        CelebBasisError: Whatever is wrong with the checkpoint or an embedding.
    """
    from celebbasis_ext.tools import embeddings_named_in

    people = [load_embedding(Path(path)) for path in embeddings_named_in(prompt, context.embeddings_dir)]

    def work(report: Report) -> list[Image]:
        return context.open_workshop().host.generate([prompt] * count, range(seed, seed + count), people)

    job = context.queue.order(f"Draw “{prompt}”", "generate", work)
    pictures: Any = finished(context.queue.wait(job.id))
    return list(pictures)
