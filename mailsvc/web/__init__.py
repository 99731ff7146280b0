"""The HTTP side: routes, and the server's own limits."""

from __future__ import annotations

from typing import Any, ClassVar

from ..service import Service
from . import rehearsal
from .assets import Static, check_folders
from .base import Handler
from .batch import BatchOfMails
from .callback_page import CallbackPage, CallbacksPage
from .callbacks import Callbacks, Deliveries, OneCallback, ReplayCallback, RotateCallback, TestCallback
from .cancel import Cancel
from .compat import COMPAT
from .counts import Counts
from .docs import Docs
from .email import Mails, OneMail
from .erase import Erase
from .events import Events
from .frame import MailHtml, Preview
from .hooks import Hooks
from .intake import DISCARD, App
from .keys import Keys, OneKey
from .login import Login, Logout
from .openapi import describe
from .ops import Backup, Healthz, Metrics, Readyz
from .page import NoSuchPage
from .pages import Home, Inbox, MailPage
from .parts import HealthPart, InboxPart, MailsPart, RequestsPart, ScoresPart, TimelinePart
from .providers import Pause, Providers, Resume, Scores
from .resolve import Resolve
from .retry import Retry, RetryMany
from .server import Server
from .session import Sessions
from .shapes import JSON
from .suppression_page import SuppressionsPage
from .suppressions import OneSuppression, Suppressions
from .template_page import TemplateFrame, TemplatesPage
from .templates import OneTemplate, PreviewTemplate, Templates

MAX_HEADER = 16 * 1024


class OpenApi(Handler):
    """`/openapi.json`."""

    summary = "This description"
    gives: ClassVar = {"get": (200, {JSON: {"type": "object"}})}
    public = True

    async def get(self) -> None:
        """The API described for programs."""
        self.send_json(describe(ROUTES))


ROUTES: list[tuple[str, type[Handler]]] = [
    ("/email", Mails),
    ("/email/batch", BatchOfMails),
    ("/email/retry", RetryMany),
    ("/email/counts", Counts),
    ("/email/([^/]+)", OneMail),
    ("/email/([^/]+)/cancel", Cancel),
    ("/email/([^/]+)/retry", Retry),
    ("/email/([^/]+)/resolve", Resolve),
    ("/events", Events),
    ("/providers", Providers),
    ("/providers/scores", Scores),
    ("/providers/([^/]+)/pause", Pause),
    ("/providers/([^/]+)/resume", Resume),
    ("/callbacks", Callbacks),
    ("/callbacks/([^/]+)", OneCallback),
    ("/callbacks/([^/]+)/test", TestCallback),
    ("/callbacks/([^/]+)/replay", ReplayCallback),
    ("/callbacks/([^/]+)/rotate", RotateCallback),
    ("/callbacks/([^/]+)/deliveries", Deliveries),
    ("/hooks/([^/]+)", Hooks),
    ("/erase", Erase),
    ("/suppressions", Suppressions),
    ("/suppressions/([^/]+)", OneSuppression),
    ("/templates", Templates),
    ("/templates/([^/]+)", OneTemplate),
    ("/templates/([^/]+)/preview", PreviewTemplate),
    ("/keys", Keys),
    ("/keys/([^/]+)", OneKey),
    ("/healthz", Healthz),
    ("/readyz", Readyz),
    ("/metrics", Metrics),
    ("/backup", Backup),
    ("/openapi.json", OpenApi),
]
MAIL_ID = "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
PAGES: list[tuple[str, type[Handler]]] = [
    ("/", Home),
    (f"/mail/{MAIL_ID}", MailPage),
    (f"/mail/{MAIL_ID}/html", MailHtml),
    ("/inbox", Inbox),
    ("/settings/callbacks", CallbacksPage),
    ("/settings/callbacks/([^/]+)", CallbackPage),
    ("/settings/suppressions", SuppressionsPage),
    ("/settings/templates", TemplatesPage),
    ("/settings/templates/preview", TemplateFrame),
    ("/docs", Docs),
    ("/preview", Preview),
    ("/login", Login),
    ("/logout", Logout),
    (f"/parts/timeline/{MAIL_ID}", TimelinePart),
    ("/parts/mails", MailsPart),
    ("/parts/inbox", InboxPart),
    ("/parts/health", HealthPart),
    ("/parts/scores", ScoresPart),
    ("/parts/requests", RequestsPart),
    ("/rehearsal", rehearsal.Stage),
    ("/rehearsal/providers/([a-z]+)", rehearsal.Turn),
    ("/rehearsal/stream", rehearsal.Play),
    ("/rehearsal/stream/stop", rehearsal.Stop),
    ("/static/([0-9a-f]+)/(.+)", Static),
    ("/favicon.ico", Static),
]


def make_app(service: Service) -> App:
    """The application. Requests are not logged one by one: mails, attempts and errors are.

    Raises ConfigError where the files of the page are missing.
    """
    check_folders()
    parts = {"service": service}
    routes: list[Any] = [(pattern, handler, parts) for pattern, handler in ROUTES + COMPAT + PAGES]
    return App(
        service,
        routes,
        default_handler_class=NoSuchPage,
        default_handler_args=parts,
        log_function=lambda handler: None,
        sessions=Sessions(service.config.api_key),
    )


def make_server(service: Service) -> Server:
    """The server, not yet listening."""
    server = Server(
        make_app(service),
        max_header_size=MAX_HEADER,
        max_body_size=max(DISCARD, service.config.max_body),
        max_buffer_size=max(DISCARD, service.config.max_body),
        decompress_request=False,
    )
    server.limit = service.config.max_connections
    server.patience.seconds = service.config.client_timeout
    return server
