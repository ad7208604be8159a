"""`celebbasis ui`: the tab without a WebUI."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.host import add_checkpoint, open_host
from celebbasis_ext.errors import MissingPackage

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop

PORT = 7871


def add(commands: Any) -> None:
    ui = commands.add_parser("ui", help="show the tab in a browser, and serve the API, on this computer only")
    ui.add_argument("--port", type=int, default=PORT, help="default: %(default)s")
    ui.add_argument("--out", type=Path, default=Path("embeddings"), help="folder for the files (default: %(default)s)")
    add_checkpoint(ui)
    ui.set_defaults(command=_ui)


def _ui(options: argparse.Namespace) -> int:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    try:
        from celebbasis_ext.ui.standalone import serve, standalone_context
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise MissingPackage("The page needs gradio.", "pip install 'celebbasis[ui]'") from error
    from celebbasis_ext.miniature.portraits import draw_stranger

    def open_workshop() -> Workshop:
        return open_host(options.checkpoint, options.out)

    context = standalone_context(open_workshop, options.out, draw_stranger if options.checkpoint is None else None)

    def opened(app: Any, address: str) -> None:
        from celebbasis_ext.api import mount
        from celebbasis_ext.api.guards import local_only

        mount(app, context, [local_only])
        print(f"Celeb Basis is at {address} - Ctrl-C ends it. Its API is described at {address}docs.", flush=True)

    serve(context, options.port, opened)
    return 0
