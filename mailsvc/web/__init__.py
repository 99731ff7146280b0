"""The HTTP side: routes, and the server's own limits."""

from __future__ import annotations

from typing import Any

from tornado.httpserver import HTTPServer
from tornado.web import Application

from ..service import Service
from .base import DISCARD, Handler, NoSuchRoute
from .email import Mails, OneMail
from .openapi import describe
from .ops import Healthz, Readyz
from .providers import Pause, Providers, Resume

IDLE, BODY = 20.0, 20.0  # seconds until a silent connection is closed, and until a body must be there
MAX_HEADER = 16 * 1024


class OpenApi(Handler):
    """`/openapi.json`."""

    summary = "This description"
    public = True

    async def get(self) -> None:
        """The API described for programs."""
        self.send_json(describe(ROUTES))


ROUTES: list[tuple[str, type[Handler]]] = [
    ("/email", Mails),
    ("/email/([^/]+)", OneMail),
    ("/providers", Providers),
    ("/providers/([^/]+)/pause", Pause),
    ("/providers/([^/]+)/resume", Resume),
    ("/healthz", Healthz),
    ("/readyz", Readyz),
    ("/openapi.json", OpenApi),
]


def make_app(service: Service) -> Application:
    """The application. Requests are not logged one by one: mails, attempts and errors are."""
    parts = {"service": service}
    routes: list[Any] = [(pattern, handler, parts) for pattern, handler in ROUTES]
    return Application(
        routes,
        default_handler_class=NoSuchRoute,
        default_handler_args=parts,
        log_function=lambda handler: None,
    )


def make_server(service: Service) -> HTTPServer:
    """The server, not yet listening."""
    return HTTPServer(
        make_app(service),
        idle_connection_timeout=IDLE,
        body_timeout=BODY,
        max_header_size=MAX_HEADER,
        max_body_size=DISCARD,
        max_buffer_size=DISCARD,
        decompress_request=False,
    )
