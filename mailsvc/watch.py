"""What is looked after once a second while mails come and go: the queue's depth, scores, keys, and what is old."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import asdict
from itertools import count

import structlog

from .accord import Accord
from .errors import StorageBroken, StorageUnavailable
from .feed import Feed
from .history import History
from .keys import Keys
from .model import Status
from .outbox.base import Outbox
from .selector import ProviderState, Selector
from .tally import Tally

LOOK = 1.0  # seconds between two looks
TIDY_EVERY = 60  # looks
WAITING = (Status.QUEUED, Status.SENDING)

log = structlog.get_logger("mailsvc.watch")


class Watch:
    """`depth` is how many mails wait, `history` the scores for the chart; `broken` is set when the store is no more.

    `keep_body` and `keep_mail` are seconds from a mail's final state on.
    """

    def __init__(
        self,
        outbox: Outbox,
        selector: Selector,
        keys: Keys,
        feed: Feed,
        tally: Tally,
        keep_body: float,
        keep_mail: float,
        accord: Accord | None = None,
    ) -> None:
        self._accord = accord
        self._outbox, self._selector, self._keys, self._feed, self._tally = outbox, selector, keys, feed, tally
        self._keep_body, self._keep_mail = min(keep_body, keep_mail), keep_mail
        self._saved: list[tuple[str, float, str, float | None]] = []
        self._said: dict[str, tuple[float, str, int, int, int]] = {}
        self._looking: asyncio.Task[None] | None = None
        self.depth = 0
        self.history = History()
        self.broken = asyncio.Event()

    async def start(self) -> None:
        """Take over what an earlier process knew, and begin to look."""
        await self.load_scores()
        if self._accord:
            await self._accord.start()
        await self._keys.load()
        self._looking = asyncio.create_task(self._look(), name="look")

    async def stop(self) -> None:
        """Look no more; what is known is written down."""
        if self._looking:
            self._looking.cancel()
        if self._accord:
            await self._accord.stop()
        with suppress(StorageUnavailable):
            await self.save_scores()

    async def _look(self) -> None:
        """Once a second: how many mails wait, and whether a score has changed that a restart must not forget.

        Once a minute, or as long as there is more of it: what may be forgotten.
        """
        more = False
        for turn in count():
            self._show_scores()
            if self._accord:
                self._accord.notice()
            try:
                await self._keys.load()
                counts = await self._outbox.counts()
                self.depth = sum(counts.get(status, 0) for status in WAITING)
                await self.save_scores()
                for mail_id, status in await self._outbox.expire(time.time()):
                    log.warning("expired", mail=mail_id, mail_status=status.value)
                    self._feed.say("mail", mail_id, status=status.value)
                if more or turn % TIDY_EVERY == 0:
                    more = await self._forget(time.time())
                await self._outbox.ping()
            except StorageBroken:
                self.broken.set()
            except StorageUnavailable as error:
                log.error("storage_trouble", error=str(error))
            except Exception:  # whatever it was, the loop goes on: it would never be begun again
                log.exception("look_failed")
            await asyncio.sleep(LOOK)

    async def _forget(self, now: float) -> bool:
        """One small step of what is forgotten as time goes by; whether there is more."""
        old = await self._outbox.forget(now, now - self._keep_body, now - self._keep_mail)
        return await self._outbox.tidy(now) or old

    def _show_scores(self) -> None:
        """Say what has changed to be seen, and keep the scores for the chart."""
        states = self._selector.snapshot(time.monotonic())
        self.history.note(time.time(), {state.name: round(state.score, 2) for state in states})
        for state in states:
            count = self._tally[state.name]
            shown = (round(state.score, 1), state.state, state.in_flight, count.sent, count.failed)
            if self._said.get(state.name, shown) != shown:
                self._feed.say("provider", state.name, state=state.state, reason=state.reason)
            self._said[state.name] = shown

    async def save_scores(self) -> None:
        """Write the selector's state down if it has changed."""
        states = self._selector.snapshot(time.monotonic())
        worth = [(state.name, state.health, state.state, state.until) for state in states]
        if worth != self._saved:
            saved_at = time.time()
            await self._outbox.save_providers([asdict(state) | {"saved_at": saved_at} for state in states])
            self._saved = worth

    async def load_scores(self) -> None:
        """Take over what an earlier process knew; what lay between counts as quiet time."""
        fields = ProviderState.__dataclass_fields__
        for row in await self._outbox.load_providers():
            elapsed = max(0.0, time.time() - float(row.pop("saved_at", 0.0)))
            if fields.keys() == row.keys():
                self._selector.restore([ProviderState(**row)], time.monotonic() - elapsed)
