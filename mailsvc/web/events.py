"""`/events`: what happens, as it happens, as server-sent events. Nothing is kept: who reconnects looks again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import orjson

from .. import process
from ..access import Scope
from ..feed import Item
from ..service import Service
from .base import Handler
from .problem import Problem, invalid
from .providers import rows
from .shapes import ID, STREAM, Schema

RETRY = 2000  # milliseconds a browser waits before it connects again
STUCK = 30.0  # seconds that a listener may read nothing
LISTENERS = 64
_KEYS = {"mail": "id", "attempt": "id", "provider": "name"}


class Events(Handler):
    """`/events`."""

    summary = "What happens, as it happens: server-sent events `mail`, `attempt` and `provider`"
    asks: ClassVar[dict[str, Schema]] = {"mail": ID}
    gives: ClassVar = {"get": (200, {STREAM: {"type": "string"}})}
    fails: ClassVar = {"get": (404,)}
    heartbeat = 15.0  # seconds between comments, which keep proxies from closing the stream
    life = 3600.0  # seconds; then the listener connects again, and has to show that it still may
    listening = 0

    async def get(self) -> None:
        """The stream of everything; with `?mail=ID`, of one mail."""
        mail_id = self.get_query_argument("mail", None)
        self.admit(Scope.ADMIN if mail_id is None else Scope.READ)
        if mail_id is not None:
            if not re.fullmatch(r"[0-9a-f-]{36}", mail_id):
                raise invalid("mail", "invalid", "must be the id of a mail")
            await self.service.mails.get(mail_id, self.key.sees)
        if Events.listening >= LISTENERS:
            words = f"{LISTENERS} listen already, which is the limit here."
            raise Problem(503, "too_many_listeners", words, headers={"Retry-After": "10"})
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")
        Events.listening += 1
        self._end = asyncio.create_task(self._until_the_end(), name="events end")
        try:
            await self._stream(mail_id)
        finally:
            Events.listening -= 1
            self._end.cancel()

    def on_connection_close(self) -> None:
        """Called by Tornado when the listener has gone away."""
        super().on_connection_close()
        self._gone.set()

    async def prepare(self) -> None:
        """Called by Tornado before the method."""
        self._gone = asyncio.Event()

    async def _until_the_end(self) -> None:
        """Until the process stops, the listener is gone, or it has listened for long enough."""
        waits = [asyncio.create_task(event.wait()) for event in (self.service.stopping, self._gone)]
        try:
            await asyncio.wait(waits, timeout=self.life, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _stream(self, mail_id: str | None) -> None:
        with self.service.feed.listen(mail_id) as news:
            await self.service.tuned()
            going_on = await self._say(f"retry: {RETRY}\n: what happens from here on\n\n")
            while going_on:
                items = await self._hear(news)
                going_on = await self._say(written(items, self.service) if items else ": still here\n\n")

    async def _hear(self, news: asyncio.Queue[Item]) -> Sequence[Item]:
        """What has happened, or nothing when it is time for a heartbeat or the end."""
        heard = asyncio.create_task(news.get(), name="events news")
        await asyncio.wait((heard, self._end), timeout=self.heartbeat, return_when=asyncio.FIRST_COMPLETED)
        if not heard.done():
            heard.cancel()
            return []
        return [heard.result(), *(news.get_nowait() for _ in range(news.qsize()))]

    async def _say(self, text: str) -> bool:
        """Write it; False when that was the last. A listener that reads nothing is cut off."""
        if self._end.done():
            return False
        self.write(text)
        out = asyncio.ensure_future(self.flush())
        await asyncio.wait((out, self._end), timeout=STUCK, return_when=asyncio.FIRST_COMPLETED)
        if out.done():
            return out.exception() is None
        self.detach().close()
        self.on_finish()
        return False


def written(items: Sequence[Item], service: Service) -> str:
    """Events as they go over the line; of each provider the last one alone, with all there is to know about it."""
    last = {item.subject: item for item in items if item.kind == "provider"}
    known = {row["name"]: row for row in rows(service)} if last else {}
    text = ""
    for item in items:
        if item.kind != "provider":
            text += _event(item, item.data)
        elif last[item.subject] is item:
            text += _event(item, known[item.subject])
    return text


def _event(item: Item, data: dict[str, Any]) -> str:
    body = orjson.dumps({_KEYS[item.kind]: item.subject} | data).decode()
    return f"event: {item.kind}\nid: {process.name()}-{item.number}\ndata: {body}\n\n"
