"""`/events`: what happens, as it happens, as server-sent events. Who comes back hears first what moved meanwhile."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from .. import process
from ..access import Scope
from ..feed import Item
from ..model import Record, Status
from ..moves import Moved, Moves, Tried
from ..service import Service
from .base import Handler, rfc3339
from .email import query
from .problem import Problem, invalid
from .providers import rows
from .shapes import ID, STREAM, TEXT_ANY, Schema

RETRY = 2000  # milliseconds a browser waits before it connects again
STUCK = 30.0  # seconds that a listener may read nothing
LISTENERS = 64
MOST = 10_000  # mails that are told of after a break
OVERLAP = 10.0  # seconds before the last event that was heard from which on it is looked
KINDS = ("mail", "attempt", "provider")
MISSED = "missed"
_EVENT_ID = re.compile(r".{1,200}-\d{1,19}-(\d{12,14})", re.ASCII)
_KEYS = {"mail": "id", "attempt": "id", "provider": "name"}


class Events(Handler):
    """`/events`."""

    summary = "What happens, as it happens: server-sent events `mail`, `attempt` and `provider`"
    asks: ClassVar[dict[str, Schema]] = {
        "mail": ID | {"description": "Of this mail alone."},
        "event": TEXT_ANY | {"description": "Some of `mail`, `attempt` and `provider`, with commas between them."},
        "status": TEXT_ANY
        | {"description": "Of the events `mail`, those with one of these, with commas between them."},
    }
    gets_by_header: ClassVar[dict[str, Schema]] = {
        "Last-Event-ID": TEXT_ANY | {"description": "The last event that was heard: what has moved since comes first."}
    }
    gives: ClassVar = {"get": (200, {STREAM: {"type": "string"}})}
    fails: ClassVar = {"get": (404,)}
    heartbeat = 15.0  # seconds between comments, which keep proxies from closing the stream
    life = 3600.0  # seconds; then the listener connects again, and has to show that it still may
    listening = 0

    async def get(self) -> None:
        """The stream of everything, or of what is asked for. With `Last-Event-ID`, first of what was missed."""
        asked = query(self, "mail", "event", "status")
        mail_id = asked.get("mail")
        self.admit(Scope.ADMIN if mail_id is None else Scope.READ)
        if mail_id is not None:
            if not re.fullmatch(r"[0-9a-f-]{36}", mail_id):
                raise invalid("mail", "invalid", "must be the id of a mail")
            await self.service.mails.get(mail_id, self.key.sees)
        wanted = Wanted(_words(asked, "event", KINDS), _words(asked, "status", [*Status]))
        if Events.listening >= LISTENERS:
            words = f"{LISTENERS} listen already, which is the limit here."
            raise Problem(503, "too_many_listeners", words, headers={"Retry-After": "10"})
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")
        Events.listening += 1
        self._end = asyncio.create_task(self._until_the_end(), name="events end")
        try:
            await self._stream(mail_id, wanted)
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

    async def _stream(self, mail_id: str | None, wanted: Wanted) -> None:
        since = last_heard(self.request.headers.get("Last-Event-ID", ""), time.time())
        with self.service.feed.listen(mail_id) as news:
            await self.service.tuned()
            going_on = await self._say(f"retry: {RETRY}\n: what happens from here on\n\n")
            if going_on and since is not None:
                # What happens meanwhile waits in the queue, so that nothing lies between the two.
                missed = await self._missed(mail_id, since)
                going_on = await self._say(written(wanted.of(missed), self.service))
            while going_on:
                items = await self._hear(news)
                going_on = await self._say(written(wanted.of(items), self.service) if items else ": still here\n\n")

    async def _missed(self, mail_id: str | None, since: float) -> Sequence[Item]:
        """What has moved since a time, each mail and each attempt as it stands now, and how the providers stand."""
        if mail_id is not None:
            return told(_moves(await self.service.mails.get(mail_id), since))
        moves = await self.service.mails.moved(since, MOST)
        providers = [Item("provider", name, at=time.time()) for name in self.service.config.providers]
        return [*told(moves), *providers]

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


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a listener wants to hear of; empty: all."""

    kinds: Collection[str]
    statuses: Collection[str]

    def of(self, items: Iterable[Item]) -> list[Item]:
        """Those that it wants. That something is missing is for everybody."""
        return [item for item in items if item.kind == MISSED or self._wants(item)]

    def _wants(self, item: Item) -> bool:
        if self.kinds and item.kind not in self.kinds:
            return False
        return item.kind != "mail" or not self.statuses or item.data.get("status") in self.statuses


def last_heard(event_id: str, now: float) -> float | None:
    """From when on there may be news for who has heard this event; None for what is no event of ours.

    What an earlier event tells may be stored after that of a later one, and clocks of processes differ: so some is told
    twice.
    """
    found = _EVENT_ID.fullmatch(event_id)
    return min(int(found[1]) / 1000, now) - OVERLAP if found else None


def told(moves: Moves) -> list[Item]:
    """What has moved as it would have been told, without what was between. They have no number of their own."""
    items = [] if moves.whole else [Item(MISSED, "", {"before": rfc3339(moves.mails[0].at)}, at=moves.mails[0].at)]
    for mail in moves.mails:
        for attempt in mail.attempts:
            data = {"n": attempt.n, "provider": attempt.provider, "outcome": attempt.outcome}
            score = {} if attempt.outcome else {"score": attempt.score}
            items.append(Item("attempt", mail.id, data | score, at=mail.at))
        items.append(Item("mail", mail.id, {"status": mail.status}, at=mail.at))
    return items


def _moves(record: Record, since: float) -> Moves:
    """The same of one mail."""
    if record.updated_at < since:
        return Moves([], whole=True)
    attempts = [each for each in record.attempts if (each.ended_at or each.started_at) >= since]
    tried = [Tried(each.n, each.provider, each.outcome, each.score) for each in attempts]
    return Moves([Moved(record.id, record.status, record.updated_at, tried)], whole=True)


def _words(asked: Mapping[str, str], name: str, known: Sequence[str]) -> Collection[str]:
    words = asked[name].split(",") if name in asked else []
    if wrong := [word for word in words if word not in known]:
        raise invalid(name, "invalid_choice", f"has {wrong[0][:100]!r}, but must be some of: {', '.join(known)}")
    return words


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
    body = orjson.dumps(({_KEYS[item.kind]: item.subject} if item.kind in _KEYS else {}) | data).decode()
    return f"event: {item.kind}\nid: {process.name()}-{item.number}-{item.at * 1000:.0f}\ndata: {body}\n\n"
