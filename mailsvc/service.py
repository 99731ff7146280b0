"""The parts put together, and what can be asked of them: accept a mail, look one up, look at the providers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from itertools import count
from typing import BinaryIO

import structlog

from .batcher import Batcher
from .config import Config
from .decision import Decision, decided, not_uncertain
from .delivery import Courier
from .drain import Drain
from .errors import ConfigError, NotFound, QueueFull, ShuttingDown, StorageBroken, StorageUnavailable
from .feed import Feed
from .fetch import Fetcher
from .history import History
from .journal import MAX_BATCH, Journal
from .model import Mail, Record, Resolution, Status, new_id
from .outbox import open_outbox
from .outbox.base import Added, Addition, Extent, Outbox, Page
from .providers import all_providers
from .providers.base import Provider
from .rehearsal import ACTORS, Rehearsal
from .render import LARGE, check
from .selector import ProviderState, Selector
from .submission import Submission
from .tally import Count

GRACE = 25.0  # seconds that deliveries in flight have to finish at the end; platforms kill after 30
LOOK = 1.0  # seconds between looks at the depth of the queue and at the scores
TIDY_EVERY = 60  # looks
WAITING = (Status.QUEUED, Status.SENDING)

log = structlog.get_logger("mailsvc.service")


class Service:
    """What the web handlers call. All times are Unix seconds."""

    def __init__(
        self, config: Config, outbox: Outbox, selector: Selector, courier: Courier, drain: Drain, feed: Feed
    ) -> None:
        self.config, self.feed = config, feed
        self._outbox, self._selector, self._courier, self._drain = outbox, selector, courier, drain
        self.tally = courier.tally
        self._add = Batcher(outbox.add, MAX_BATCH, "accept")
        self.batches = {"accept": self._add.sizes}  # how many rows were written at a time
        self._depth = 0
        self._saved: list[tuple[str, float, str]] = []
        self._said: dict[str, tuple[float, str, int]] = {}
        self.history = History()
        self.rehearsal: Rehearsal | None = None
        self._looking: asyncio.Task[None] | None = None
        self.requests = 0  # in flight; the web counts them, so that none is cut off at the end
        self.stopping = asyncio.Event()
        self.broken = asyncio.Event()

    # Mails.

    async def accept(self, submission: Submission, idempotency_key: str | None = None, fingerprint: str = "") -> Added:
        """Store a mail; it is on the disk when this returns. Raises InvalidMail, IdempotencyKeyReused, Unavailable."""
        if self.stopping.is_set():
            raise ShuttingDown("this process is about to end; the next one will take the mail", retry_after=5)
        if self._depth >= self.config.max_queued:
            raise QueueFull(f"{self._depth} mails are waiting already; MAILSVC_MAX_QUEUED allows no more", 30)
        if submission.content:
            await _check(submission.content)
        now = time.time()
        mail = self._mail(submission, now)
        added = await self._add(Addition(mail, due_at=now, idempotency_key=idempotency_key, fingerprint=fingerprint))
        if not added.replayed:
            self._depth += 1
            self.tally.accepted += 1
            log.info("accepted", mail=added.id, recipients=len(mail.to))
            self.feed.say("mail", added.id, status=added.status.value)
            self._drain.wake()
        return added

    async def get(self, id: str) -> Record:  # noqa: A002 - the field's own name
        """All that is known of a mail. Raises NotFound."""
        record = await self._outbox.get(id)
        if record is None:
            raise NotFound("there is no mail with this id")
        return record

    async def mail(self, id: str) -> Mail:  # noqa: A002 - the field's own name
        """The mail itself, with its bodies. Raises NotFound."""
        mail = await self._outbox.mail(id)
        if mail is None:
            raise NotFound("there is no mail with this id")
        return mail

    async def settled(self, id: str, timeout: float) -> Record:  # noqa: A002, ASYNC109 - part of the API
        """The same, as soon as the mail has left the queue, or as it stands after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self.feed.listen(id) as news:
            record = await self.get(id)
            while not record.status.settled and not self.stopping.is_set():
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                with suppress(TimeoutError):
                    # Short waits, because news can be missed: another process may have sent the mail.
                    await asyncio.wait_for(news.get(), min(left, LOOK))
                record = await self.get(id)
        return record

    async def list(self, page: Page) -> Sequence[Record]:
        """Mails, newest first."""
        return await self._outbox.list(page)

    async def resolve(self, id: str, decision: Decision) -> Record:  # noqa: A002 - the field's own name
        """Do with a mail in doubt what a person says. Raises NotFound, and Conflict when it is not in doubt (now)."""
        row = decided(await self.get(id), decision, time.time())
        (applied,) = await self._outbox.settle([row])
        if isinstance(applied, Exception):
            raise applied
        record = await self.get(id)
        if not applied:
            raise not_uncertain(record.status)
        log.info("resolved", mail=id, by="hand", decision=decision.value)
        self.feed.say("mail", id, status=row.status.value)
        self._drain.wake()
        return record

    async def doubts(self) -> dict[tuple[str, Resolution | None], int]:
        """How many attempts were ever in doubt, by provider and by what settled the doubt; None: still open."""
        return await self._outbox.doubts()

    def _mail(self, submission: Submission, now: float) -> Mail:
        return Mail(
            id=new_id(now),
            created_at=now,
            sender=submission.sender or self.config.sender,
            to=submission.recipients,
            subject=submission.subject,
            on_uncertain=submission.on_uncertain or self.config.on_uncertain,
            content=submission.content or None,
            html=submission.html or None,
            text=submission.text or None,
        )

    # Providers.

    def providers(self) -> Sequence[tuple[ProviderState, Count]]:
        """Every provider as it stands now, and what this process has seen of it."""
        return [(state, self.tally[state.name]) for state in self._selector.snapshot(time.monotonic())]

    def pause(self, name: str) -> None:
        """Ask a provider nothing until `resume`. Raises NotFound."""
        self._known(name)
        self._selector.pause(name)
        self._courier.note_provider_changes()

    def resume(self, name: str) -> None:
        """Ask it again. Raises NotFound."""
        self._known(name)
        self._selector.resume(name)
        self._courier.note_provider_changes()
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

    async def look(self) -> None:
        """Once a second: how many mails wait, and whether a score has changed that a restart must not forget.

        Once a minute, or as long as there is more of it: what may be forgotten.
        """
        more = False
        for turn in count():
            self._show_scores()
            try:
                counts = await self._outbox.counts()
                self._depth = sum(counts.get(status, 0) for status in WAITING)
                await self.save_scores()
                if more or turn % TIDY_EVERY == 0:
                    more = await self._outbox.tidy(time.time())
            except StorageBroken:
                self.broken.set()
            except StorageUnavailable as error:
                log.error("storage_trouble", error=str(error))
            await asyncio.sleep(LOOK)

    def _show_scores(self) -> None:
        """Say what has changed to be seen, and keep the scores for the chart."""
        states = self._selector.snapshot(time.monotonic())
        self.history.note(time.time(), {state.name: round(state.score, 2) for state in states})
        for state in states:
            shown = (round(state.score, 1), state.state, state.in_flight)
            if self._said.get(state.name, shown) != shown:
                self.feed.say("provider", state.name, state=state.state, reason=state.reason)
            self._said[state.name] = shown

    async def save_scores(self) -> None:
        """Write the selector's state down if it has changed."""
        states = self._selector.snapshot(time.monotonic())
        worth = [(state.name, state.health, state.state) for state in states]
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

    async def extent(self) -> Extent:
        """How long the oldest mail is due, and how much room all takes."""
        return await self._outbox.extent(time.time())

    async def copy(self) -> BinaryIO:
        """A consistent copy of the database, made while others go on. Raises Conflict where that is not for us to do."""
        return await self._outbox.copy()

    async def start(self) -> None:
        """Begin to drain."""
        self._drain.start()
        self._looking = asyncio.create_task(self.look(), name="look")

    async def stop(self) -> None:
        """Take no more mails, finish what is in flight, write down what there is to write. May be called again."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        if self.rehearsal:
            await self.rehearsal.stop()
        await self._drain.stop(GRACE)
        await self._add.close()
        if self._looking:
            self._looking.cancel()
        with suppress(StorageUnavailable):
            await self.save_scores()


@asynccontextmanager
async def running(config: Config, cafile: str | None = None) -> AsyncIterator[Service]:
    """The whole service without its web server; used by `serve` and by the tests alike.

    Raises ConfigError and OwnedByAnother. `cafile` adds a certificate authority for connections to providers.
    """
    kinds = ACTORS if config.rehearsal else all_providers()
    providers: dict[str, Provider] = {name: kinds[name](settings) for name, settings in config.providers.items()}
    outbox = await open_outbox(config.database_url, lock_wait=config.lock_wait)
    fetcher = Fetcher(timeout=config.timeout, concurrency=config.concurrency, cafile=cafile)
    rng = random.Random()  # noqa: S311 - jitter, no secret
    bases = {name: settings.score for name, settings in config.providers.items()}
    selector, feed, journal = Selector(bases, rng=rng, exact=config.exact), Feed(), Journal(outbox)
    rehearsal = Rehearsal(config.timeout, rng) if config.rehearsal else None
    fetch = rehearsal.fetch if rehearsal else fetcher
    courier = Courier(config, journal, selector, providers, fetch, feed, rng)
    drain = Drain(outbox, courier, config.concurrency)
    service = Service(config, outbox, selector, courier, drain, feed)
    service.rehearsal = rehearsal
    service.batches |= journal.sizes
    try:
        await _refuse_to_capture_live_mail(config, outbox)
        for mail_id in await outbox.recover(time.time(), config.uncertain_after):
            log.warning("attempt_interrupted", mail=mail_id, mail_status="uncertain")
        await service.load_scores()
        await service.start()
        try:
            yield service
        finally:
            await service.stop()
    finally:
        await journal.close()
        await fetcher.close()
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


async def _check(content: str) -> None:
    """Refuse hostile markdown; off the event loop when that takes milliseconds."""
    if len(content) > LARGE:
        await asyncio.to_thread(check, content)
    else:
        check(content)
