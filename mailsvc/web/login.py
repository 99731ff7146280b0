"""Log in to the page with the API key, and out again."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from .base import Handler
from .page import Page, show_part
from .problem import Problem
from .session import COOKIE, LIFE, Sessions


class Login(Page):
    """`/login`. Without a key there is nothing to log in to."""

    public = True

    async def get(self) -> None:
        """The form."""
        if self.settings["sessions"] is None:
            self.redirect("/", status=303)
        else:
            self._show(200, _local(self.get_query_argument("next", "/")))

    head = get

    async def post(self) -> None:
        """The key, in the body alone. A session begins, or the form comes back."""
        self.refuse_foreign_origin()
        sessions: Sessions | None = self.settings["sessions"]
        if sessions is None:
            raise Problem(404, "not_found", "This server has no API key, so there is nothing to log in to.")
        fields = parse_qs(self.body.decode("utf-8", "replace"), max_num_fields=10)
        target = _local(fields.get("next", ["/"])[0])
        wait = sessions.wait()
        if wait:
            self.set_header("Retry-After", str(wait))
            self._show(429, target, fault=f"That were too many wrong keys. Try again in {wait} s.")
        elif sessions.is_key(fields.get("key", [""])[0].strip()):
            keep(self, sessions.begin())
            self.redirect(target, status=303)
        else:
            self.set_header("WWW-Authenticate", 'Bearer realm="mailsvc"')
            self._show(401, target, fault="This is not the key.")

    def _show(self, status: int, target: str, **context: Any) -> None:
        show_part(self, "login.html", status, target=target, **{"fault": None} | context)


class Logout(Page):
    """`/logout`."""

    async def post(self) -> None:
        """The session ends, here and in the browser."""
        self.admit()
        sessions: Sessions | None = self.settings["sessions"]
        if sessions and self.session:
            sessions.end(self.session)
        self.clear_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        self.redirect("/login", status=303)


def keep(handler: Handler, cookie: str) -> None:
    """Have the browser keep the cookie. Scripts never see it, and no other site's page can send it."""
    config = handler.service.config
    forwarded = handler.request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
    secure = "https" in (forwarded, handler.request.protocol) or (config.public_url or "").startswith("https://")
    handler.set_cookie(COOKIE, cookie, path="/", max_age=LIFE, httponly=True, secure=secure, samesite="Strict")


def _local(target: str) -> str:
    """A path on this server; anything else becomes `/`."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if safe else "/"
