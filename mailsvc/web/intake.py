"""A request as it comes in: its body is kept within bounds, or dropped, and its handler begins once all has come.

A body that is refused is still read, up to a bound, to be able to say so: most clients read no answer before they have
written all of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerRequest, RequestStartLine, ResponseStartLine
from tornado.web import Application, RequestHandler

from ..errors import Overloaded
from .door import key_needed, known
from .problem import Problem

if TYPE_CHECKING:
    from ..service import Service
    from .base import Handler

DISCARD = 32 * 1024 * 1024  # bytes of a body that is too large that are read and dropped
BODIES = 64 * 1024 * 1024  # bytes of all bodies that are in memory at a time
_NOBODY = HTTPMessageDelegate()


class Intake(HTTPMessageDelegate):
    """One request. `close` it when the answer is out, and its body is forgotten.

    `begin` is what begins the handler: Tornado's own delegate, which is told of everything at the end, at once.
    """

    def __init__(self, request: HTTPServerRequest, handler: type[Handler], app: App) -> None:
        self._request, self._handler, self._app = request, handler, app
        self._service = app.service
        self._chunks: list[bytes] = []
        self._received = self._kept = 0  # bytes
        self._crowded = self._unknown = False  # why the body was not kept
        self._open = self._coming = True
        self._limit = min(handler.most, app.service.config.max_body)
        self._service.requests += 1
        self.begin = _NOBODY

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        """Called by Tornado when the head is complete."""
        self._start = start_line, headers

    def data_received(self, chunk: bytes) -> None:
        """Called by Tornado for each piece of the body."""
        if not self._received:
            self._unknown = not self._handler.public and not known(self._request, self._service, self._app.sessions)
        self._received += len(chunk)
        if self._unknown or self._crowded or self._received > self._limit:
            self._drop()
        elif self._service.body_bytes + len(chunk) > max(BODIES, 2 * self._limit):
            self._crowded = True
            self._drop()
        else:
            self._chunks.append(chunk)
            self._kept += len(chunk)
            self._service.body_bytes += len(chunk)

    def finish(self) -> None:
        """Called by Tornado when the request is complete."""
        self._coming = False
        begin, self.begin = self.begin, _NOBODY  # which knows the handler, which knows this
        try:
            begin.headers_received(*self._start)
            begin.finish()
        except BaseException:
            self.close()
            raise

    def on_connection_close(self) -> None:
        """Called by Tornado when the caller has gone away before the request was complete."""
        if self._coming:
            self.close()

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

    def parsed(self) -> None:
        """The body is not asked for again. What was made of it takes its room, and counts for it."""
        self._chunks.clear()

    def close(self) -> None:
        """The request is over. May be called again."""
        self._service.requests -= self._open
        self._open = False
        self.begin = _NOBODY
        self._drop()

    def _drop(self) -> None:
        self._service.body_bytes -= self._kept
        self._kept = 0
        self._chunks.clear()


class App(Application):
    """The application of a service. Every handler of it is given its Intake."""

    def __init__(self, service: Service, routes: list[Any], **settings: Any) -> None:
        self.service, self.sessions = service, settings["sessions"]
        super().__init__(routes, **settings)

    def get_handler_delegate(
        self,
        request: HTTPServerRequest,
        target_class: type[RequestHandler],
        target_kwargs: dict[str, Any] | None = None,
        path_args: list[bytes] | None = None,
        path_kwargs: dict[str, bytes] | None = None,
    ) -> Any:
        """Called by Tornado with the head of each request, once it knows whose it is."""
        intake = Intake(request, cast("type[Handler]", target_class), self)
        given = {**(target_kwargs or {}), "intake": intake}
        intake.begin = super().get_handler_delegate(request, target_class, given, path_args, path_kwargs)
        return intake
