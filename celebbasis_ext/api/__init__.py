"""The HTTP API: the tab's own actions at `/celebbasis/v1`, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from celebbasis_ext.api.route import Guard
    from celebbasis_ext.context import Context


def mount(app: FastAPI, context: Context, guards: Sequence[Guard] = ()) -> None:
    """Adds the API to an application that runs already or is about to.

    Args:
        app: The host's, such as gradio's.
        context: The very one that the tab has, so that both see the same jobs and people.
        guards: Who decides whether a request may pass: `guards.local_only`, `webui_login.webui_login(app)`.
    """
    from celebbasis_ext.api.routes import add_routes

    add_routes(app, context, guards)
