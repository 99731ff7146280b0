"""What every handler shares: who may come in, the request's body within bounds, and problem+json for every error."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, ClassVar

import orjson
import structlog
from tornado.web import HTTPError, RequestHandler, stream_request_body

from ..access import ApiKey, Scope
from ..errors import Forbidden, MailsvcError, NotFound, Overloaded, StorageUnavailable
from ..service import Service
from .door import client, enter, household, key_needed, known, protocol
from .problem import Problem, problem, too_often

DISCARD = 32 * 1024 * 1024  # bytes of a body that is too large that are read and dropped, to be able to say so
BODIES = 64 * 1024 * 1024  # bytes of all bodies that are in memory at a time
UNKNOWN_IDS = 100  # a key, or a client without one, may ask for in a minute
STRANGER = ApiKey("", "", "", frozenset())  # nobody has been let in
# What is no page runs nothing, shows nothing in a frame and is kept nowhere. Pages say for themselves what they may.
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

log = structlog.get_logger("mailsvc.web")


@stream_request_body
class Handler(RequestHandler):
    """The base of all handlers. `summary` describes a route in the API's description, `takes` the body of a POST."""

    summary = ""
    takes: ClassVar[dict[str, Any] | None] = None
    most = DISCARD  # bytes of a body, if that is less than what is configured
    public = False  # whether the route can be used without a key
    reads, changes = Scope.READ, Scope.ADMIN  # what a key must allow to look here, and to do anything else

    def initialize(self, service: Service) -> None:
        """Called by Tornado before the method."""
        self.service = service
        self.key = STRANGER
        self.session: str | None = None
        service.requests += 1
        self._counted = True
        self._chunks: list[bytes] = []
        self._received = 0
        self._crowded = self._unknown = False  # why the body was not kept

    def set_default_headers(self) -> None:
        """Called by Tornado for every answer, errors included."""
        given = self.request.headers.get("X-Request-Id", "")
        self.request_id = given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else os.urandom(8).hex()
        self.set_header("Server", "mailsvc")
        self.set_header("X-Request-Id", self.request_id)
        for name, value in SAFE_HEADERS.items():
            self.set_header(name, value)

    def on_finish(self) -> None:
        """Called by Tornado when the answer is out."""
        self.service.requests -= self._counted
        self._counted = False
        self._drop()

    def on_connection_close(self) -> None:
        """Called by Tornado when the caller has gone away."""
        self.on_finish()

    def data_received(self, chunk: bytes) -> None:
        """Called by Tornado for each piece of the body. What is too much is dropped, and said once all has come."""
        if not self._received:
            self._unknown = not self.public and not known(self)
        self._received += len(chunk)
        if self._unknown or self._crowded or self._received > self._limit:
            self._drop()
        elif self.service.body_bytes + len(chunk) > max(BODIES, 2 * self._limit):
            self._crowded = True
            self._drop()
        else:
            self._chunks.append(chunk)
            self.service.body_bytes += len(chunk)

    @property
    def body(self) -> bytes:
        """The whole body. Raises Problem when it is too large, Overloaded when too many others came with it.

        That of somebody whom no key lets in is not kept, since all there is to say needs none.
        """
        if self._unknown:
            raise key_needed()
        if self._received > self._limit:
            raise Problem(413, "too_large", f"The body has more than {self._limit} bytes, which is the limit here.")
        if self._crowded:
            raise Overloaded("too many large requests come in at this moment", 1)
        return b"".join(self._chunks)

    @property
    def _limit(self) -> int:
        """Bytes that this body may have."""
        return min(self.most, self.service.config.max_body)

    def _drop(self) -> None:
        self.service.body_bytes -= sum(map(len, self._chunks))
        self._chunks.clear()

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
        self.set_status(fault.status)
        for name, value in fault.headers.items():
            self.set_header(name, value)
        if fault.status == 405:
            self.set_header("Allow", ", ".join(self.allowed()))
        if self.service.stopping.is_set():
            self.set_header("Connection", "close")
        self.set_header("Content-Type", "application/problem+json")
        self.finish(
            orjson.dumps(
                {
                    "type": "about:blank",
                    "title": HTTPStatus(fault.status).phrase,
                    "status": fault.status,
                    "code": fault.code,
                    "detail": fault.detail,
                    "errors": [{"field": f.field, "code": f.code, "message": f.message} for f in fault.faults],
                    "request_id": self.request_id,
                }
            )
        )

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


def rfc3339(at: float | None) -> str | None:
    """Unix seconds as `2026-01-02T03:04:05.678Z`."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
