"""Registers Celeb Basis with the WebUI, and nothing else.

The WebUI runs this file at every start and every "Reload UI", with this folder on `sys.path` for just that long: its
modules are imported here; what is heavy in them is imported when somebody uses it.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modules import script_callbacks, shared

from celebbasis_ext.files.install_report import read_install_report
from celebbasis_ext.hosts.a1111_queue import take_turn
from celebbasis_ext.webui import open_webui_workshop

if shared.cmd_opts.celebbasis_cache:
    os.environ["CELEBBASIS_CACHE"] = shared.cmd_opts.celebbasis_cache


def tabs() -> list[tuple[Any, str, str]]:
    from celebbasis_ext.job_queue import JobQueue
    from celebbasis_ext.ui.context import TabContext
    from celebbasis_ext.ui.tab import build

    missing = str(read_install_report())
    context = TabContext(
        open_webui_workshop, Path(shared.cmd_opts.embeddings_dir), JobQueue(take_turn), in_webui=True,
        notices=(missing,) if missing else (),
    )  # fmt: skip
    return [(build(context), "Celeb Basis", "celebbasis")]


if find_spec("celebbasis_ext.ui"):
    script_callbacks.on_ui_tabs(tabs)
