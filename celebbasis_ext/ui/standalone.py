"""The tab as a page of its own, for this computer only: no WebUI, nothing fetched from anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from celebbasis_ext.context import Context
from celebbasis_ext.encoder_job import with_encoder
from celebbasis_ext.ui.gradio_versions import launch_options, page, run_on_load
from celebbasis_ext.ui.tab import fill, script

if TYPE_CHECKING:
    from celebbasis_ext.files.download import RemoteFile
    from celebbasis_ext.jobs import Workshop
    from celebbasis_ext.types import Image

TITLE = "Celeb Basis"


def standalone_context(
    open_workshop: Callable[[], Workshop], embeddings_dir: Path, draw_stranger: Callable[[int], Image] | None = None,
    missing_models: Callable[[], tuple[RemoteFile, ...]] = tuple,
) -> Context:  # fmt: skip
    """A context whose checkpoint is loaded once, by whoever comes first, and its encoder as soon as there is one."""
    lock = threading.Lock()
    opened = cache(open_workshop)

    def open_once() -> Workshop:
        with lock:
            return with_encoder(opened())

    return Context(open_once, embeddings_dir, draw_stranger=draw_stranger, missing_models=missing_models)


def serve(context: Context, port: int, ready: Callable[[Any, str], None]) -> None:
    """Shows the tab on 127.0.0.1 until the process is interrupted.

    Args:
        context: Its surroundings.
        port: Where.
        ready: Is given the application and its address as soon as it answers.
    """
    blocks, looks = page(TITLE)
    with blocks:
        gr.Markdown(f"# {TITLE}\nOne photo of a face becomes a word.")
        fill(context)
        run_on_load(blocks, script())
    threading.Thread(target=context.open_workshop, daemon=True).start()  # while the page is being read
    app, address, _ = blocks.launch(
        server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, app_kwargs={"docs_url": "/docs"},
        **launch_options(), **looks,
    )  # fmt: skip
    ready(app, address)
    blocks.block_thread()
