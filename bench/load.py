"""A load generator on plain sockets: N clients, each one request after the other over a kept connection.

`python -m bench.load PORT CLIENTS (--seconds S | --mails N)` prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter

TEXT = "Your order 4711 has left our house and will reach you on Friday. Thank you for buying from us, **Ann**.\n\n"
MAIL = {"to": "ann@example.com", "to_name": "Ann", "subject": "Your order has left", "content": (TEXT * 20)[:2000]}


class Client(asyncio.Protocol):
    """One client. `left` is a shared count of requests to be made."""

    def __init__(self, request: bytes, run: Run) -> None:
        self.request, self.run, self.buffer, self.sent_at = request, run, b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        if self.run.over():
            self.transport.close()
            return
        self.run.left -= 1
        self.sent_at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) >= length:
            self.run.note(int(head[9:12]), time.perf_counter() - self.sent_at)
            self.buffer = b""
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.gone()


class Run:
    """What all clients of a run share."""

    def __init__(self, clients: int, seconds: float, mails: int) -> None:
        self.clients, self.left, self.deadline = clients, mails, time.perf_counter() + seconds
        self.statuses: Counter[int] = Counter()
        self.took: list[float] = []
        self.ended = asyncio.Event()

    def over(self) -> bool:
        return self.left <= 0 or time.perf_counter() >= self.deadline

    def note(self, status: int, took: float) -> None:
        self.statuses[status] += 1
        self.took.append(took)

    def gone(self) -> None:
        self.clients -= 1
        if not self.clients:
            self.ended.set()


async def load(port: int, clients: int, seconds: float, mails: int) -> dict[str, object]:
    body = json.dumps(MAIL).encode()
    head = f"POST /email HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    run, loop, start = Run(clients, seconds, mails), asyncio.get_running_loop(), time.perf_counter()
    for _ in range(clients):
        await loop.create_connection(lambda: Client(request, run), "127.0.0.1", port)
    await run.ended.wait()
    elapsed, took = time.perf_counter() - start, sorted(run.took)
    return {
        "answers": len(took),
        "seconds": elapsed,
        "per_second": len(took) / elapsed,
        "p50_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[int(len(took) * 0.99)] * 1000,
        "statuses": dict(run.statuses),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("clients", type=int)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--mails", type=int, default=10**9)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(load(options.port, options.clients, options.seconds, options.mails))))
