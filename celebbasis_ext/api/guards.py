"""Who may ask, without a WebUI."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import Request

from celebbasis_ext.api.errors import ForeignOrigin


async def local_only(request: Request) -> None:
    """Lets pass what was sent to `localhost` or to an address of numbers; for servers that only this computer reaches.

    A page of another site can give its own name this computer's address, and its scripts then count as ours ("DNS
    rebinding"). The browser still sends the page's name, so that it can be told from ours.

    Raises:
        ForeignOrigin: The request came by another name.
    """
    name = _host_name(request)
    if name != "localhost" and not _is_address(name):
        raise ForeignOrigin("The request came by a name that this computer does not have.", "Ask 127.0.0.1 instead.")


def _host_name(request: Request) -> str:
    """Without the port; empty where there is none."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
