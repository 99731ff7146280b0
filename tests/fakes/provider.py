"""A fake e-mail provider on 127.0.0.1: every provider's send endpoint on one port, faults on demand, a ledger."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import orjson

from .connection import Connection, HttpRequest
from .endpoints import ENDPOINTS, JSON, Endpoint, Reply, Seen
from .faults import Fault, Faults
from .keys import Keys
from .ledger import Entry, Ledger
from .tls import Certificate


class FakeProvider:
    """`async with FakeProvider(…) as fake`: accepts everything until told otherwise.

    `keys` maps providers to the API key they accept (default: any). With a certificate it speaks TLS. The ledger is
    kept in memory, and in a file if it has a path. `dedupes`: idempotency keys are honoured where the provider does.
    `held` is a bound socket, to listen on a port that was its own before.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        ledger: Path | None = None,
        fsync: bool = False,
        certificate: Certificate | None = None,
        keys: Mapping[str, str] | None = None,
        seed: int = 0,
        dedupes: bool = True,
        held: socket.socket | None = None,
    ) -> None:
        self.keys = Keys(honoured=dedupes)
        self._held = held
        self.port = held.getsockname()[1] if held else port
        self.certificate, self.faults = certificate, Faults(seed)
        self.book = Ledger(ledger, fsync=fsync)
        self.endpoints: list[Endpoint] = [kind((keys or {}).get(kind.name)) for kind in ENDPOINTS]
        self.trapped = 0  # requests that followed a redirect
        self.opened = 0  # connections so far
        self.searches, self.searchable = 0, True
        self.over = False
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._waiting: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self),
            *(() if self._held else ("127.0.0.1", self.port)),
            sock=self._held,
            ssl=self.certificate.server_context() if self.certificate else None,
            backlog=1024,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self.over = True
        self._server.close()
        for connection in list(self.connections):
            connection.abort()
        await self._server.wait_closed()
        for _ in range(10):
            await asyncio.sleep(0)  # the turns of the loop in which connections end that never shook hands
        self.book.close()

    @property
    def url(self) -> str:
        """What to set a provider's URL to."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    @property
    def ledger(self) -> list[Entry]:
        """Everything that was asked, oldest first."""
        return self.book.entries

    def accepted(self, mail_id: str) -> int:
        """How many times this mail was taken."""
        return sum(entry.accepted and entry.mail_id == mail_id for entry in self.book.entries)

    async def until(self, met: Callable[[], bool]) -> None:
        """Wait for something that comes with a request or with the end of a connection."""
        while not met():
            self._waiting.append(asyncio.get_running_loop().create_future())
            await self._waiting[-1]

    def tell(self) -> None:
        """Something has changed."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def fault(self, kind: str, **details: Any) -> Fault:
        """Switch a fault on."""
        fault = Fault(kind, **details)
        self.faults.add(fault)
        return fault

    def clear(self) -> None:
        """Switch all faults off."""
        self.faults.clear()

    # What a connection asks.

    def endpoint(self, path: str) -> Endpoint | None:
        return next((endpoint for endpoint in self.endpoints if endpoint.path.search(path)), None)

    def see(self, endpoint: Endpoint | None, request: HttpRequest) -> Seen:
        """What this provider makes of a request."""
        if request.path == "/messages/outbound" and request.method == "GET":
            return Seen(self._search())
        if endpoint is None:
            self.trapped += request.path.startswith("/trap")
            return Seen(Reply(404, JSON, b'{"message":"no such path"}'))
        if request.method != "POST":
            return Seen(endpoint.error(405))
        return self.keys.check(endpoint, endpoint.read(request), request.body)

    def _search(self) -> Reply:
        """Postmark's search: every mail that it took, whatever the filter."""
        self.searches += 1
        if not self.searchable:
            return Reply(401, JSON, b'{"ErrorCode":10,"Message":"no"}')
        taken = [entry.mail_id for entry in self.book.entries if entry.accepted and entry.mail_id]
        found = [{"MessageID": f"of {mail_id}", "Metadata": {"mailsvc_id": mail_id}} for mail_id in taken]
        return Reply(200, JSON, orjson.dumps({"TotalCount": len(found), "Messages": found}))

    def note(self, provider: str | None, seen: Seen, body: bytes, answer: str, *, accepted: bool) -> None:
        digest = hashlib.sha256(body).hexdigest()
        if accepted:
            self.keys.take(seen, body)
        self.book.add(Entry(time.time(), provider, seen.mail_id, digest, len(body), answer, accepted, seen.key))
        self.tell()

    def control(self, request: HttpRequest) -> Reply:
        """`/_fault` and `/_ledger`."""
        if request.path == "/_ledger" and request.method == "GET":
            return Reply(200, {"Content-Type": "application/x-ndjson"}, self.book.lines())
        if request.path != "/_fault":
            return Reply(404, JSON, b'{"message":"POST, GET or DELETE /_fault; GET /_ledger"}')
        if request.method == "DELETE":
            self.clear()
        elif request.method == "POST":
            try:
                self.fault(**orjson.loads(request.body))
            except (TypeError, ValueError) as error:
                return Reply(400, JSON, orjson.dumps({"message": str(error)}))
        return Reply(200, JSON, orjson.dumps([asdict(fault) for fault in self.faults.on()]))
