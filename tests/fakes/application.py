"""An application that is told by callbacks: it keeps every request, verifies none, and answers as it is told to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Self

import orjson
from aiohttp import web
from standardwebhooks import Webhook


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and what was answered. `id` is the delivery's."""

    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    def verify(self, secret: str) -> None:
        """Raises WebhookVerificationError."""
        Webhook(secret).verify(self.body, self.headers)


class Application:
    """`async with Application() as application`: listens on `url`. `status` is what it answers; None: it hangs."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.status: int | None = 200
        self.headers: dict[str, str] = {}
        self._came = asyncio.Event()

    async def __aenter__(self) -> Self:
        server = web.Server(self._take)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hooks"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def taken(self) -> list[Call]:
        """Those that were answered 2xx."""
        return [call for call in self.calls if 200 <= call.status < 300]

    async def told(self, number: int) -> list[Call]:
        """The calls, once so many were taken."""
        async with asyncio.timeout(30):
            while len(self.taken) < number:
                self._came.clear()
                await self._came.wait()
        return self.taken

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        status = self.status
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append(Call(headers, body, status or 0))
        self._came.set()
        while self.status is None:
            await asyncio.sleep(0.05)
        return web.Response(status=status or 200, headers=self.headers)
