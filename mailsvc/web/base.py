"""What every handler shares: who may come in, the request's body within bounds, and problem+json for every error."""

from __future__ import annotations

import random
import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any, ClassVar, cast

import orjson
import structlog
from tornado.concurrent import Future
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, format_timestamp
from tornado.web import HTTPError, RequestHandler, stream_request_body

from ..access import ApiKey, Scope
from ..errors import Forbidden, MailsvcError, NotFound, StorageUnavailable
from ..service import Service
from .door import client, enter, household, protocol
from .intake import DISCARD, Intake
from .problem import Problem, problem, too_often
from .shapes import Schema

UNKNOWN_IDS = 100  # a key, or a client without one, may ask for in a minute
STRANGER = ApiKey("", "", "", frozenset())  # nobody has been let in
# What is no page runs nothing, shows nothing in a frame and is kept nowhere. Pages say for themselves what they may.
SAFE_HEADERS = {
    "Server": "mailsvc",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SAFE_LINES = "".join(f"{name}: {value}\r\n" for name, value in SAFE_HEADERS.items())
_RANDOM = random.Random()  # noqa: S311 - names requests, keeps no secret
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = structlog.get_logger("mailsvc.web")


@stream_request_body  # so that Tornado does not parse forms, by other rules than ours
class Handler(RequestHandler):
    """The base of all handlers.

    For the API's description: `summary`, the parameters of a GET by their schemas (`asks`), the headers that a POST
    takes (`asks_by_header`) and a GET (`gets_by_header`), its body as fields (`takes`) or in other media types
    (`takes_also`), for each method the status and the media types of what it `gives`, and how it `fails` beyond what
    all methods do.
    """

    summary = ""
    asks: ClassVar[dict[str, Schema]] = {}
    asks_by_header: ClassVar[dict[str, Schema]] = {}
    gets_by_header: ClassVar[dict[str, Schema]] = {}
    takes: ClassVar[Schema | None] = None
    takes_also: ClassVar[tuple[str, ...]] = ()
    gives: ClassVar[dict[str, tuple[int, dict[str, Schema]]]] = {}
    gives_also: ClassVar[dict[str, tuple[int, dict[str, Schema]]]] = {}  # when nothing was to be done
    fails: ClassVar[dict[str, tuple[int, ...]]] = {}
    most = DISCARD  # bytes of a body, if that is less than what is configured
    public = False  # whether the route can be used without a key
    reads, changes = Scope.READ, Scope.ADMIN  # what a key must allow to look here, and to do anything else

    def initialize(self, service: Service, intake: Intake) -> None:
        """Called by Tornado before the method."""
        self.service, self.intake = service, intake
        self.key = STRANGER
        self.session: str | None = None

    def clear(self) -> None:
        """Called by Tornado for every answer, errors included: as its own, with the date made once a second."""
        self._headers = HTTPHeaders()
        self._headers["Content-Type"] = "text/html; charset=UTF-8"
        self._headers["Date"] = _date(int(time.time()))
        self.set_default_headers()
        self._write_buffer: list[bytes] = []
        self._status_code, self._reason = 200, "OK"

    def set_default_headers(self) -> None:
        """Called for every answer, errors included."""
        given = self.request.headers.get("X-Request-Id")
        self.request_id = given if given and _REQUEST_ID.fullmatch(given) else f"{_RANDOM.getrandbits(64):016x}"
        self._headers["X-Request-Id"] = self.request_id  # set_header() would look for line breaks, each time

    def on_finish(self) -> None:
        """Called by Tornado when the answer is out."""
        self.intake.close()

    def on_connection_close(self) -> None:
        """Called by Tornado when the caller has gone away."""
        self.on_finish()

    @property
    def body(self) -> bytes:
        """The whole body. Raises Problem and Overloaded, see Intake."""
        return self.intake.body

    def admit(self, scope: Scope | None = None) -> None:
        """Let the caller in, whose key is in `key` then. `scope` is what the key must allow, if that is not the usual.

        Raises Problem and Forbidden.
        """
        self.key, self.session = enter(self)
        needed = scope or (self.reads if self.request.method in ("GET", "HEAD") else self.changes)
        if not self.key.may(needed):
            raise Forbidden(f"This needs a key with the scope `{needed}`.")

    @property
    def client(self) -> str:
        """The address of the caller."""
        return client(self.request, self.service.config.trusted_proxies)

    @property
    def protocol(self) -> str:
        """What the caller speaks: `http` or `https`."""
        return protocol(self.request, self.service.config.trusted_proxies)

    @property
    def wants_html(self) -> bool:
        """Whether a browser asks for a page, or sends a form of one."""
        return "text/html" in self.request.headers.get("Accept", "")

    def send_json(self, value: Any, status: int = 200) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(value))

    def flush(self, include_footers: bool = False) -> Future[None]:
        """Called by Tornado with what there is to write. A whole answer goes out in one piece.

        Tornado's way of writing a head checks each of its lines, and costs more than all else that is done to answer.
        Of SAFE_HEADERS those are added that the handler has not set otherwise.
        """
        if self._headers_written:
            return super().flush(include_footers)
        head = self._head() if include_footers else ""
        if not head:
            for name, value in SAFE_HEADERS.items():
                self._headers.setdefault(name, value)
            return super().flush(include_footers)
        self._headers_written = True
        body, self._write_buffer = b"".join(self._write_buffer), []
        connection = cast("HTTP1Connection", self.request.connection)
        return connection.write(head.encode("latin1") + body)

    def _head(self) -> str:
        """The head of a whole answer; empty where there are rules for it that are Tornado's to know."""
        request, status = self.request, self._status_code
        kept = request.version == "HTTP/1.1" and request.headers.get("Connection", "keep-alive") == "keep-alive"
        if not kept or request.method == "HEAD" or status in (204, 304) or hasattr(self, "_new_cookie"):
            return ""
        own = list(self._headers.get_all())
        lines = [f"{name}: {value}" for name, value in own]
        head = "\r\n".join((f"HTTP/1.1 {status} {self._reason}", *lines, ""))
        if head.count("\n") != len(lines) + 1 or head.count("\r") != len(lines) + 1:
            return ""
        names = {name for name, _ in own}
        if names.isdisjoint(SAFE_HEADERS):
            return f"{head}{_SAFE_LINES}\r\n"
        rest = "".join(f"{name}: {value}\r\n" for name, value in SAFE_HEADERS.items() if name not in names)
        return f"{head}{rest}\r\n"

    def fault(self, status: int, exc_info: Any) -> Problem:
        """The error that ended the request. Who asks for many mails that are not there is made to wait."""
        error = exc_info[1] if exc_info else None
        if isinstance(error, NotFound):
            name = f"unknown id {self.key.id or household(self.client)}"
            wait = self.service.limits.take(name, UNKNOWN_IDS, time.monotonic())
            if wait:
                return too_often("You have asked for too many things that are not there.", wait)
        return problem(error, status)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Called by Tornado with the exception that ended the request."""
        fault = self.fault(status_code, kwargs.get("exc_info"))
        self.service.tally.refused[fault.code] += 1
        status, kind, document = self.told(fault)
        self.set_status(status)
        for name, value in fault.headers.items():
            self.set_header(name, value)
        if fault.status == 405:
            self.set_header("Allow", ", ".join(self.allowed()))
        if self.service.stopping.is_set():
            self.set_header("Connection", "close")
        self.set_header("Content-Type", kind)
        self.finish(orjson.dumps(document))

    def told(self, fault: Problem) -> tuple[int, str, Any]:
        """An error as its status, its media type and the JSON that goes with it."""
        return fault.status, "application/problem+json", words(fault) | {"request_id": self.request_id}

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Called by Tornado: what the caller did wrong is no news, a fault of ours is."""
        if isinstance(value, Problem | HTTPError) or (
            isinstance(value, MailsvcError) and not isinstance(value, StorageUnavailable)
        ):
            return
        kind = typ.__name__ if typ else "?"
        if isinstance(value, StorageUnavailable):
            log.error("storage_trouble", request_id=self.request_id, error=str(value))
        else:
            log.error("request_failed", request_id=self.request_id, error=kind, exc_info=(typ, value, tb))

    @classmethod
    def allowed(cls) -> list[str]:
        """The methods this route has."""
        names = ("get", "post", "patch", "put", "delete", "head")
        return [name.upper() for name in names if getattr(cls, name) is not getattr(RequestHandler, name)]

    def compute_etag(self) -> None:
        """No answer here is cached."""


@lru_cache(1)
def _date(second: int) -> str:
    return format_timestamp(second)


def words(fault: Problem) -> dict[str, Any]:
    """A problem as the API tells it."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(fault.status).phrase,
        "status": fault.status,
        "code": fault.code,
        "detail": fault.detail,
        "errors": [{"field": f.field, "code": f.code, "message": f.message} for f in fault.faults],
    }


def rfc3339(at: float | None) -> str | None:
    """Unix seconds as `2026-01-02T03:04:05.678Z`."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
