"""The mails that are there: looked at, waited for, and changed by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import structlog

from .attempt import Settlement
from .decision import Decision, canceled, decided, not_retryable, rescheduled
from .errors import Conflict, NotFound
from .feed import Feed
from .listing import Listing, Page
from .model import Mail, Record, Status
from .moves import Moves
from .outbox.base import Erasure, Outbox, Retried
from .schedule import due_at
from .watch import LOOK

DECISIONS = 3  # times that a decision about a mail is made again because it has moved meanwhile

log = structlog.get_logger("mailsvc.mails")


class Mails:
    """Nobody waits any more once `stopping` is set; `wake` is called when a mail has become due."""

    def __init__(self, outbox: Outbox, feed: Feed, wake: Callable[[], None], stopping: asyncio.Event) -> None:
        self._outbox, self._feed, self._wake, self._stopping = outbox, feed, wake, stopping

    async def get(self, id: str, owner: str | None = None) -> Record:  # noqa: A002 - the field's own name
        """All that is known of a mail. Raises NotFound, also for a mail of another owner (None: any owner)."""
        record = await self._outbox.get(id, owner)
        if record is None:
            raise NotFound("there is no mail with this id")
        return record

    async def mail(self, id: str) -> Mail:  # noqa: A002 - the field's own name
        """The mail itself, with its bodies. Raises NotFound."""
        mail = await self._outbox.mail(id)
        if mail is None:
            raise NotFound("there is no mail with this id")
        return mail

    async def settled(
        self,
        id: str,  # noqa: A002 - the field's own name
        timeout: float,  # noqa: ASYNC109 - part of the API
        owner: str | None = None,
    ) -> Record:
        """The same, as soon as the mail has left the queue, or as it stands after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._feed.listen(id) as news:
            record = await self.get(id, owner)
            while not record.status.settled and not self._stopping.is_set():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                with suppress(TimeoutError):
                    # Short waits, because news can be missed: another process may have sent the mail.
                    await asyncio.wait_for(news.get(), min(left, LOOK))
                record = await self.get(id, owner)
        return record

    async def list(self, page: Page) -> Listing:
        """Mails, newest first. For one owner, the mails of others are not even good to begin after."""
        if None not in (page.owner, page.after) and await self._outbox.get(page.after or "", page.owner) is None:
            return Listing([], None)
        return await self._outbox.list(page)

    async def moved(self, since: float, limit: int) -> Moves:
        """Up to `limit` of the mails that have moved since a time, the last ones."""
        return await self._outbox.moved(since, limit)

    async def resolve(self, id: str, decision: Decision, owner: str | None = None) -> Record:  # noqa: A002 - as above
        """Do with a mail in doubt what a person says. Raises NotFound, and Conflict when it is not in doubt (now)."""
        return await self._decide(id, owner, lambda record: decided(record, decision, time.time()))

    async def cancel(self, id: str, owner: str | None = None) -> Record:  # noqa: A002 - as above
        """Send a mail not at all; one that is canceled already stays so. Raises NotFound, and Conflict when it is
        being sent, or not waiting any more.
        """
        record = await self.get(id, owner)
        if record.status is Status.CANCELED:
            return record
        return await self._decide(id, owner, lambda record: canceled(record, time.time()))

    async def reschedule(self, id: str, send_at: float, owner: str | None = None) -> Record:  # noqa: A002 - as above
        """Send a mail at another time. Raises NotFound, InvalidMail, and Conflict unless it is scheduled."""
        now = time.time()
        due = due_at(send_at, now)
        return await self._decide(id, owner, lambda record: rescheduled(record, due, now))

    async def retry(self, id: str, owner: str | None = None) -> Record:  # noqa: A002 - as above
        """Send a mail on its way again that has ended. Raises NotFound, and Conflict where it cannot be."""
        record = await self.get(id, owner)
        (done,) = await self._outbox.retry([id], time.time())
        if not done:
            raise not_retryable(await self.get(id))
        self._moved(record.id, Status.QUEUED, "retried")
        return await self.get(id)

    async def retry_many(self, page: Page) -> Retried:
        """Send the mails of a list on their way again, as far as they can be."""
        found = await self.list(page)
        done = await self._outbox.retry([record.id for record in found.records], time.time())
        for record, retried in zip(found.records, done, strict=True):
            if retried:
                self._moved(record.id, Status.QUEUED, "retried")
        return Retried(sum(done), len(done) - sum(done), found.next)

    async def _decide(
        self,
        id: str,  # noqa: A002 - as above
        owner: str | None,
        decide: Callable[[Record], Settlement],
    ) -> Record:
        """Do what is decided of the mail as it stands, again if it has moved meanwhile."""
        for _ in range(DECISIONS):
            record = await self.get(id, owner)
            row = decide(record)
            if (record.status, record.due_at) == (row.status, row.due_at):
                return record
            (applied,) = await self._outbox.settle([row])
            if isinstance(applied, Exception):
                raise applied
            if applied:
                self._moved(id, row.status, row.events[0].type, row.events[0].detail)
                return await self.get(id)
        raise Conflict("this mail is being worked on at this very moment; ask again")

    def _moved(self, id: str, status: Status, how: str, detail: str | None = None) -> None:  # noqa: A002 - as above
        log.info(how, mail=id, mail_status=status.value, **({"detail": detail} if detail else {}))
        self._feed.say("mail", id, status=status.value)
        self._wake()

    async def erase(self, address: str) -> Erasure:
        """Erase a recipient from all final mails. Raises Unavailable; what was erased by then stays so."""
        erased = 0
        while (step := await self._outbox.erase(address, time.time())).erased:
            erased += step.erased
        log.info("recipient_erased", mails=erased, waiting=step.waiting)
        return replace(step, erased=erased)
