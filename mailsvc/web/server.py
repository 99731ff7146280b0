"""The HTTP server: how many connections it holds, and how long it waits for a client."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import Any

from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, StreamClosedError

# Told to whoever comes when there is no room. Its request is not read.
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%s"
)
WORDS = (
    b'{"type":"about:blank","title":"Service Unavailable","status":503,"code":"overloaded",'
    b'"detail":"There are as many connections as are allowed here.","errors":[],"request_id":""}'
)
FAREWELLS, FAREWELL = 64, 0.5  # how many are told at a time, and the seconds in which they may read it


class Patience:
    """Closes connections that keep the server waiting for `seconds`: for the head of a request, and again for its body.

    One timer for all of them; Tornado's own time-outs are one for each request, and cost as much as reading it.
    """

    def __init__(self) -> None:
        self.seconds = 60.0
        self._since: dict[IOStream, float] = {}  # the longest wait first
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, stream: IOStream) -> None:
        """From now on it is waited for, whether it was before or not."""
        self._since.pop(stream, None)
        loop = asyncio.get_running_loop()
        self._since[stream] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._look)

    def end(self, stream: IOStream) -> None:
        """It is waited for no more."""
        self._since.pop(stream, None)

    def _look(self) -> None:
        loop, self._timer = asyncio.get_running_loop(), None
        for stream, since in list(self._since.items()):
            if since + self.seconds > loop.time():
                self._timer = loop.call_at(since + self.seconds, self._look)
                break
            del self._since[stream]
            stream.close()


class _Awaited(HTTPMessageDelegate):
    """Tells Patience how far a request has come."""

    def __init__(self, inner: HTTPMessageDelegate, patience: Patience, stream: IOStream) -> None:
        self._inner, self._patience, self._stream = inner, patience, stream
        patience.begin(stream)

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> Any:
        self._patience.begin(self._stream)
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._patience.end(self._stream)
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()


class Server(HTTPServer):
    """Holds `limit` connections; one more is told so and closed."""

    limit = 1000
    _leaving = 0

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Called by Tornado in place of a constructor."""
        super().initialize(*args, **kwargs)
        self.conn_params.header_timeout = None  # no setting of Tornado's turns it off
        self.patience = Patience()

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Called by Tornado with each new connection."""
        if len(self._connections) < self.limit:
            super().handle_stream(stream, address)
        elif self._leaving < min(FAREWELLS, self.limit // 2):
            self._leaving += 1
            with suppress(StreamClosedError):
                stream.write(FULL % (len(WORDS), WORDS)).add_done_callback(partial(_end, stream))
            IOLoop.current().call_later(FAREWELL, self._close, stream)
        else:
            stream.close()

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Called by Tornado on each connection when it is new, and after each answer."""
        assert isinstance(request_conn, HTTP1Connection)  # noqa: S101 - for the type checker
        return _Awaited(super().start_request(server_conn, request_conn), self.patience, request_conn.stream)

    def on_close(self, server_conn: object) -> None:
        """Called by Tornado with each connection that is closed."""
        super().on_close(server_conn)
        assert isinstance(server_conn, HTTP1ServerConnection)  # noqa: S101 - for the type checker
        self.patience.end(server_conn.stream)

    def _close(self, stream: IOStream) -> None:
        """A while later: closing at once, with the request unread, would take the answer away again."""
        self._leaving -= 1
        stream.close()


def _end(stream: IOStream, written: Any) -> None:
    """Nothing more will be said; who has gone already does not mind."""
    with suppress(StreamClosedError, OSError):
        written.result()
        stream.socket.shutdown(socket.SHUT_WR)
