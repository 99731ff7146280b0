"""The parts put together, and what can be asked of them: accept a mail, look one up, look at the providers."""

from __future__ import annotations

import asyncio
import platform
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, BinaryIO

import orjson
import structlog

from . import __version__, process
from .access import NOBODY, ApiKey, Scope
from .accord import Accord
from .batcher import Batcher
from .callback_drain import AT_A_TIME as CALLBACKS_AT_A_TIME
from .callback_drain import TIMEOUT as CALLBACK_TIMEOUT
from .callback_drain import CallbackDrain
from .callbacks import Callbacks
from .clock import SteadyClock
from .config import Config
from .decision import Decision, canceled, decided, not_retryable, rescheduled
from .delivery import Courier
from .drain import Drain
from .errors import (
    ConfigError,
    Conflict,
    FieldFault,
    Forbidden,
    InvalidMail,
    MailsvcError,
    NotFound,
    Overloaded,
    QueueFull,
    RateLimited,
    ShuttingDown,
    StorageBroken,
)
from .feed import Feed
from .fetch import Fetcher
from .guard import Guard
from .journal import MAX_BATCH, Journal
from .keys import Keys
from .limits import Limits
from .metrics import Reading, Store, packed
from .model import Mail, Record, Resolution, Status
from .neighbours import Neighbours
from .outbox import open_outbox
from .outbox.base import (
    Added,
    Addition,
    Batch,
    Batched,
    Change,
    Erasure,
    Extent,
    Outbox,
    Page,
    Retried,
    Settlement,
)
from .plan import Plan, plan
from .providers import all_providers
from .providers.base import Provider
from .rehearsal import ACTORS, Rehearsal
from .render import LARGE, check, render
from .reports import Reports
from .schedule import due_at, in_time
from .selector import ProviderState, Selector
from .submission import Submission
from .tally import Count
from .watch import LOOK, Watch

PROBE_SPARE = 5.0  # seconds beyond a provider's time-out until a process with a probe is taken for dead
MAX_FAULTS = 100  # that are told of a batch
DECISIONS = 3  # times that a decision about a mail is made again because it has moved meanwhile
ACCEPTING = 512  # mails that may wait for the disk at a time; who waits behind more would wait too long

CALLBACK_GRACE = 3.0  # seconds that callbacks have to answer at the end: whoever takes longer is told again

TOO_MUCH = (QueueFull, Overloaded, RateLimited)  # a repeated request is answered all the same: it adds nothing

log = structlog.get_logger("mailsvc.service")


class Service:
    """What the web handlers call. All times are Unix seconds."""

    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        selector: Selector,
        courier: Courier,
        drain: Drain,
        feed: Feed,
        reports: Reports,
        accord: Accord | None = None,
    ) -> None:
        self._accord = accord
        self.neighbours = Neighbours(outbox.council, process.name(), self._sight) if outbox.council else None
        self.config, self.feed, self.reports = config, feed, reports
        self._outbox, self._selector, self._courier, self._drain = outbox, selector, courier, drain
        self.tally = courier.tally
        self._add = Batcher(outbox.add, MAX_BATCH, "accept")
        self.batches = {"accept": self._add.sizes}  # how many rows were written at a time
        self.suppressions = outbox.suppressions
        self.keys, self.limits = Keys(outbox, config.api_key), Limits()
        kept = (config.keep_body, config.keep_mail)
        self.watch = Watch(outbox, selector, self.keys, feed, courier.tally, *kept, accord)
        self.callbacks = Callbacks(outbox, Guard(config.callback_allow))
        self.callback_drain: CallbackDrain | None = None
        self.rehearsal: Rehearsal | None = None
        self._accepting = 0
        self.body_bytes = 0  # of all requests whose bodies are in memory; the web counts them
        self.requests = 0  # in flight; the web counts them, so that none is cut off at the end
        self.stopping = asyncio.Event()

    # Mails.

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
        except TOO_MUCH:
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
            self.watch.broken.set()
            raise
        finally:
            self._accepting -= 1
        if not added.replayed:
            self._accepted(addition.mail, added.status)
        return added

    async def dry_run(self, submission: Submission, key: ApiKey = NOBODY) -> Plan:
        """What would become of a mail. Nothing is stored. Raises InvalidMail, Forbidden, RateLimited, Unavailable."""
        self._check_key(submission, key)
        if submission.content:
            await _check(submission.content)
        now = time.time()
        in_time(submission.expires_at, now)
        mail = submission.mail(now, self.config.sender, self.config.on_uncertain)
        message = await asyncio.to_thread(render, mail) if len(mail.content or "") > LARGE else render(mail)
        limits = {name: provider.ability.size for name, provider in self._courier.providers.items()}
        rows = [row | {"size_limit": limits[row["provider"]]} for row in self._courier.outlook(mail)]
        suppressed = await self.suppressions.among([box.address for _, box in mail.people], now)
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
        except TOO_MUCH:
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
        is not accepted. Raises what `accept` does, InvalidMail when there is none that can be accepted.
        """
        try:
            return await self._accept_batch(submissions, tell, key, idempotency_key, fingerprint)
        except TOO_MUCH:
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
            self.watch.broken.set()
            raise
        if told == answer:
            for addition in additions:
                self._accepted(addition.mail, addition.status)
        return Batched(orjson.loads(told), replayed=told != answer)

    async def _first_answer(self, key: ApiKey, idempotency_key: str | None, fingerprint: str) -> Added | str | None:
        """What a repeated request is told when nothing more is taken. Raises IdempotencyKeyReused."""
        return await self._outbox.first_answer(key.id, idempotency_key, fingerprint) if idempotency_key else None

    def _refuse_when_crowded(self) -> None:
        if self.stopping.is_set():
            raise ShuttingDown("this process is about to end; the next one will take the mail", retry_after=5)
        if self.watch.depth >= self.config.max_queued:
            raise QueueFull(f"{self.watch.depth} mails are waiting already; MAILSVC_MAX_QUEUED allows no more", 30)
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
        if submission.content:
            await _check(submission.content)
        now = time.time()
        if not (idempotent or idempotency_key):
            in_time(submission.expires_at, now)
        mail = submission.mail(now, self.config.sender, self.config.on_uncertain)
        self._refuse_what_nobody_can_carry(mail)
        return Addition(mail, due_at(submission.send_at, now), key.id, idempotency_key, fingerprint)

    def _accepted(self, mail: Mail, status: Status) -> None:
        """It is on the disk: let everybody know."""
        if status is Status.QUEUED:
            self.watch.depth += 1
        self.tally.accepted += 1
        log.info("accepted", mail=mail.id, recipients=len(mail.people))
        self.feed.say("mail", mail.id, status=status.value)
        self._drain.wake()

    def _check_key(self, submission: Submission, key: ApiKey) -> None:
        domain = (submission.sender or self.config.sender).domain
        if key.domains and domain not in key.domains:
            raise Forbidden(f"This key may not send from {domain}, only from {' and '.join(key.domains)}.")
        if submission.ignore_suppression and not key.may(Scope.ADMIN):
            raise Forbidden("`ignore_suppression` needs a key with the scope `admin`.")
        if key.rate is not None and (wait := self.limits.take(f"key {key.id}", key.rate, time.monotonic())):
            raise RateLimited(f"This key may send {key.rate} mails a minute.", wait)

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
        with self.feed.listen(id) as news:
            record = await self.get(id, owner)
            while not record.status.settled and not self.stopping.is_set():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                with suppress(TimeoutError):
                    # Short waits, because news can be missed: another process may have sent the mail.
                    await asyncio.wait_for(news.get(), min(left, LOOK))
                record = await self.get(id, owner)
        return record

    async def tuned(self) -> None:
        """Return when listeners to the feed hear all processes."""
        if self._outbox.council:
            await self._outbox.council.tuned()

    async def list(self, page: Page) -> Sequence[Record]:
        """Mails, newest first. For one owner, the mails of others are not even good to begin after."""
        if None not in (page.owner, page.after) and await self._outbox.get(page.after or "", page.owner) is None:
            return []
        return await self._outbox.list(page)

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
        records = await self.list(replace(page, limit=page.limit + 1))
        more, records = len(records) > page.limit, records[: page.limit]
        done = await self._outbox.retry([record.id for record in records], time.time())
        for record, retried in zip(records, done, strict=True):
            if retried:
                self._moved(record.id, Status.QUEUED, "retried")
        return Retried(sum(done), len(done) - sum(done), records[-1].id if more else None)

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
        self.feed.say("mail", id, status=status.value)
        self._drain.wake()

    async def erase(self, address: str) -> Erasure:
        """Erase a recipient from all final mails. Raises Unavailable; what was erased by then stays so."""
        erased = 0
        while (step := await self._outbox.erase(address, time.time())).erased:
            erased += step.erased
        log.info("recipient_erased", mails=erased, waiting=step.waiting)
        return replace(step, erased=erased)

    async def doubts(self) -> dict[tuple[str, Resolution | None], int]:
        """How many attempts were ever in doubt, by provider and by what settled the doubt; None: still open."""
        return await self._outbox.doubts()

    def _refuse_what_nobody_can_carry(self, mail: Mail) -> None:
        """Raise InvalidMail, with what each configured provider lacks for this mail."""
        lacks = {name: provider.ability.lacks(mail) for name, provider in self._courier.providers.items()}
        if all(lacks.values()):
            why = "; ".join(f"{name} {reason}" for name, reason in lacks.items())
            raise InvalidMail([FieldFault("mail", "cannot", f"can be sent by no configured provider: {why}")])

    # Providers.

    def providers(self) -> Sequence[tuple[ProviderState, Count]]:
        """Every provider as it stands now, and what this process has seen of it."""
        return [(state, self.tally[state.name]) for state in self._selector.snapshot(time.monotonic())]

    def reading(self, store: Store | None) -> Reading:
        """What this process has counted and sees, and what the database says."""
        build = {
            "version": __version__,
            "python": platform.python_version(),
            "database": self.config.database_url.partition(":")[0],
            "selector": "classic" if self.config.exact else "guarded",
        }
        states = [state for state, _ in self.providers()]
        tries = self.callback_drain.outcomes if self.callback_drain else {}
        return Reading(time.time(), build, self.tally, self.batches, states, self.requests, store, tries)

    def _sight(self) -> dict[str, Any]:
        """What the other processes are shown: JSON values."""
        offset = time.time() - time.monotonic()
        providers = {}
        for state, count in self.providers():
            until = None if state.until is None else state.until + offset
            shown = {name: getattr(state, name) for name in ("score", "health", "state", "in_flight", "overdue")}
            told = {name: getattr(count, name) for name in ("last_error", "last_error_at", "sent", "failed")}
            providers[state.name] = shown | {"until": until} | told
        return {"providers": providers, "figures": packed(self.reading(None))}

    async def pause(self, name: str) -> None:
        """Ask a provider nothing until `resume`; written down when this returns. Raises NotFound."""
        self._known(name)
        self._selector.pause(name)
        if self._accord:
            await self._accord.agree()
        self._courier.news.providers()
        await self.watch.save_scores()

    async def resume(self, name: str) -> None:
        """Ask it again. Raises NotFound."""
        self._known(name)
        self._selector.resume(name)
        if self._accord:
            await self._accord.resume(name)
        self._courier.news.providers()
        await self.watch.save_scores()
        self._drain.wake()

    def _known(self, name: str) -> None:
        if name not in self.config.providers:
            raise NotFound(f"no provider of that name is configured; there is {', '.join(self.config.providers)}")

    # The process.

    async def ready(self) -> None:
        """Raises Unavailable when a mail would not be taken now."""
        if self.stopping.is_set():
            raise ShuttingDown("this process is about to end")
        await self._outbox.ping()

    async def counts(self) -> dict[Status, int]:
        """How many mails are in each status."""
        return await self._outbox.counts()

    async def extent(self) -> Extent:
        """How long the oldest mail is due, and how much room all takes."""
        return await self._outbox.extent(time.time())

    async def copy(self) -> BinaryIO:
        """A consistent copy of the database, made while others go on. Raises Conflict where another tool makes it."""
        return await self._outbox.copy()

    async def start(self) -> None:
        """Begin to drain."""
        if self._accord:
            self._accord.followed = self._followed
        if self._outbox.council:
            self._outbox.council.relay(self.feed)
        await self.watch.start()
        if self.neighbours:
            self.neighbours.changed = lambda provider: self.feed.say("provider", provider)
            self.neighbours.start()
        self._drain.start()
        if self.callback_drain:
            self.callback_drain.start()
        self.reports.start()
        self._outbox.listen(self._hear)

    def _hear(self, news: Change) -> None:
        """Another process has changed something."""
        if news is Change.DUE:
            self._drain.wake()
        elif self._accord:
            self._accord.heed()

    def _followed(self) -> None:
        """Providers may stand otherwise than before."""
        self._courier.news.providers()
        self._drain.wake()

    async def stop(self) -> None:
        """Take no more mails, finish what is in flight, write down what there is to write. May be called again."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        if self.rehearsal:
            await self.rehearsal.stop()
        # Where nothing can be written down any more, nothing is worth waiting for.
        await self._drain.stop(0.0 if self.watch.broken.is_set() else self.config.grace)
        if self.callback_drain:
            await self.callback_drain.stop(0.0 if self.watch.broken.is_set() else CALLBACK_GRACE)
        await self._add.close()
        await self.reports.stop()
        if self.neighbours:
            await self.neighbours.stop()
        await self.watch.stop()


@asynccontextmanager
async def running(config: Config, cafile: str | None = None) -> AsyncIterator[Service]:
    """The whole service without its web server; used by `serve` and by the tests alike.

    Raises ConfigError and OwnedByAnother. `cafile` adds a certificate authority for connections to providers.
    """
    kinds = ACTORS if config.rehearsal else all_providers()
    providers: dict[str, Provider] = {name: kinds[name](settings) for name, settings in config.providers.items()}
    outbox = await open_outbox(config.database_url, lock_wait=config.lock_wait, lease=config.lease)
    fetcher = Fetcher(timeout=config.timeout, concurrency=config.concurrency, cafile=cafile)
    guard = Guard(config.callback_allow)
    messenger = Fetcher(timeout=CALLBACK_TIMEOUT, concurrency=CALLBACKS_AT_A_TIME, cafile=cafile, guard=guard)
    rng = random.Random()  # noqa: S311 - jitter, no secret
    bases = {name: settings.score for name, settings in config.providers.items()}
    selector, feed, journal = Selector(bases, rng=rng, exact=config.exact), Feed(), Journal(outbox)
    rehearsal = Rehearsal(config.timeout, rng) if config.rehearsal else None
    fetch = rehearsal.fetch if rehearsal else fetcher
    # A database that is shared compares times by a clock of its own.
    clock = time.time if outbox.shared else SteadyClock()
    probing = config.timeout + PROBE_SPARE
    accord = Accord(outbox.council, selector, process.name(), probing) if outbox.council else None
    courier = Courier(config, journal, selector, providers, fetch, feed, rng, clock, accord=accord)
    drain = Drain(outbox, courier, config.concurrency, clock, uncertain_after=config.uncertain_after)
    reports = Reports(outbox, providers, fetch, feed, courier.tally, config.public_url, clock, courier.reputation)
    service = Service(config, outbox, selector, courier, drain, feed, reports, accord)
    service.rehearsal = rehearsal
    service.callback_drain = CallbackDrain(service.callbacks, messenger, rng, clock, config.keep_callbacks)
    service.batches |= journal.sizes
    try:
        await _refuse_to_capture_live_mail(config, outbox)
        if not outbox.shared:  # of a shared one, the drain takes over what was left behind, once it is sure
            for mail_id in await outbox.recover(time.time(), config.uncertain_after):
                log.warning("attempt_interrupted", mail=mail_id, mail_status="uncertain")
        await service.start()
        try:
            yield service
        finally:
            await service.stop()
    finally:
        await journal.close()
        await fetcher.close()
        await messenger.close()
        await outbox.close()


async def _refuse_to_capture_live_mail(config: Config, outbox: Outbox) -> None:
    """Mail that was accepted to be sent must not end with capture because a key got lost. Raises ConfigError."""
    if config.live or config.capture_only or config.rehearsal:
        return
    counts = await outbox.counts()
    waiting = sum(counts[status] for status in Status if not status.settled) + counts[Status.UNCERTAIN]
    live = sorted({str(row["name"]) for row in await outbox.load_providers()} - {"capture"})
    if waiting and live:
        fault = (
            f"{waiting} mails wait in this database that were accepted to be sent by {' or '.join(live)}, and now no "
            "provider is configured: they would be captured, not sent. Set the providers' variables again, or say "
            "MAILSVC_CAPTURE=1 if that is meant"
        )
        raise ConfigError([fault])


def _none(found: Sequence[object]) -> InvalidMail:
    """Every fault of a batch with no mail that can be accepted; `[2].to` is a field of the third."""
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
