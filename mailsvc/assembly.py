"""The house put together: from a configuration to a service that runs, and back."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from . import process
from .accord import Accord
from .callback_drain import TIMEOUT as CALLBACK_TIMEOUT
from .callback_drain import CallbackDrain
from .clock import SteadyClock
from .config import Config
from .delivery import Courier
from .drain import Drain
from .errors import ConfigError
from .feed import Feed
from .fetch import Fetcher
from .guard import Guard
from .journal import Journal
from .model import Status
from .outbox import open_outbox
from .outbox.base import Outbox
from .providers import all_providers
from .providers.base import Provider
from .rehearsal import ACTORS, Rehearsal
from .reports import Reports
from .selector import Selector
from .service import Service

PROBE_SPARE = 5.0  # seconds beyond a provider's time-out until a process with a probe is taken for dead

log = structlog.get_logger("mailsvc.assembly")


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
    messenger = Fetcher(timeout=CALLBACK_TIMEOUT, concurrency=config.callbacks, cafile=cafile, guard=guard)
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
    service.callback_drain = CallbackDrain(
        service.callbacks, messenger, rng, clock, config.keep_callbacks, config.callbacks
    )
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
