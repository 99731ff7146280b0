"""What can be asked of a process: its mails, its providers, its store; and how it starts and stops."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Sequence
from typing import Any, BinaryIO

import structlog

from . import __version__, process
from .acceptance import Acceptance
from .accord import Accord
from .callback_drain import CallbackDrain
from .callbacks import Callbacks
from .config import Config
from .delivery import Courier
from .drain import Drain
from .errors import NotFound, ShuttingDown
from .feed import Feed
from .guard import Guard
from .hours import Hour
from .keys import Keys
from .limits import Limits
from .mails import Mails
from .metrics import Reading, Store, packed
from .model import Resolution, Status
from .neighbours import Neighbours
from .outbox.base import Change, Extent, Outbox
from .rehearsal import Rehearsal
from .reports import Reports
from .selector import ProviderState, Selector
from .tally import Count
from .templates import Templates
from .watch import Watch

CALLBACK_GRACE = 3.0  # seconds that callbacks have to answer at the end: whoever takes longer is told again

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
        self.suppressions = outbox.suppressions
        self.keys, self.limits = Keys(outbox, config.api_key), Limits()
        kept = (config.keep_body, config.keep_mail)
        self.watch = Watch(outbox, selector, self.keys, feed, courier.tally, *kept, accord)
        self.callbacks = Callbacks(outbox, Guard(config.callback_allow))
        self.callback_drain: CallbackDrain | None = None
        self.rehearsal: Rehearsal | None = None
        self.body_bytes = 0  # of all requests whose bodies are in memory; the web counts them
        self.requests = 0  # in flight; the web counts them, so that none is cut off at the end
        self.stopping = asyncio.Event()
        self.mails = Mails(outbox, feed, drain.wake, self.stopping)
        gates = (self.watch, self.limits, feed, drain.wake, self.stopping)
        self.templates = Templates(outbox.templates, config.templates)
        self.acceptance = Acceptance(config, outbox, courier, self.templates, *gates)
        self.batches = {"accept": self.acceptance.sizes}  # how many rows were written at a time

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

    # The process and its store.

    async def tuned(self) -> None:
        """Return when listeners to the feed hear all processes."""
        if self._outbox.council:
            await self._outbox.council.tuned()

    async def doubts(self) -> dict[tuple[str, Resolution | None], int]:
        """How many attempts were ever in doubt, by provider and by what settled the doubt; None: still open."""
        return await self._outbox.doubts()

    async def ready(self) -> None:
        """Raises Unavailable when a mail would not be taken now."""
        if self.stopping.is_set():
            raise ShuttingDown("this process is about to end")
        await self._outbox.ping()

    async def counts(self) -> dict[Status, int]:
        """How many mails are in each status."""
        return await self._outbox.counts()

    async def hours(self, since: float, until: float) -> Sequence[Hour]:
        """The same of the mails of each hour from that of `since` to that of `until`."""
        return await self._outbox.hours(since, until)

    async def extent(self) -> Extent:
        """How long the oldest mail is due, and how much room all takes."""
        return await self._outbox.extent(time.time())

    async def copy(self) -> BinaryIO:
        """A consistent copy of the database, made while others go on. Raises Conflict where another tool makes it."""
        return await self._outbox.copy()

    async def start(self) -> None:
        """Begin to drain. Raises ConfigError for templates that cannot be used."""
        await self.templates.load()
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
        await self.acceptance.close()
        await self.templates.close()
        await self.reports.stop()
        if self.neighbours:
            await self.neighbours.stop()
        await self.watch.stop()
