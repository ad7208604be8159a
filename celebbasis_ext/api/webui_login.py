"""The WebUI's own logins, asked again: routes that an extension adds are covered neither by `--api-auth` nor by
`--gradio-auth`.
"""

# Without postponed annotations: FastAPI before 0.100 cannot read those of an object's `__call__`.
import inspect
from collections.abc import Mapping
from hmac import compare_digest
from typing import Any

from fastapi.security import HTTPBasic, HTTPBasicCredentials
from starlette.requests import Request

from celebbasis_ext.api.errors import NotLoggedIn

_COOKIES = ("access-token", "access-token-unsecure")


class Login(HTTPBasic):
    """A guard: lets pass whoever the API's users or gradio's login know; everybody where the host has neither.

    Args:
        app: A gradio application of any version, or a plain one where the WebUI runs without its page.
        users: {user: password} of the host's own API.
    """

    def __init__(self, app: Any, users: Mapping[str, str]) -> None:
        super().__init__(scheme_name="Login of the WebUI", auto_error=False)
        self.app, self.users = app, users

    async def __call__(self, request: Request) -> HTTPBasicCredentials | None:  # type: ignore[override]
        """Raises NotLoggedIn."""
        if not self.users and not self._page_has_login():
            return None
        credentials = await self._credentials(request)
        if credentials is not None and self._is_user(credentials):
            return credentials
        if self._page_has_login() and await self._page_user(request) is not None:
            return None
        raise NotLoggedIn(
            "This WebUI asks for a login.", "Send user and password of --api-auth, or log in to the page of the WebUI."
        )

    async def _credentials(self, request: Request) -> HTTPBasicCredentials | None:
        """What the Authorization header says; None where it says nothing that can be read."""
        from fastapi import HTTPException

        try:
            return await super().__call__(request)
        except HTTPException:
            return None

    def _is_user(self, credentials: HTTPBasicCredentials) -> bool:
        password = self.users.get(credentials.username)
        return password is not None and compare_digest(credentials.password.encode(), password.encode())

    def _page_has_login(self) -> bool:
        return any(getattr(self.app, name, None) is not None for name in ("auth", "auth_dependency"))

    async def _page_user(self, request: Request) -> Any:
        """As `gradio.routes.App.get_current_user` of gradio 3.41, 4 and 6, which cannot be called from outside."""
        ask = getattr(self.app, "auth_dependency", None)
        if ask is not None:
            user = ask(request)
            return await user if inspect.isawaitable(user) else user
        own = f"-{self.app.cookie_id}" if hasattr(self.app, "cookie_id") else ""
        token = next((request.cookies[name + own] for name in _COOKIES if request.cookies.get(name + own)), None)
        return self.app.tokens.get(token)


def webui_login(app: Any) -> Login:
    """Who is let in by the WebUI that runs in this process.

    Args:
        app: The WebUI's application, as `on_app_started` hands it over.
    """
    from modules import shared

    return Login(app, api_users(shared.cmd_opts.api_auth or ""))


def api_users(flag: str) -> dict[str, str]:
    """{user: password} of `--api-auth user:password,user:password`."""
    pairs = (entry.partition(":") for entry in flag.split(",") if entry)
    return {user: password for user, _, password in pairs}
