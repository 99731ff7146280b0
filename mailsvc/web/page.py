"""What every page shares: its headers, its templates, and errors that a person can read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..access import Scope
from ..model import Record
from ..outbox.base import RETRYABLE
from .assets import ROOT, assets
from .base import Handler, rfc3339
from .health import gaps, health
from .problem import Problem
from .session import FIELD, Sessions
from .story import STATUSES

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Page(Handler):
    """The base of all handlers that answer with HTML. A page shows the mails of all, so it is for administrators."""

    reads = changes = Scope.ADMIN

    def set_default_headers(self) -> None:
        """Called by Tornado for every answer, errors included."""
        super().set_default_headers()
        guard(self)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Called by Tornado: who must log in is sent there, a browser gets a page, a program what it knows."""
        if not self.wants_html:
            super().write_error(status_code, **kwargs)
            return
        fault = self.fault(status_code, kwargs.get("exc_info"))
        if fault.status == 401:
            self.redirect(f"/login?next={quote(self.request.uri or '/', safe='')}", status=303)
        else:
            show_problem(self, fault)


class NoSuchPage(Page):
    """Every path that nothing serves."""

    public = True

    async def get(self) -> None:
        """Raises Problem. Not in `prepare`: an answer before the body is read costs the connection."""
        raise Problem(404, "not_found", "There is nothing at this path. The API is described at /docs.")

    head = post = put = patch = delete = options = get


def guard(handler: Handler) -> None:
    """Headers that let a page use its own things alone, and nobody else use the page."""
    handler.set_header("Content-Security-Policy", POLICY)
    handler.set_header("X-Frame-Options", "DENY")
    handler.set_header("Referrer-Policy", "same-origin")  # not `no-referrer`, which takes the Origin from forms as well
    handler.set_header("Cross-Origin-Opener-Policy", "same-origin")


async def show(handler: Handler, template: str, status: int = 200, **context: Any) -> None:
    """Answer with a whole page."""
    fault, words = await health(handler.service)
    config = handler.service.config
    whole = {"sick": fault, "health": words, "gaps": gaps(config), "live": config.live, "rehearsal": config.rehearsal}
    show_part(handler, template, status, **whole, **context)


def show_part(handler: Handler, template: str, status: int = 200, **context: Any) -> None:
    """Answer with a template that needs to know nothing of the service's health: a piece of a page, a login."""
    sessions: Sessions = handler.settings["sessions"]
    token = sessions.token(handler.session) if handler.session else ""
    handler.set_status(status)
    handler.set_header("Content-Type", "text/html; charset=utf-8")
    shared = {"xsrf": token, "xsrf_field": FIELD, "logged_in": bool(handler.session)}
    handler.finish(templates().get_template(template).render(**shared, **context))


def show_problem(handler: Handler, fault: Problem) -> None:
    """Answer with a page that says what is wrong."""
    for name, value in fault.headers.items():
        handler.set_header(name, value)
    if fault.status == 405:
        handler.set_header("Allow", ", ".join(handler.allowed()))
    title = HTTPStatus(fault.status).phrase
    show_part(handler, "problem.html", fault.status, title=title, fault=fault, request_id=handler.request_id)


@cache
def templates() -> Environment:
    """The templates. The engine is loaded with the first page, since many a server never shows one."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    found = Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.globals |= {"static": assets().url, "statuses": STATUSES, "retryable": RETRYABLE}
    found.filters |= {"iso": rfc3339, "clock": clock, "day": day, "people": people}
    return found


def clock(at: float) -> str:
    """Unix seconds as `07:14:26.395`, in UTC; scripts turn it into the reader's own time."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def day(at: float) -> str:
    """Unix seconds as `24 Nov 2026, 07:14 UTC`."""
    return datetime.fromtimestamp(at, UTC).strftime("%-d %b %Y, %H:%M UTC")


def people(record: Record) -> Mapping[str, Any]:
    """The recipients in short: the first one, and how many more there are."""
    first = record.recipients[0]
    return {"first": first.name or first.address, "more": len(record.recipients) - 1}
