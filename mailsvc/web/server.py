"""The HTTP server: how many connections it holds, and how long it waits for a client."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import partial
from typing import Any

from tornado.httpserver import HTTPServer
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


class Server(HTTPServer):
    """Holds `limit` connections; one more is told so and closed."""

    limit = 1000
    _leaving = 0

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

    def _close(self, stream: IOStream) -> None:
        """A while later: closing at once, with the request unread, would take the answer away again."""
        self._leaving -= 1
        stream.close()


def _end(stream: IOStream, written: Any) -> None:
    """Nothing more will be said; who has gone already does not mind."""
    with suppress(StreamClosedError, OSError):
        written.result()
        stream.socket.shutdown(socket.SHUT_WR)
