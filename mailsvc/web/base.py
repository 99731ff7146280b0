"""What every handler shares: who may come in, the request's body within bounds, and problem+json for every error."""

from __future__ import annotations

import hmac
import os
import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson
import structlog
from tornado.web import HTTPError, RequestHandler, stream_request_body

from ..errors import MailsvcError, StorageUnavailable
from ..service import Service
from .problem import Problem, problem
from .session import COOKIE, Sessions, given_token

DISCARD = 32 * 1024 * 1024  # bytes of a body that is too large that are read and dropped, to be able to say so
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

log = structlog.get_logger("mailsvc.web")


@stream_request_body
class Handler(RequestHandler):
    """The base of all handlers. `summary` describes a route in the API's description, `takes` the body of a POST."""

    summary = ""
    takes: ClassVar[dict[str, Any] | None] = None
    public = False  # whether the route can be used without a key

    def initialize(self, service: Service) -> None:
        """Called by Tornado before the method."""
        self.service = service
        self.session: str | None = None
        service.requests += 1
        self._counted = True
        self._chunks: list[bytes] = []
        self._received = 0

    def set_default_headers(self) -> None:
        """Called by Tornado for every answer, errors included."""
        given = self.request.headers.get("X-Request-Id", "")
        self.request_id = given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else os.urandom(8).hex()
        self.set_header("Server", "mailsvc")
        self.set_header("X-Request-Id", self.request_id)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")

    def on_finish(self) -> None:
        """Called by Tornado when the answer is out."""
        self.service.requests -= self._counted
        self._counted = False

    def on_connection_close(self) -> None:
        """Called by Tornado when the caller has gone away."""
        self.on_finish()

    def data_received(self, chunk: bytes) -> None:
        """Called by Tornado for each piece of the body. What is too much is dropped, and said once all has come."""
        self._received += len(chunk)
        if self._received <= self.service.config.max_body:
            self._chunks.append(chunk)

    @property
    def body(self) -> bytes:
        """The whole body. Raises Problem when it is too large."""
        if self._received > self.service.config.max_body:
            limit = self.service.config.max_body
            raise Problem(413, "too_large", f"The body has more than {limit} bytes, which is the limit here.")
        return b"".join(self._chunks)

    def admit(self) -> None:
        """Raise Problem unless the caller may come in: by key, by session, or from this machine if there is no key."""
        key = self.service.config.api_key
        scheme, _, given = self.request.headers.get("Authorization", "").partition(" ")
        if key is None:
            self._admit_local()
        elif scheme.lower() != "bearer":
            self._admit_session()
        elif not hmac.compare_digest(given.strip().encode(), key.encode()):
            raise _key_needed()

    def _admit_session(self) -> None:
        """A browser that has logged in. What it changes must come from a page of its own."""
        sessions: Sessions = self.settings["sessions"]
        self.session = sessions.check(self.get_cookie(COOKIE))
        if self.session is None:
            raise _key_needed()
        if self.request.method in ("GET", "HEAD"):
            return
        self.refuse_foreign_origin()
        if not sessions.is_token(self.session, given_token(self.request.headers, self.body)):
            raise Problem(403, "forbidden", "This form is not from here, or too old. Load the page again.")

    def refuse_foreign_origin(self) -> None:
        """Raise Problem if the request was made by a page of another site."""
        origin = self.request.headers.get("Origin")
        own = (self.request.host, urlsplit(self.service.config.public_url or "").netloc or self.request.host)
        if origin is not None and urlsplit(origin).netloc not in own:
            raise Problem(403, "forbidden", "Requests from pages of other sites are refused.")

    def _admit_local(self) -> None:
        """Without a key, the browser of this machine is the way in: no foreign page may use it."""
        host = urlsplit(f"//{self.request.host}")
        if host.hostname not in LOCAL_NAMES | {self.service.config.host}:
            raise Problem(403, "forbidden", "This server has no API key and answers only to localhost.")
        self.refuse_foreign_origin()

    @property
    def wants_html(self) -> bool:
        """Whether a browser asks for a page, or sends a form of one."""
        return "text/html" in self.request.headers.get("Accept", "")

    def send_json(self, value: Any, status: int = 200) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Called by Tornado with the exception that ended the request."""
        exc_info = kwargs.get("exc_info")
        fault = problem(exc_info[1] if exc_info else None, status_code)
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


def _key_needed() -> Problem:
    detail = "An API key is needed: send the header 'Authorization: Bearer KEY'."
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="mailsvc"'})


def rfc3339(at: float | None) -> str | None:
    """Unix seconds as `2026-01-02T03:04:05.678Z`."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
