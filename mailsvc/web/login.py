"""Log in to the page with an administrator's key, and out again."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from ..access import Scope
from .base import Handler
from .door import refuse_foreign_host, refuse_foreign_origin
from .page import Page, show_part
from .problem import Problem
from .session import COOKIE, LIFE, Sessions


class Login(Page):
    """`/login`. Without a key there is nothing to log in to."""

    public = True
    most = 16 * 1024

    async def get(self) -> None:
        """The form."""
        if self.service.keys.ring.empty:
            self.redirect("/", status=303)
        else:
            refuse_foreign_host(self)
            self._show(200, _local(self.get_query_argument("next", "/")))

    head = get

    async def post(self) -> None:
        """The key, in the body alone. A session begins, or the form comes back."""
        ring = self.service.keys.ring
        if ring.empty:
            raise Problem(404, "not_found", "This server has no API key, so there is nothing to log in to.")
        refuse_foreign_host(self)
        refuse_foreign_origin(self)
        sessions: Sessions = self.settings["sessions"]
        given, target = self._form()
        wait = sessions.wait()
        if wait:
            self.set_header("Retry-After", str(wait))
            self._show(429, target, fault=f"That were too many wrong keys. Try again in {wait} s.")
            return
        key = ring.find(given)
        if key and key.may(Scope.ADMIN):
            keep(self, sessions.begin(key.id))
            self.redirect(target, status=303)
        elif key:
            self._show(403, target, fault="This key may not use the page: it lacks the scope admin.")
        else:
            sessions.missed()
            self.set_header("WWW-Authenticate", 'Bearer realm="mailsvc"')
            self._show(401, target, fault="This is not the key.")

    def _form(self) -> tuple[str, str]:
        """The key that was typed, and where to go then."""
        try:
            fields = parse_qs(self.body.decode("utf-8", "replace"), max_num_fields=10)
        except ValueError:
            fields = {}
        return fields.get("key", [""])[0].strip(), _local(fields.get("next", ["/"])[0])

    def _show(self, status: int, target: str, **context: Any) -> None:
        show_part(self, "login.html", status, target=target, **{"fault": None} | context)


class Logout(Page):
    """`/logout`."""

    async def post(self) -> None:
        """The session ends, here and in the browser."""
        self.admit()
        sessions: Sessions = self.settings["sessions"]
        if self.session:
            sessions.end(self.session)
        self.clear_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        self.redirect("/login", status=303)


def keep(handler: Handler, cookie: str) -> None:
    """Have the browser keep the cookie. Scripts never see it, and no other site's page can send it."""
    config = handler.service.config
    secure = handler.protocol == "https" or (config.public_url or "").startswith("https://")
    handler.set_cookie(COOKIE, cookie, path="/", max_age=LIFE, httponly=True, secure=secure, samesite="Strict")


def _local(target: str) -> str:
    """A path on this server; anything else becomes `/`."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if safe else "/"
