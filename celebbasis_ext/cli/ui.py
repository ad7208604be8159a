"""`celebbasis ui`: the tab without a WebUI."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.cli.command import add_command
from celebbasis_ext.cli.faces_options import add_face_options, faces_from
from celebbasis_ext.cli.options import add_equipment, equipment_from
from celebbasis_ext.errors import MissingPackage

if TYPE_CHECKING:
    from celebbasis_ext.context import Context

PORT = 7871


def add(commands: Any) -> None:
    ui = add_command(commands, "ui", "show the tab in a browser, on this computer only")
    ui.add_argument(
        "--port", type=int, default=PORT, metavar="N", help="where the page and the API answer (default: %(default)s)"
    )
    ui.add_argument(
        "--out", type=Path, default=Path("embeddings"), metavar="FOLDER",
        help="where embeddings go (default: %(default)s)",
    )  # fmt: skip
    add_equipment(ui)
    add_face_options(ui)
    ui.set_defaults(command=_ui)


def _ui(options: argparse.Namespace) -> int:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    try:
        from celebbasis_ext.ui.standalone import serve
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise MissingPackage("The page needs gradio.", "pip install 'celebbasis[ui]'") from error
    context = _context(options)

    def opened(app: Any, address: str) -> None:
        from celebbasis_ext.api import mount
        from celebbasis_ext.api.guards import local_only

        mount(app, context, [local_only])
        print(f"Celeb Basis is at {address} - Ctrl-C ends it. Its API is described at {address}docs.", flush=True)

    serve(context, options.port, opened)
    return 0


def _context(options: argparse.Namespace) -> Context:
    """The page's surroundings. It fetches face models when somebody asks it to, and not before."""
    from celebbasis_ext.faces.weights import missing_files
    from celebbasis_ext.miniature.portraits import draw_stranger
    from celebbasis_ext.ui.standalone import standalone_context
    from celebbasis_ext.workshops import open_workshop

    equipment = equipment_from(options)
    if equipment.checkpoint is None:
        return standalone_context(lambda: open_workshop(options.out, equipment), options.out, draw_stranger)
    named = options.face_detector or options.face_pack or options.faces not in ("auto", "yunet-sface")
    can_fetch, options.offline = not named and not options.offline, True
    return standalone_context(
        lambda: open_workshop(options.out, equipment, lambda: faces_from(options), print), options.out,
        missing_models=(lambda: missing_files(options.webui)) if can_fetch else tuple,
    )  # fmt: skip
