"""The bell between processes: LISTEN and NOTIFY on a connection of its own. A hint; it may get lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import asyncpg
import structlog

from ..base import Change
from .server import ANSWER, CONNECT

CHANNEL = "mailsvc"
APART = 0.1  # seconds between two rings, however much there is to say
PAUSE = 1.0  # seconds between two tries to connect
NAME = {"application_name": "mailsvc bell"}
# PostgreSQL lets those who ring commit one after the other. So no mail's commit rings itself, and a ring is not synced.
CARELESS = "SET synchronous_commit = off"
RING = "SELECT pg_notify($1, topic) FROM unnest($2::text[]) AS topic"

log = structlog.get_logger("mailsvc.outbox")


class Bell:
    """Tells other processes what has changed, and `heard` what they have. Connects when somebody listens."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._heard: Callable[[Change], None] = lambda news: None
        self._news: set[Change] = set()
        self._to_ring = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def listen(self, heard: Callable[[Change], None]) -> None:
        """Call `heard` whenever another process has rung."""
        self._heard = heard
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="outbox bell")

    def ring(self, news: Change) -> None:
        """Tell the others, soon. Waits for nothing."""
        self._news.add(news)
        self._to_ring.set()

    async def close(self) -> None:
        """Fall silent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                connection = await asyncpg.connect(
                    self._url, timeout=CONNECT, command_timeout=ANSWER, server_settings=NAME
                )
            except Exception as error:
                log.debug("bell_waits", error=type(error).__name__)
            else:
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    await self._serve(connection)
            await asyncio.sleep(PAUSE)

    async def _serve(self, connection: asyncpg.Connection) -> None:
        """Until the connection ends."""
        try:
            own = connection.get_server_pid()
            await connection.execute(CARELESS)
            await connection.add_listener(CHANNEL, lambda _, pid, __, word: self._hear(word) if pid != own else None)
            connection.add_termination_listener(lambda _: self._to_ring.set())
            for missed in Change:
                self._heard(missed)
            while not connection.is_closed():
                await self._to_ring.wait()
                self._to_ring.clear()
                if self._news and not connection.is_closed():
                    said, self._news = self._news, set()
                    await connection.execute(RING, CHANNEL, [*said])
                await asyncio.sleep(APART)
        finally:
            connection.terminate()

    def _hear(self, word: str) -> None:
        with suppress(ValueError):  # a newer version may have more to say
            self._heard(Change(word))
