"""Registers Celeb Basis with the WebUI, and nothing else.

The WebUI runs this file at every start and every "Reload UI", with this folder on `sys.path` for just that long: its
modules are imported here; what is heavy in them is imported when somebody uses it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from modules import script_callbacks, shared

from celebbasis_ext.api import mount
from celebbasis_ext.api.webui_login import webui_login
from celebbasis_ext.context import Context
from celebbasis_ext.webui import webui_context

if shared.cmd_opts.celebbasis_cache:
    os.environ["CELEBBASIS_CACHE"] = shared.cmd_opts.celebbasis_cache


def context() -> Context:
    """The one that tab and API share."""
    return webui_context(Path(shared.cmd_opts.embeddings_dir))


def tabs() -> list[tuple[Any, str, str]]:
    from celebbasis_ext.ui.tab import build

    return [(build(context()), "Celeb Basis", "celebbasis")]


def api(page: Any, app: Any) -> None:
    mount(app, context(), [webui_login(app)])


script_callbacks.on_ui_tabs(tabs)
script_callbacks.on_app_started(api)
