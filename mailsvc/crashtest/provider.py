"""A provider on the loopback interface that takes every mail, writes everything down, and says when a step of
a request is reached. It speaks as much of SendGrid, Mandrill and Resend as a mail needs.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
import uuid
from typing import Any, Self

import orjson

from .invariants import Request
from .trap import Trap

PATHS = {"/v3/mail/send": "sendgrid", "/api/1.0/messages/send": "mandrill", "/emails": "resend"}
SLOWEST = 0.03  # seconds until an answer, so that several requests are at work at a time
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_KEY = re.compile(rb"\r\nidempotency-key: *([^\r]+)", re.IGNORECASE)
_TAKEN = orjson.dumps([{"email": "a@b.co", "status": "sent", "_id": "1"}])


class LoopbackProvider:
    """`async with LoopbackProvider(…) as provider`; `ledger` is what it was asked, oldest first.

    `dedupes`: with an idempotency key, the same request is the same mail; unless it is `forgetful`.
    """

    def __init__(self, rng: random.Random, trap: Trap, *, dedupes: bool, forgetful: bool = False) -> None:
        self.rng, self.trap, self.dedupes, self._forgetful = rng, trap, dedupes, forgetful
        self.ledger: list[Request] = []
        self.known: dict[bytes, tuple[bytes, bytes]] = {}  # key -> body and answer
        self.connections: set[_Connection] = set()
        self.url = ""
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=512)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.abort()
            await self._server.wait_closed()

    def close_idle(self) -> None:
        """Close the connections on which nothing is said, so that new ones must be made."""
        for connection in list(self.connections):
            connection.close_if_idle()

    def take(self, name: str, mail_id: str | None, key: bytes | None, body: bytes) -> bytes:
        """Take the mail, unless it is known already; the answer."""
        known = self.known.get(key) if key and not self._forgetful else None
        if known is not None:
            self.note(name, mail_id, accepted=False)
            other = b'{"statusCode":409,"name":"invalid_idempotent_request","message":"another body"}'
            return known[1] if known[0] == body else _answer(409, other)
        self.note(name, mail_id, accepted=True)
        answer = _accepting(name)
        if key:
            self.known[key] = (body, answer)
        return answer

    def note(self, name: str, mail_id: str | None, *, accepted: bool) -> None:
        """Write down what was asked."""
        self.ledger.append(Request(time.time(), name, mail_id, accepted))


class _Connection(asyncio.Protocol):
    """One request after the other."""

    def __init__(self, provider: LoopbackProvider) -> None:
        self._provider, self._buffer, self._silent, self._halved = provider, bytearray(), False, False
        self._at_work = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        self._provider.connections.add(self)
        if self._provider.trap.reach("connection") is not None:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._silent = True
        self._provider.connections.discard(self)

    def abort(self) -> None:
        self._silent = True
        self._transport.abort()

    def close_if_idle(self) -> None:
        if not self._buffer and not self._at_work:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self._silent and self._advance():
            pass

    def _advance(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end])
        found = _LENGTH.search(head)
        length, there = int(found[1]) if found else 0, len(self._buffer) - end - 4
        name = PATHS.get(head.split(b" ", 2)[1].decode("latin-1"), "elsewhere")
        if 2 * there >= length and not self._halved:
            self._halved = True
            if self._provider.trap.reach("half") is not None:
                self._provider.note(name, None, accepted=False)
                self.abort()
                return False
        if there < length:
            return False
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        self._halved = False
        self._handle(name, _KEY.search(head), body)
        return True

    def _handle(self, name: str, key: re.Match[bytes] | None, body: bytes) -> None:
        provider, mail_id = self._provider, _mail_id(name, body)
        cut = provider.trap.reach("whole")
        if cut is False:
            provider.note(name, mail_id, accepted=False)
        else:
            answer = provider.take(name, mail_id, key and key[1], body)
        if cut is not None:
            self.abort()
            return
        self._at_work += 1
        asyncio.get_running_loop().call_later(provider.rng.uniform(0, SLOWEST), self._write, answer)

    def _write(self, answer: bytes) -> None:
        self._at_work -= 1
        if not self._silent:
            self._transport.write(answer)
            if self._provider.trap.reach("answer") is not None:
                self.abort()


def _mail_id(name: str, body: bytes) -> str | None:
    """Where each provider carries our id."""
    try:
        document: Any = orjson.loads(body)
        if name == "sendgrid":
            return str(document["personalizations"][0]["custom_args"]["mailsvc_id"])
        if name == "mandrill":
            return str(document["message"]["metadata"]["mailsvc_id"])
        return str(document["tags"][0]["value"])
    except (ValueError, LookupError, TypeError):
        return None


def _accepting(name: str) -> bytes:
    if name == "sendgrid":
        return _answer(202, b"")
    return _answer(200, _TAKEN if name == "mandrill" else orjson.dumps({"id": str(uuid.uuid4())}))


def _answer(status: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} Done\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
