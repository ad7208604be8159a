"""What every route of ours does before and after its own work: ask the guards, measure the body, answer in JSON.

All of it stands in the route, and not in the application's middleware or handlers: those are the host's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from celebbasis_ext.api.errors import MalformedRequest, NotJson, TooLarge, reply_to

LARGEST_BODY = 20_000_000
"""Bytes of a request; base64 makes four of three."""

Receive = Callable[[], Awaitable[Message]]


class Guard(Protocol):
    """Decides whether a request may pass; a FastAPI dependency."""

    async def __call__(self, request: Request) -> Any:
        """Raises NotLoggedIn or ForeignOrigin where it may not."""
        ...


def guarded_route(guards: Sequence[Guard], folder: Path) -> type[APIRoute]:
    """A class of routes.

    Args:
        guards: Asked one after the other before a byte of the body is read: FastAPI runs its dependencies only after
            it has read and parsed all of it.
        folder: Of the embeddings, which no message mentions.
    """

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handler(request: Request) -> Response:
                try:
                    for guard in guards:
                        await guard(request)
                    return await handle(await measured(request))
                except Exception as error:  # the host's own handlers would show its internals
                    return reply_to(error, folder)

            return handler

    return GuardedRoute


async def measured(request: Request) -> Request:
    """The request with its body read.

    Raises:
        NotJson: It changes something and is not declared as JSON. Pages of other sites can make a browser send forms
            and plain text here without asking; before sending JSON the browser asks, and nobody says yes.
        TooLarge: The body is longer than allowed; it is read no further than that.
        MalformedRequest: Its stated length is no number.
    """
    if request.method in ("GET", "HEAD"):
        return request
    if request.method == "POST" and _content_type(request) != "application/json":
        raise NotJson("The request does not say that it is JSON.", "Send the header Content-Type: application/json.")
    stated = request.headers.get("content-length", "0")
    if not (stated.isascii() and stated.isdigit()):
        raise MalformedRequest("The length of the request is no number.", "Leave that header to the HTTP client.")
    _check_size(int(stated))
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        _check_size(size)
        parts.append(part)
    return Request(request.scope, _again(b"".join(parts), request.receive))


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_size(size: int) -> None:
    if size > LARGEST_BODY:
        raise TooLarge(
            f"The request is too large, at most {LARGEST_BODY // 1_000_000} MB are allowed.",
            "Send fewer or smaller photos.",
        )


def _again(body: bytes, receive: Receive) -> Receive:
    """Hands the body out once more, and then whatever comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message
