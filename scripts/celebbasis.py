"""Registers Celeb Basis with the WebUI, and nothing else.

The WebUI runs this file at every start and every "Reload UI", with this folder on `sys.path` for just that long: its
modules are imported here, what is heavy in it is imported when somebody opens or uses it.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from modules import script_callbacks, shared

from celebbasis_ext.hosts.detect import open_host

if shared.cmd_opts.celebbasis_cache:
    os.environ["CELEBBASIS_CACHE"] = shared.cmd_opts.celebbasis_cache


def tabs() -> list[tuple[Any, str, str]]:
    from celebbasis_ext.ui.tab import build

    return [(build(open_host), "Celeb Basis", "celebbasis")]


if find_spec("celebbasis_ext.ui") is not None:
    script_callbacks.on_ui_tabs(tabs)
