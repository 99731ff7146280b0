"""How mails get in: checked by all that is not the caller's to check, stored, and only then accepted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import structlog

from .access import NOBODY, ApiKey, Scope
from .addition import Added, Addition, Batch, Batched
from .batcher import Batcher
from .config import Config
from .delivery import Courier
from .errors import (
    FieldFault,
    Forbidden,
    InvalidMail,
    MailsvcError,
    Overloaded,
    QueueFull,
    RateLimited,
    ShuttingDown,
    StorageBroken,
)
from .feed import Feed
from .journal import MAX_BATCH
from .limits import Limits
from .model import Mail, Status
from .outbox.base import Outbox
from .plan import Plan, plan
from .render import LARGE, check, render
from .schedule import due_at, in_time
from .submission import Submission
from .templates import Templates
from .watch import Watch

MAX_FAULTS = 100  # that are told of a batch
ACCEPTING = 512  # mails that may wait for the disk at a time; who waits behind more would wait too long
# A repeated request is answered all the same: it adds nothing, and its template may have changed since.
NOT_NOW = (QueueFull, Overloaded, RateLimited, InvalidMail)

log = structlog.get_logger("mailsvc.acceptance")


class Acceptance:
    """Accepts mails until `stopping` is set, and calls `wake` for each. `sizes`: how many were stored at a time."""

    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        courier: Courier,
        templates: Templates,
        watch: Watch,
        limits: Limits,
        feed: Feed,
        wake: Callable[[], None],
        stopping: asyncio.Event,
    ) -> None:
        self._config, self._outbox, self._courier, self._watch = config, outbox, courier, watch
        self._templates = templates
        self._limits, self._feed, self._wake, self._stopping = limits, feed, wake, stopping
        self._add = Batcher(outbox.add, MAX_BATCH, "accept")
        self.sizes = self._add.sizes
        self._accepting = 0

    async def accept(
        self,
        submission: Submission,
        key: ApiKey = NOBODY,
        idempotency_key: str | None = None,
        fingerprint: str = "",
    ) -> Added:
        """Store a mail; it is on the disk when this returns.

        Raises InvalidMail, Forbidden, RateLimited, IdempotencyKeyReused, Unavailable.
        """
        try:
            return await self._accept(submission, key, idempotency_key, fingerprint)
        except NOT_NOW:
            first = await self._first_answer(key, idempotency_key, fingerprint)
            if not isinstance(first, Added):
                raise
            return first

    async def _accept(
        self, submission: Submission, key: ApiKey, idempotency_key: str | None, fingerprint: str
    ) -> Added:
        self._refuse_when_crowded()
        self._accepting += 1
        try:
            addition = await self._addition(submission, key, idempotency_key, fingerprint)
            added = await self._add(addition)
        except StorageBroken:
            self._watch.broken.set()
            raise
        finally:
            self._accepting -= 1
        if not added.replayed:
            self._accepted(addition.mail, added.status)
        return added

    async def dry_run(self, submission: Submission, key: ApiKey = NOBODY) -> Plan:
        """What would become of a mail. Nothing is stored. Raises InvalidMail, Forbidden, RateLimited, Unavailable."""
        self._check_key(submission, key)
        submission = await self._templates.filled(submission)
        if submission.content:
            await _check(submission.content)
        now = time.time()
        in_time(submission.expires_at, now)
        mail = submission.mail(now, self._config.sender, self._config.on_uncertain)
        message = await asyncio.to_thread(render, mail) if len(mail.content or "") > LARGE else render(mail)
        limits = {name: provider.ability.size for name, provider in self._courier.providers.items()}
        rows = [row | {"size_limit": limits[row["provider"]]} for row in self._courier.outlook(mail)]
        suppressed = await self._outbox.suppressions.among([box.address for _, box in mail.people], now)
        return plan(mail, message, due_at(submission.send_at, now), rows, suppressed)

    async def accept_all(
        self,
        submissions: Sequence[Submission],
        key: ApiKey = NOBODY,
        idempotency_key: str | None = None,
        fingerprint: str = "",
    ) -> Sequence[Added]:
        """Store several mails in one transaction, or none of them. Raises what `accept` does."""
        try:
            told = await self._accept_all(submissions, key, idempotency_key, fingerprint)
        except NOT_NOW:
            first = await self._first_answer(key, idempotency_key, fingerprint)
            if not isinstance(first, str):
                raise
            told = Batched(orjson.loads(first), replayed=True)
        return [Added(row["id"], Status(row["status"]), row["created_at"], told.replayed) for row in told.data]

    async def _accept_all(
        self, submissions: Sequence[Submission], key: ApiKey, idempotency_key: str | None, fingerprint: str
    ) -> Batched:
        self._refuse_when_crowded()
        self._accepting += 1
        try:
            additions = [
                await self._addition(each, key, None, idempotent=bool(idempotency_key)) for each in submissions
            ]
            rows = [
                {"id": each.mail.id, "status": each.status, "created_at": each.mail.created_at} for each in additions
            ]
            return await self._store(additions, rows, key, idempotency_key, fingerprint)
        finally:
            self._accepting -= 1

    async def accept_batch(
        self,
        submissions: Sequence[Submission | InvalidMail],
        tell: Callable[[MailsvcError], Any],
        key: ApiKey = NOBODY,
        idempotency_key: str | None = None,
        fingerprint: str = "",
    ) -> Batched:
        """Store those mails that can be accepted, all in one transaction; they are on the disk when this returns.

        An InvalidMail in a submission's place is what is wrong with it; `tell` makes JSON of what is told of one that
        is not accepted. Raises what `accept` does; where none can be accepted, InvalidMail, or RateLimited if the rate
        is all that is in the way. A repeated request gets the first answer in any case.
        """
        try:
            return await self._accept_batch(submissions, tell, key, idempotency_key, fingerprint)
        except NOT_NOW:
            first = await self._first_answer(key, idempotency_key, fingerprint)
            if not isinstance(first, str):
                raise
            return Batched(orjson.loads(first), replayed=True)

    async def _accept_batch(
        self,
        submissions: Sequence[Submission | InvalidMail],
        tell: Callable[[MailsvcError], Any],
        key: ApiKey,
        idempotency_key: str | None,
        fingerprint: str,
    ) -> Batched:
        self._refuse_when_crowded()
        self._accepting += 1
        try:
            found = [await self._considered(each, key, bool(idempotency_key)) for each in submissions]
            additions = [each for each in found if isinstance(each, Addition)]
            if not additions:
                raise _none(found)
            rows = [
                {"id": each.mail.id, "status": each.status} if isinstance(each, Addition) else {"error": tell(each)}
                for each in found
            ]
            return await self._store(additions, rows, key, idempotency_key, fingerprint)
        finally:
            self._accepting -= 1

    async def _considered(
        self, submission: Submission | InvalidMail, key: ApiKey, idempotent: bool
    ) -> Addition | InvalidMail | Forbidden | RateLimited:
        if isinstance(submission, InvalidMail):
            return submission
        try:
            return await self._addition(submission, key, None, idempotent=idempotent)
        except (InvalidMail, Forbidden, RateLimited) as error:
            return error

    async def _store(
        self,
        additions: Sequence[Addition],
        rows: Sequence[dict[str, Any]],
        key: ApiKey,
        idempotency_key: str | None,
        fingerprint: str,
    ) -> Batched:
        """Store mails, all or none, with the rows of their answer; those of the first one for a known key."""
        answer = orjson.dumps(rows).decode()
        batch = Batch(additions, additions[0].mail.created_at, answer, key.id, idempotency_key, fingerprint)
        try:
            told = await self._outbox.add_batch(batch)
        except StorageBroken:
            self._watch.broken.set()
            raise
        if told == answer:
            for addition in additions:
                self._accepted(addition.mail, addition.status)
        return Batched(orjson.loads(told), replayed=told != answer)

    async def _first_answer(self, key: ApiKey, idempotency_key: str | None, fingerprint: str) -> Added | str | None:
        """What a repeated request is told when nothing more is taken. Raises IdempotencyKeyReused."""
        return await self._outbox.first_answer(key.id, idempotency_key, fingerprint) if idempotency_key else None

    def _refuse_when_crowded(self) -> None:
        if self._stopping.is_set():
            raise ShuttingDown("this process is about to end; the next one will take the mail", retry_after=5)
        if self._watch.depth >= self._config.max_queued:
            raise QueueFull(f"{self._watch.depth} mails are waiting already; MAILSVC_MAX_QUEUED allows no more", 30)
        if self._accepting >= ACCEPTING:
            raise Overloaded(f"{ACCEPTING} mails are being accepted at this moment", 1)

    async def _addition(
        self,
        submission: Submission,
        key: ApiKey,
        idempotency_key: str | None,
        fingerprint: str = "",
        *,
        idempotent: bool = False,
    ) -> Addition:
        """What is to be stored, checked by all that is not the caller's to check.

        An `idempotent` request, as one with a key, may be a repetition of one that came in time.
        """
        if submission.dry_run:
            raise InvalidMail([FieldFault("dry_run", "invalid", "is for one mail alone, by POST /email")])
        self._check_key(submission, key)
        submission = await self._templates.filled(submission)
        if submission.content:
            await _check(submission.content)
        now = time.time()
        if not (idempotent or idempotency_key):
            in_time(submission.expires_at, now)
        mail = submission.mail(now, self._config.sender, self._config.on_uncertain)
        self._refuse_what_nobody_can_carry(mail)
        return Addition(mail, due_at(submission.send_at, now), key.id, idempotency_key, fingerprint)

    def _accepted(self, mail: Mail, status: Status) -> None:
        """It is on the disk: let everybody know."""
        if status is Status.QUEUED:
            self._watch.depth += 1
        self._courier.tally.accepted += 1
        log.info("accepted", mail=mail.id, recipients=len(mail.people))
        self._feed.say("mail", mail.id, status=status.value)
        self._wake()

    def _check_key(self, submission: Submission, key: ApiKey) -> None:
        domain = (submission.sender or self._config.sender).domain
        if key.domains and domain not in key.domains:
            raise Forbidden(f"This key may not send from {domain}, only from {' and '.join(key.domains)}.")
        if submission.ignore_suppression and not key.may(Scope.ADMIN):
            raise Forbidden("`ignore_suppression` needs a key with the scope `admin`.")
        if key.rate is not None and (wait := self._limits.take(f"key {key.id}", key.rate, time.monotonic())):
            raise RateLimited(f"This key may send {key.rate} mails a minute.", wait)

    def _refuse_what_nobody_can_carry(self, mail: Mail) -> None:
        """Raise InvalidMail, with what each configured provider lacks for this mail."""
        lacks = {name: provider.ability.lacks(mail) for name, provider in self._courier.providers.items()}
        if all(lacks.values()):
            why = "; ".join(f"{name} {reason}" for name, reason in lacks.items())
            raise InvalidMail([FieldFault("mail", "cannot", f"can be sent by no configured provider: {why}")])

    async def close(self) -> None:
        """Wait for what is being stored."""
        await self._add.close()


def _none(found: Sequence[object]) -> InvalidMail | RateLimited:
    """Every fault of a batch with no mail that can be accepted; `[2].to` is a field of the third.

    Where the key's rate is the only one, the same request is good later.
    """
    limited = [error for error in found if isinstance(error, RateLimited)]
    if len(limited) == len(found):
        return min(limited, key=lambda error: error.wait)
    faults: list[FieldFault] = []
    for place, error in enumerate(found):
        if isinstance(error, InvalidMail):
            faults += [FieldFault(f"[{place}].{fault.field}", fault.code, fault.message) for fault in error.faults]
        else:
            code = "rate_limited" if isinstance(error, RateLimited) else "forbidden"
            faults.append(FieldFault(f"[{place}]", code, str(error)))
    return InvalidMail(faults[:MAX_FAULTS])


async def _check(content: str) -> None:
    """Refuse hostile markdown; off the event loop when that takes milliseconds."""
    if len(content) > LARGE:
        await asyncio.to_thread(check, content)
    else:
        check(content)
