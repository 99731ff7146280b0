"""One connection to the fake provider: HTTP/1.1 as far as clients of providers speak it, and every way to break it."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from signal import SIGKILL
from typing import TYPE_CHECKING

from .endpoints import Endpoint, Reply, Seen
from .faults import Fault

if TYPE_CHECKING:
    from .provider import FakeProvider

PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class HttpRequest:
    """A request whose body may still be on its way. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


class Connection(asyncio.Protocol):
    """Reads requests one after the other, and does what the fake says."""

    def __init__(self, fake: FakeProvider) -> None:
        self._fake = fake
        self._buffer = bytearray()
        self._request: HttpRequest | None = None
        self._endpoint: Endpoint | None = None
        self._fault: Fault | None = None
        self._silent = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._fake.opened += 1
        self._fake.connections.add(self)
        if self._fake.over:  # accepted in the last instant
            self.abort()
            return
        fault = self._fake.faults.strike(None, accept=True)
        if fault is not None:
            self._act(fault)

    def connection_lost(self, error: Exception | None) -> None:
        self._fake.connections.discard(self)
        self._silent = True
        self._fake.tell()

    def abort(self) -> None:
        self._silent = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self._silent and self._advance():
            pass

    def _advance(self) -> bool:
        """Make one step; False when more bytes are needed."""
        if self._request is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._begin(bytes(self._buffer[:end]).decode("latin-1"))
            del self._buffer[: end + 4]
            return True
        body, used, expected = _take_body(self._request.headers, self._buffer)
        if self._strikes_at("half") and expected is not None and 2 * len(self._buffer) >= expected:
            self._strike(self._buffer)
            return not self._silent
        if body is None:
            return False
        del self._buffer[:used]
        self._request.body = body
        self._answer(self._request)
        self._request = self._fault = None
        return True

    def _begin(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        self._request = HttpRequest(method, path.partition("?")[0], headers)
        if path.startswith("/_"):
            self._endpoint = None
            return
        self._endpoint = self._fake.endpoint(self._request.path)
        if self._endpoint is not None:
            self._fault = self._fake.faults.strike(self._endpoint.name)
        if headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._strikes_at("headers"):
            self._strike(b"")

    def _strikes_at(self, step: str) -> bool:
        return self._fault is not None and self._fault.at == step

    def _strike(self, body: bytes | bytearray) -> None:
        """A fault in the middle of a request: the mail is not accepted, unless the fault says so."""
        assert self._fault is not None
        fault, self._fault = self._fault, None
        self._note(Seen(Reply(0)), bytes(body), fault.kind, accepted=bool(fault.accepted))
        self._act(fault)

    def _answer(self, request: HttpRequest) -> None:
        if request.path.startswith("/_"):
            self._write(self._fake.control(request))
            return
        seen = self._fake.see(self._endpoint, request)
        fault = self._fault
        if fault is None:
            name = f"{seen.reply.status}, replayed" if seen.replayed else str(seen.reply.status)
            self._note(seen, request.body, name, accepted=_is_good(seen.reply))
            self._write(seen.reply)
        elif fault.at == "answer":
            self._note(seen, request.body, f"{seen.reply.status}, {fault.kind}", accepted=_is_good(seen.reply))
            self._write(seen.reply)
            self._act(fault)
        else:
            self._answer_faultily(fault, seen, request.body)
        if request.headers.get("connection", "").lower() == "close" and not self._silent:
            self._transport.close()

    def _answer_faultily(self, fault: Fault, seen: Seen, body: bytes) -> None:
        reply = self._faulty_reply(fault, seen.reply)
        name = (
            str(reply.status)
            if fault.kind == "answer"
            else f"{reply.status}, {fault.kind}"
            if reply.status
            else fault.kind
        )
        accepted = _is_good(reply) if fault.accepted is None else fault.accepted
        self._note(seen, body, name, accepted=accepted)
        loop = asyncio.get_running_loop()
        if fault.kind == "delay":
            self._fake.keys.begin(seen)
            loop.call_later(fault.seconds, self._write_late, seen, reply)
        elif fault.kind == "drip":
            self._drip(_encode(reply), fault.seconds)
        elif fault.kind == "cut":
            self._cut(fault, reply)
        elif fault.kind == "garbage":
            self._transport.write(b"SSH-2.0-OpenSSH_9.2\r\nnothing of the kind\r\n\r\n")
            self._transport.close()
        elif reply.status:
            self._write(reply)
        else:
            self._act(fault)

    def _faulty_reply(self, fault: Fault, usual: Reply) -> Reply:
        """What is answered; status 0 where nothing is."""
        if fault.kind == "answer":
            assert self._endpoint is not None
            own = self._endpoint.error(fault.status)
            body = own.body if fault.body is None else fault.body.encode()
            return Reply(fault.status, {**own.headers, **fault.headers}, body)
        if fault.kind in ("delay", "cut", "drip"):
            return usual
        if fault.kind == "huge":
            return Reply(usual.status, usual.headers, b"x" * fault.size)
        if fault.kind == "gzip":
            packed = gzip.compress(b"0" * fault.size)
            return Reply(usual.status, {**usual.headers, "Content-Encoding": "gzip"}, packed)
        if fault.kind == "flood":
            return Reply(usual.status, {**usual.headers, "X-Flood": "x" * fault.size}, usual.body)
        if fault.kind == "redirect":
            return Reply(302, {"Location": fault.location})
        return Reply(0)

    def _act(self, fault: Fault) -> None:
        """Do to the connection, or to the process, what the fault says. After it nothing is read or said here, unless
        the process may go on: then it is served as usual.
        """
        self._silent = fault.kind != "kill" or (fault.signal == SIGKILL and not fault.accepted)
        if fault.kind == "kill":
            os.kill(fault.pid, fault.signal)
        elif fault.kind == "reset":
            self._reset()
        elif fault.kind == "close":
            self._transport.close()

    def _reset(self) -> None:
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _cut(self, fault: Fault, reply: Reply) -> None:
        """The head and a few bytes of a longer body."""
        whole = Reply(reply.status, reply.headers, reply.body or b" " * 20)
        encoded = _encode(whole)
        self._transport.write(encoded[: len(encoded) - len(whole.body) + 5])
        self._silent = True
        if fault.then != "hang":
            self._act(Fault(fault.then))

    def _drip(self, rest: bytes, seconds: float) -> None:
        if not rest or self._silent:
            return
        self._transport.write(rest[:1])
        asyncio.get_running_loop().call_later(seconds, self._drip, rest[1:], seconds)

    def _write_late(self, seen: Seen, reply: Reply) -> None:
        self._fake.keys.end(seen)
        self._write(reply)

    def _write(self, reply: Reply) -> None:
        if not self._silent:
            self._transport.write(_encode(reply))

    def _note(self, seen: Seen, body: bytes, answer: str, *, accepted: bool) -> None:
        provider = self._endpoint.name if self._endpoint else None
        self._fake.note(provider, seen, body, answer, accepted=accepted and not seen.replayed)


def _is_good(reply: Reply) -> bool:
    return 200 <= reply.status < 300


def _encode(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {PHRASES.get(reply.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    lines.append(f"Content-Length: {len(reply.body)}\r\n\r\n")
    return "\r\n".join(lines).encode("latin-1") + reply.body


def _take_body(headers: Mapping[str, str], buffer: bytearray) -> tuple[bytes | None, int, int | None]:
    """The body if it is complete, the bytes it takes up, and the bytes expected if that is known."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body, used = _take_chunks(buffer)
        return body, used, None
    length = int(headers.get("content-length", "0"))
    return (bytes(buffer[:length]), length, length) if len(buffer) >= length else (None, 0, length)


def _take_chunks(buffer: bytearray) -> tuple[bytes | None, int]:
    body, place = bytearray(), 0
    while (end := buffer.find(b"\r\n", place)) >= 0:
        size = int(bytes(buffer[place:end]).partition(b";")[0], 16)
        place = end + 2 + size + 2
        if len(buffer) < place:
            return None, 0
        if size == 0:
            return bytes(body), place
        body += buffer[end + 2 : end + 2 + size]
    return None, 0
