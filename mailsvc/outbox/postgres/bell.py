"""The bell between processes: LISTEN and NOTIFY on a connection of its own. A hint; it may get lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import asyncpg
import orjson
import structlog

from ...feed import Feed
from ..base import Change
from .server import ANSWER, CONNECT

CHANNEL, NEWS = "mailsvc", "mailsvc_news"
APART = 0.1  # seconds between two rings, however much there is to say
PAUSE = 1.0  # seconds between two tries to connect
LONGEST = 7000  # bytes of a notification; PostgreSQL takes less than 8000
MOST = 5000  # news that wait to be passed on; more are lost, the oldest first
TUNING = 2.0  # seconds to wait at most until others are heard
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
        self._feed = Feed()
        self._told: deque[bytes] = deque(maxlen=MOST)
        self._tuned = asyncio.Event()  # the news of others are heard
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

    def relay(self, feed: Feed) -> None:
        """Tell the others what this feed says of mails and attempts, and the feed what they say, while it is heard."""
        self._feed = feed
        feed.relay, feed.joined = self._tell, self._to_ring.set

    async def tuned(self) -> None:
        """Wait, but not for long, until the news of others are heard."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tuned.wait(), TUNING)

    def _tell(self, kind: str, subject: str, data: dict[str, Any]) -> None:
        if kind != "provider":  # which each process sees in its own way
            self._told.append(orjson.dumps([kind, subject, data]))
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
                if connection.is_closed():
                    break
                await self._tune(connection)
                if self._news:
                    said, self._news = self._news, set()
                    await connection.execute(RING, CHANNEL, [*said])
                if self._told:
                    told, self._told = self._told, deque(maxlen=MOST)
                    await connection.execute(RING, NEWS, letters(told))
                await asyncio.sleep(APART)
        finally:
            self._tuned.clear()
            connection.terminate()

    async def _tune(self, connection: asyncpg.Connection) -> None:
        """Hear the news of others while somebody here wants to: of hundreds of mails a second they are many."""
        if self._feed.heard and not self._tuned.is_set():
            await connection.add_listener(NEWS, self._pass_on)
            self._tuned.set()
        elif not self._feed.heard and self._tuned.is_set():
            self._tuned.clear()
            await connection.remove_listener(NEWS, self._pass_on)

    def _pass_on(self, connection: asyncpg.Connection, pid: int, _: str, text: str) -> None:
        if pid != connection.get_server_pid():
            for kind, subject, data in orjson.loads(text):
                self._feed.pass_on(kind, subject, data)

    def _hear(self, word: str) -> None:
        with suppress(ValueError):  # a newer version may have more to say
            self._heard(Change(word))


def letters(told: Iterable[bytes]) -> list[str]:
    """News as JSON arrays, as many in each as a notification may hold."""
    found, letter, length = list[str](), list[bytes](), 0
    for news in told:
        if letter and length + len(news) > LONGEST:
            found.append(f"[{b','.join(letter).decode()}]")
            letter, length = [], 0
        letter.append(news)
        length += len(news) + 1
    return [*found, f"[{b','.join(letter).decode()}]"]
