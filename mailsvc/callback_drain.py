"""The drain of callbacks: claims the notices that are due, posts them, and writes down what came of it.

A notice is told at least once. It is told twice when the process ends, or the database fails, between the answer and
the note of it; both have the same id.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from .backoff import next_due
from .batcher import Batcher
from .callback import LADDER, Callback, Ending, Notice, State, Try, body, headers
from .callbacks import Callbacks
from .errors import NotSent, SendError, StorageUnavailable
from .wire import Answer, HttpRequest, Response, retry_after

HEARTBEAT = 0.5  # seconds between looks at the outbox when no bell rings; on the monotonic clock
TIMEOUT = 15.0  # seconds a callback has to answer
LEASE = 60.0  # seconds; longer than a try takes, so that nobody else makes it meanwhile
EACH, FIRST = 32, 4  # tries in flight: of one callback, of one that is not known yet
BATCH = 256  # results in one transaction
TIDY_EVERY = 60.0  # seconds
LONGEST_WAIT = 86_400.0  # seconds that a callback may ask to be left alone for

log = structlog.get_logger("mailsvc.callbacks")


class CallbackDrain:
    """Owns the tries in flight, `room` of them at a time. Times for the outbox come from `clock`, Unix seconds; `keep`
    is how long a log is kept.

    `outcomes` counts tries: `delivered`, `failed` (it is tried again) and `given_up`.
    """

    def __init__(
        self,
        callbacks: Callbacks,
        fetch: Callable[[HttpRequest], Awaitable[Answer]],
        rng: random.Random,
        clock: Callable[[], float] = time.time,
        keep: float = 30 * 86_400.0,
        room: int = 64,
    ) -> None:
        self._callbacks, self._store, self._fetch = callbacks, callbacks.store, fetch
        self._rng, self._clock, self._keep, self._room = rng, clock, keep, room
        self._endings = Batcher(self._end, BATCH, "callback tries")
        self._bell = asyncio.Event()
        self._running: dict[str, tuple[str, asyncio.Task[None]]] = {}  # by the notice's id, with the callback's
        self._rooms: dict[str, int] = {}
        self._loop: asyncio.Task[None] | None = None
        self._stopping = False
        self.outcomes: Counter[str] = Counter({"delivered": 0, "failed": 0, "given_up": 0})
        callbacks.wake = self.wake

    def wake(self) -> None:
        """Something may be due."""
        self._bell.set()

    def start(self) -> None:
        """Begin to drain."""
        self._loop = asyncio.create_task(self._run(), name="callback drain")

    async def stop(self, grace: float) -> None:
        """Start nothing new, let what runs finish for `grace` seconds, give back the rest."""
        self._stopping = True
        self.wake()
        if self._loop:
            await self._loop
        tasks = [task for _, task in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        left = list(self._running)
        for _, task in list(self._running.values()):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._endings.close()
        with suppress(StorageUnavailable):
            if left:
                await self._store.release(left, self._clock())

    async def _run(self) -> None:
        """Fill the free room, wait for a bell, again. Trouble with the store only delays it."""
        tidied, more = time.monotonic(), False
        while not self._stopping:
            self._bell.clear()
            try:
                await self._callbacks.look()
                await self._fill()
                if more or time.monotonic() - tidied >= TIDY_EVERY:
                    more, tidied = await self._store.forget(self._clock() - self._keep), time.monotonic()
            except StorageUnavailable as error:
                log.error("storage_trouble", error=str(error))
            except Exception:  # whatever it was, the loop goes on: it would never be begun again
                log.exception("callback_drain_failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), HEARTBEAT)

    async def _fill(self) -> None:
        rooms = self._free_rooms()
        if not rooms:
            return
        left: list[str] = []
        for notice in await self._store.claim(rooms, self._clock(), LEASE):
            callback = self._callbacks.known.get(notice.callback)
            if notice.id in self._running:
                continue  # its lease was over before its result was written down
            if callback is None or self._stopping:
                left.append(notice.id)
                continue
            task = asyncio.create_task(self._tell(callback, notice), name=f"tell {notice.id}")
            self._running[notice.id] = (callback.id, task)
        if left:
            await self._store.release(left, self._clock())

    def _free_rooms(self) -> Mapping[str, int]:
        """How many more tries of each callback may begin, in turns, so that none takes all the room."""
        left = self._room - len(self._running)
        taken = Counter(callback_id for callback_id, _ in self._running.values())
        free = {
            each.id: self._rooms.get(each.id, FIRST) - taken[each.id]
            for each in self._callbacks.known.values()
            if each.disabled_at is None
        }
        wanting = sorted((room, callback_id) for callback_id, room in free.items() if room > 0)
        if len(wanting) > left:  # by chance, since who has nothing to be told takes part as well
            return dict.fromkeys((callback_id for _, callback_id in self._rng.sample(wanting, left)), 1)
        found: dict[str, int] = {}
        for place, (room, callback_id) in enumerate(wanting):
            share = min(room, left // (len(wanting) - place))
            left -= share
            if share:
                found[callback_id] = share
        return found

    async def _tell(self, callback: Callback, notice: Notice) -> None:
        try:
            ending = await self._try(callback, notice)
            self._learn(ending)
            await self._endings(ending)
        except StorageUnavailable as error:
            log.error("storage_trouble", delivery=notice.id, error=str(error))
        except Exception:  # one notice must not end the task without a word; it is claimed again after its lease
            log.exception("callback_failed", delivery=notice.id)
        finally:
            del self._running[notice.id]
            self.wake()

    async def _try(self, callback: Callback, notice: Notice) -> Ending:
        """Post the notice, and judge the answer."""
        at, began = self._clock(), time.monotonic()
        content = body(notice)
        answer: Answer | None = None
        try:
            answer = await self._fetch(HttpRequest(callback.url, headers(callback, notice, content, at), content))
            error = _complaint(answer)
        except SendError as failure:
            error = str(failure) if isinstance(failure, NotSent) else f"{failure} to the request"
        took = time.monotonic() - began
        status = answer.status if isinstance(answer, Response) else None
        done = Try(notice.tries + 1, at, took, status, error)
        if error is None:
            return Ending(notice, done, State.DELIVERED, None)
        if notice.rung >= len(LADDER):
            return Ending(notice, done, State.FAILED, None, gone=status == 410)
        wait = (retry_after(answer) or 0.0) if isinstance(answer, Response) else 0.0
        due = next_due(notice.rung + 1, self._clock(), self._rng, LADDER, min(wait, LONGEST_WAIT))
        return Ending(notice, done, State.WAITING, due, gone=status == 410)

    def _learn(self, ending: Ending) -> None:
        """A callback that takes things gets more of them at a time, one that does not gets fewer."""
        callback_id, good = ending.notice.callback, ending.done.error is None
        room = self._rooms.get(callback_id, FIRST)
        self._rooms[callback_id] = min(EACH, room + 1) if good else max(1, room // 2)
        given_up = ending.state is State.FAILED
        self.outcomes["delivered" if good else "given_up" if given_up else "failed"] += 1
        if not good:
            log.warning(
                "callback_not_delivered",
                callback=callback_id,
                delivery=ending.notice.id,
                n=ending.done.n,
                error=ending.done.error,
                given_up=given_up,
            )

    async def _end(self, endings: Sequence[Ending]) -> Sequence[None]:
        for callback_id in await self._store.end(endings):
            log.warning("callback_disabled", callback=callback_id, failing=True)
        if any(ending.done.error is not None for ending in endings):
            await self._callbacks.load()
        return [None] * len(endings)


def _complaint(answer: Answer) -> str | None:
    """Why an answer does not count as delivery, in words; None if it does."""
    status = answer.status if isinstance(answer, Response) else 0
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"answered {status}, a redirect, which is never followed"
    return f"answered {status}"
