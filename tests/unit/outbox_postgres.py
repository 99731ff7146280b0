"""What the tests of the outbox on PostgreSQL share: an open outbox, and a wire to the server that can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self
from urllib.parse import urlsplit

import asyncpg

from mailsvc.outbox.postgres import PostgresOutbox
from tests.postgres import PostgresServer


@asynccontextmanager
async def opened(url: str, **how: Any) -> AsyncIterator[PostgresOutbox]:
    """An outbox on this database, of one process."""
    outbox = await PostgresOutbox.open(url, **how)
    try:
        yield outbox
    finally:
        await outbox.close()


@asynccontextmanager
async def session(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Another program's connection to the same database."""
    connection = await asyncpg.connect(url, server_settings={"search_path": "mailsvc"})
    try:
        yield connection
    finally:
        await connection.close()


class Wire:
    """`async with Wire(server) as wire`: what connects to `wire.url(database)` gets to the server.

    `cut_answers` and `cut_requests`: how many of them are swallowed from now on, and their connection with them.
    `down`: nobody gets through any more.
    """

    def __init__(self, server: PostgresServer) -> None:
        self.cut_answers = self.cut_requests = 0
        self.down = False
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.wait_closed()

    def url(self, url: str) -> str:
        """The same database, by this wire."""
        port = self._listener.sockets[0].getsockname()[1]
        return f"postgres://postgres@127.0.0.1:{port}{urlsplit(url).path}"

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far = None
        with suppress(OSError, asyncio.CancelledError):
            if not self.down:
                far_reader, far = await asyncio.open_unix_connection(str(self._server.socket))
                pumps = [
                    asyncio.create_task(self._requests(reader, far)),
                    asyncio.create_task(self._answers(far_reader, writer)),
                ]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
        for end in filter(None, (writer, far)):
            end.close()
        self._tasks.discard(task)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.down or self.cut_requests:
                self.cut_requests = max(0, self.cut_requests - 1)
                return
            writer.write(data)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.down or self.cut_answers:
                self.cut_answers = max(0, self.cut_answers - 1)
                return
            writer.write(data)
