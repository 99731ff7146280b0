"""The callbacks of a running service: kept in the outbox, known in memory, looked after by an administrator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from .callback import MAX_SECRETS, TEST, Backlog, Callback, Replay, Secret, State, Told, new_callback, new_secret
from .errors import Conflict, FieldFault, InvalidMail, NotFound
from .guard import Guard
from .outbox.base import Outbox

PATIENT, PAUSE = 20.0, 0.1  # seconds to wait for what comes of a test, and between two looks
MOST = 100  # callbacks; each of them makes every mail a little dearer

log = structlog.get_logger("mailsvc.callbacks")


class Callbacks:
    """What the web handlers ask about callbacks. `known` are those that there are, as of the last look.

    `wake` is called when a notice may be due at once.
    """

    def __init__(self, outbox: Outbox, guard: Guard, clock: Callable[[], float] = time.time) -> None:
        self.store, self._guard, self._clock = outbox.callbacks, guard, clock
        self._shared = outbox.shared
        self._seen = False
        self.known: Mapping[str, Callback] = {}
        self.wake: Callable[[], None] = lambda: None

    async def look(self) -> None:
        """See which callbacks there are, where another process may have changed one."""
        if self._shared or not self._seen:
            await self.load()

    async def load(self) -> None:
        """See which callbacks there are."""
        self.known = {callback.id: callback for callback in await self.store.all()}
        self._seen = True

    async def all(self) -> Sequence[Callback]:
        """Every callback, oldest first."""
        await self.look()
        return list(self.known.values())

    async def get(self, callback_id: str) -> Callback:
        """One of them. Raises NotFound."""
        await self.look()
        if callback_id not in self.known:
            raise NotFound("there is no callback with this id")
        return self.known[callback_id]

    async def create(self, url: str, events: Sequence[str], description: str) -> Callback:
        """Make a callback. Raises InvalidMail for a URL it may not have, Conflict where there are too many."""
        self._check(url)
        if len(await self.all()) >= MOST:
            raise Conflict(f"there are {MOST} callbacks, and no more are allowed", "too_many_callbacks")
        callback = new_callback(url, events, description, self._clock())
        await self.store.add(callback)
        await self.load()
        log.info("callback_made", callback=callback.id, events=list(events))
        return callback

    async def change(
        self,
        callback_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> Callback:
        """Change what is given. Raises NotFound, InvalidMail, and Conflict when another change came between."""
        callback = await self.get(callback_id)
        if url is not None:
            self._check(url)
        changed = replace(
            callback,
            url=callback.url if url is None else url,
            events=callback.events if events is None else tuple(events),
            description=callback.description if description is None else description,
        )
        if changed != callback:
            await self._write(changed)
        if enabled is not None and enabled is (callback.disabled_at is not None):
            await self.store.switch(callback_id, None if enabled else self._clock())
        await self.load()
        log.info("callback_changed", callback=callback_id)
        self.wake()
        return await self.get(callback_id)

    async def remove(self, callback_id: str) -> None:
        """It is told nothing more. Raises NotFound."""
        if not await self.store.remove(callback_id, self._clock()):
            raise NotFound("there is no callback with this id")
        await self.load()
        log.info("callback_removed", callback=callback_id)

    async def rotate(self, callback_id: str, overlap: float) -> Callback:
        """Give it a new secret; the one before is good for another `overlap` seconds. Raises NotFound and Conflict."""
        callback, now = await self.get(callback_id), self._clock()
        old = [
            Secret(secret.text, now + overlap if secret.until is None else min(secret.until, now + overlap))
            for secret in callback.secrets
            if secret.until is None or secret.until > now
        ]
        good = [secret for secret in old if secret.until is None or secret.until > now]
        await self._write(replace(callback, secrets=(new_secret(), *good)[:MAX_SECRETS]))
        await self.load()
        log.info("callback_secret_rotated", callback=callback_id, overlap_s=overlap)
        return await self.get(callback_id)

    async def test(self, callback_id: str) -> Told:
        """Tell it a notice of no mail; what came of the first try, or as it stands after PATIENT seconds.

        Raises NotFound, and Conflict where it is switched off.
        """
        self._on(await self.get(callback_id))
        notice = await self.store.tell(callback_id, TEST, self._clock())
        self.wake()
        deadline = time.monotonic() + PATIENT
        while True:
            told = await self.store.find(callback_id, notice)
            if told is None:
                raise NotFound("the callback was removed meanwhile")
            if told.tries or time.monotonic() >= deadline:
                return told
            await asyncio.sleep(PAUSE)

    async def replay(self, callback_id: str, wanted: Replay) -> int:
        """Tell it notices again; how many. Raises NotFound, and Conflict where it is switched off."""
        self._on(await self.get(callback_id))
        number = await self.store.replay(callback_id, wanted, self._clock())
        if wanted.id is not None and not number:
            found = await self.store.find(callback_id, wanted.id)
            if found is None:
                raise NotFound("there is no delivery with this id to this callback")
        log.info("callback_replayed", callback=callback_id, deliveries=number)
        self.wake()
        return number

    async def log(self, callback_id: str, limit: int, after: str | None, state: State | None) -> Sequence[Told]:
        """What it was told, newest first. Raises NotFound."""
        await self.get(callback_id)
        return await self.store.log(callback_id, limit, after, state)

    async def last(self, callback_id: str) -> Told | None:
        """What it was told last, or is to be told."""
        found = await self.store.log(callback_id, 1)
        return found[0] if found else None

    async def backlog(self) -> Mapping[str, Backlog]:
        """What waits to be told, by callback."""
        return await self.store.backlog()

    async def _write(self, changed: Callback) -> None:
        if not await self.store.change(changed):
            await self.load()
            raise Conflict("somebody else has changed this callback at the same time; look at it and try again")

    def _check(self, url: str) -> None:
        fault = self._guard.fault(url)
        if fault:
            raise InvalidMail([FieldFault("url", "url_not_allowed", fault)])

    @staticmethod
    def _on(callback: Callback) -> None:
        if callback.disabled_at is not None:
            raise Conflict("this callback is switched off; switch it on first: PATCH it with enabled true", "disabled")
