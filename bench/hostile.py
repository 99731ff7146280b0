"""Hostile requests, one after the other over each of N connections: `python -m bench.hostile PORT CLIENTS SECONDS`.

They are those of the tests' corpus, and markdown that nests deep; prints how many were answered, by status.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from tests.e2e.corpus import Case, corpus, mail

NESTED = [mail(f"nested {mark!r}", content=mark * 100_000) for mark in ("> ", "- ", "*a _b ", "[")]


def written(case: Case, port: int) -> bytes:
    """A request as it goes over the line."""
    body = case.body or b""
    headers = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(body))} | case.headers
    lines = [f"{case.method} {case.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


async def client(port: int, requests: Iterator[bytes], until: float, statuses: Counter[int]) -> None:
    """One client, which connects again when it is thrown out."""
    while time.perf_counter() < until:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while time.perf_counter() < until:
                writer.write(next(requests))
                head = await reader.readuntil(b"\r\n\r\n")
                statuses[int(head[9:12])] += 1
                _, found, length = head.lower().partition(b"content-length:")
                await reader.readexactly(int(length.split(b"\r\n", 1)[0]) if found else 0)
        writer.close()


async def attack(port: int, clients: int, seconds: float) -> dict[str, object]:
    """All of them for so long. What is answered to HEAD has no body, and is left out."""
    cases = [case for case in (*corpus(), *NESTED) if case.method != "HEAD"]
    requests = itertools.cycle([written(case, port) for case in cases])
    statuses: Counter[int] = Counter()
    until = time.perf_counter() + seconds
    await asyncio.gather(*(client(port, requests, until, statuses) for _ in range(clients)))
    return {"answers": statuses.total(), "statuses": dict(statuses)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(attack(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))))
