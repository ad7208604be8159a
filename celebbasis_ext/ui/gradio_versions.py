"""Where gradio 3.41 (AUTOMATIC1111), 4.40 (Forge) and 6 differ. Features are probed, versions are not asked."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import gradio as gr

QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False}
"""For events that answer at once: gradio's own veil over the outputs would only flicker."""


def run_on_load(blocks: Any, script: str) -> None:
    """Runs a JavaScript function when the page is there."""
    try:
        blocks.load(None, None, None, _js=script)
    except TypeError:
        blocks.load(None, None, None, js=script)


def plain_html(value: str = "", **options: Any) -> Any:
    """`gr.HTML` without the padding and the looks that newer versions add."""
    known = inspect.signature(gr.HTML.__init__).parameters
    plain = {key: False for key in ("padding", "apply_default_css") if key in known}
    return gr.HTML(value, **plain, **options)


def system_theme() -> Any:
    """Gradio's default look in the system's own fonts, which nothing has to be fetched for."""
    return gr.themes.Default(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], primary_hue="indigo"
    )


def page(title: str) -> tuple[Any, dict[str, Any]]:
    """A page of its own: the `Blocks`, and what `launch` wants to know of its looks.

    Where this version can do that, uploaded photos leave the temporary folder after a day, and when the server ends.
    """
    options: dict[str, Any] = {"title": title, "analytics_enabled": False}
    if "delete_cache" in inspect.signature(gr.Blocks.__init__).parameters:
        options["delete_cache"] = (3600, 86400)
    looks = {"theme": system_theme()}
    if "theme" in inspect.signature(gr.Blocks.launch).parameters:
        return gr.Blocks(**options), looks
    return gr.Blocks(**options, **looks), {}


def launch_options() -> dict[str, Any]:
    """For a page that only this computer sees, as far as this version knows them. A run history would keep every photo
    in the browser, for whoever opens it next.
    """
    wanted: dict[str, Any] = {
        "share": False, "quiet": True, "show_api": False, "footer_links": [], "run_history": False,
    }  # fmt: skip
    known = inspect.signature(gr.Blocks.launch).parameters
    return {key: value for key, value in wanted.items() if key in known}


def uploaded(files: Any) -> tuple[Path, ...]:
    """What `gr.File` hands over: nothing, one or several, as paths or as objects that have a name."""
    several: list[Any] = files if isinstance(files, list) else [files] if files else []
    return tuple(Path(str(getattr(file, "name", file))) for file in several)
