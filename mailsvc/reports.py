"""Reports of providers: taken in and written down at once, and worked off afterwards, so that a kill loses none."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import structlog

from .errors import Conflict, HookRefused, NotFound, SendError, StorageUnavailable, Unavailable
from .feed import Feed
from .hook import DocumentNeeded, Heard, Hook
from .limits import Limits
from .outbox.base import Fate, Folded, Outbox
from .providers.base import Can, Provider
from .reputation import Reputation
from .tally import Tally
from .wire import Answer, HttpRequest, Request, Response

ROOM = 200  # reports in one transaction, so that no mail waits long for the store
HEARTBEAT = 1.0  # seconds between looks for reports that wait for their mail, or that another process took in
FETCHES = 10  # documents a minute, whoever makes mailsvc ask for them
DOCUMENTS = 8  # that are remembered
AGAIN = 30  # seconds after which a provider may try again

log = structlog.get_logger("mailsvc.reports")


class Reports:
    """Takes reports in and works them off. `clock` gives Unix seconds, as for the outbox."""

    def __init__(
        self,
        outbox: Outbox,
        providers: Mapping[str, Provider],
        fetch: Callable[[Request], Awaitable[Answer]],
        feed: Feed,
        tally: Tally,
        public_url: str | None,
        clock: Callable[[], float] = time.time,
        reputation: Reputation | None = None,
    ) -> None:
        self._outbox, self._providers, self._fetch, self._feed, self._tally = outbox, providers, fetch, feed, tally
        self._public_url, self._clock = public_url, clock
        self._reputation = reputation or Reputation()
        self._documents: dict[str, bytes] = {}
        self._limits = Limits()
        self._bell = asyncio.Event()
        self._stopping = False
        self._working: asyncio.Task[None] | None = None

    def provider(self, name: str) -> Provider:
        """One that can report. Raises NotFound."""
        provider = self._providers.get(name)
        if provider is None or Can.REPORT not in provider.can:
            raise NotFound("no provider of that name is configured that sends reports")
        return provider

    async def take(self, name: str, headers: Mapping[str, str], body: bytes) -> int:
        """Read a webhook request, whose header names are in lower case. The reports in it are on the disk when this
        returns; how many of them are new.

        Raises NotFound, HookRefused, HookUnreadable, Unavailable.
        """
        provider = self.provider(name)
        if not provider.settings.hook_key:
            raise NotFound(f"reports of {name} are not taken: {name.upper()}_WEBHOOK_KEY is not set")
        url = f"{self._public_url}/hooks/{name}" if self._public_url else None
        if url is None and provider.hook_url_signed:
            raise NotFound(
                f"reports of {name} are not taken: MAILSVC_PUBLIC_URL is not set, which its signatures are about"
            )
        heard = await self._hear(provider, Hook(headers, body, time.time(), url))
        if heard.visit:
            await self._get(heard.visit)
            log.info("hook_confirmed", provider=name)
        return await self._keep(name, heard) if heard.reports else 0

    async def _keep(self, name: str, heard: Heard) -> int:
        results = await self._outbox.report(heard.reports, self._clock())
        for result in results:
            if isinstance(result, Conflict):
                raise HookRefused(str(result))
            if isinstance(result, Exception):
                raise result
        new = [report for report, is_new in zip(heard.reports, results, strict=True) if is_new]
        for report in new:
            self._tally.reports[name, report.type] += 1
        if new:
            self._bell.set()
        return len(new)

    async def _hear(self, provider: Provider, hook: Hook) -> Heard:
        """What it says; what is needed to know that it is genuine is fetched."""
        try:
            return provider.hear(Hook(hook.headers, hook.body, hook.now, hook.url, self._documents))
        except DocumentNeeded as needed:
            document = await self._get(needed.url)
            heard = provider.hear(Hook(hook.headers, hook.body, hook.now, hook.url, {needed.url: document}))
            if len(self._documents) >= DOCUMENTS:
                self._documents.pop(next(iter(self._documents)))
            self._documents[needed.url] = document
            return heard

    async def _get(self, url: str) -> bytes:
        """What is at a URL of the provider's. Raises Unavailable, so that the provider tries again."""
        wait = self._limits.take("fetch", FETCHES, time.monotonic())
        if wait:
            raise Unavailable("too many documents of the provider are asked for", max(1, round(wait)))
        try:
            answer = await self._fetch(HttpRequest(url, {}, b"", method="GET"))
        except SendError as error:
            raise Unavailable(f"the provider's document cannot be fetched: {error}", AGAIN) from error
        if not isinstance(answer, Response) or answer.status != 200 or not answer.complete:
            raise Unavailable("the provider's document cannot be fetched", AGAIN)
        return answer.body

    # Working off.

    def start(self) -> None:
        """Begin to work off what was taken in, also before the last end."""
        self._working = asyncio.create_task(self._work(), name="reports")

    async def stop(self) -> None:
        """Finish what is being written. What waits is on the disk."""
        self._stopping = True
        self._bell.set()
        if self._working:
            await self._working

    async def _work(self) -> None:
        while not self._stopping:
            self._bell.clear()
            more = False
            try:
                more = await self.fold()
            except StorageUnavailable as error:
                log.error("storage_trouble", error=str(error))
            except Exception:  # whatever it was, the loop goes on: it would never be begun again
                log.exception("reports_failed")
            if not more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._bell.wait(), HEARTBEAT)

    async def fold(self) -> bool:
        """Merge some reports into their mails, and say what has become of them. True if there may be more."""
        folded = await self._outbox.fold(ROOM, self._clock())
        for each in folded:
            self._note(each)
        for mail_id, status in {each.mail_id: each.status for each in folded if each.mail_id and each.status}.items():
            self._feed.say("mail", mail_id, status=status.value)
        return len(folded) == ROOM

    def _note(self, folded: Folded) -> None:
        report = folded.report
        if folded.fate is Fate.UNMATCHED:
            self._tally.unmatched[report.provider] += 1
            log.info("report_unmatched", provider=report.provider, type=report.type.value)
        elif folded.error is not None:
            self._note_error(folded, folded.error)
        elif folded.status is not None:
            self._reputation.learn(report, time.monotonic())
            status = folded.status.value
            log.info(
                "report", mail=folded.mail_id, provider=report.provider, type=report.type.value, mail_status=status
            )
        if folded.doubled:
            self._tally.doubled += 1
            log.error("sent_twice", mail=folded.mail_id, provider=report.provider)

    def _note_error(self, folded: Folded, error: Exception) -> None:
        """Where it happened, but not its words: these may hold the values, and so an address."""
        given_up = folded.fate is Fate.GIVEN_UP
        self._tally.given_up[folded.report.provider] += given_up
        log.error(
            "report_failed",
            provider=folded.report.provider,
            type=folded.report.type.value,
            given_up=given_up,
            error=type(error).__name__,
            exception="".join(traceback.format_tb(error.__traceback__)),
        )
