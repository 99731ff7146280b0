"""A delivery: one go of one mail, from provider to provider until it is sent, refused, in doubt, or due again later.

An attempt is on the disk before its first byte, and its end is written down however long that takes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from .backoff import next_due
from .config import Config
from .errors import InvalidMail, NotSent, StorageUnavailable, Unanswered
from .feed import Feed
from .journal import Journal
from .model import Mail, Message, Outcome, Status
from .outbox.base import Beginning, Settlement
from .outcome import Standing, standing, verdict
from .providers.base import Answer, Provider, Request, Result, one_line
from .render import LARGE, render
from .selector import Flight, Selector
from .tally import Tally

SENDER_REFUSED_FOR = 300.0  # seconds a provider is not asked again for a sender's domain that it refused

log = structlog.get_logger("mailsvc.delivery")


@dataclass(frozen=True, slots=True)
class Choice:
    """A provider that is going to be asked, and what was known of all of them at that moment."""

    provider: str
    flight: Flight
    score: float
    considered: list[dict[str, Any]]


@dataclass(slots=True)
class _Go:
    """What has happened in this go so far; `n` counts the mail's attempts over all goes."""

    mail: Mail
    n: int
    tried: set[str]
    refused_by: list[str]
    error: str = ""


class Courier:
    """Delivers mails one by one, any number at a time."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        selector: Selector,
        providers: Mapping[str, Provider],
        fetch: Callable[[Request], Awaitable[Answer]],
        feed: Feed,
        rng: random.Random,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._journal, self._selector, self._providers = config, journal, selector, providers
        self._fetch, self._feed, self._rng, self._clock, self._monotonic = fetch, feed, rng, clock, monotonic
        self.tally = Tally()
        self._refused_senders: dict[tuple[str, str], float] = {}
        self._states: dict[str, str] = {}

    def somebody_may_be_asked(self) -> bool:
        """Whether it makes sense to claim mails at all."""
        return self._selector.pick(self._monotonic()) is not None

    def choose(self, mail: Mail, tried: set[str]) -> Choice | None:
        """The next provider for this mail, in flight from this moment on; None: nobody may be asked now.

        One that may have the mail already is asked only if there is nobody else.
        """
        now = self._monotonic()
        unusable = self._unusable(mail.sender.domain, now)
        name = self._selector.pick(now, tried | unusable | mail.doubted)
        if name is None and mail.doubted:
            name = self._selector.pick(now, tried | unusable)
        if name is None:
            return None
        considered, score = [], 0.0
        for candidate in self._selector.survey(now, tried | unusable):
            row: dict[str, Any] = {"provider": candidate.name, "score": round(candidate.score, 3)}
            if candidate.name == name:
                score = candidate.score
                row["state"] = "chosen"
            elif candidate.name in unusable:
                row |= {"state": "sender_refused", "reason": f"it refused senders of {mail.sender.domain} lately"}
            else:
                row |= {"state": candidate.state, "reason": candidate.reason}
            considered.append(row)
        return Choice(name, self._selector.start(name, now), round(score, 3), considered)

    async def deliver(self, mail: Mail, choice: Choice) -> Mail | None:
        """One go. Returns the mail when the store failed before anything was sent: it is still claimed, try again."""
        go, next_choice = _Go(mail, mail.attempts, set(), []), choice
        try:
            message = await _render(mail)
            while await self._attempt(go, next_choice, message) is Status.SENDING:
                found = self.choose(mail, go.tried)
                if found is None:
                    await self._end_round(go)
                    break
                next_choice = found
        except StorageUnavailable as error:
            log.error("storage_trouble", mail=mail.id, error=str(error))
            return replace(mail, attempts=go.n)
        except InvalidMail as error:
            self._selector.finish(next_choice.flight, *self._told(_INTERRUPTED))
            await self._journal.settle(_failed(go, self._clock(), str(error)))
        except Exception as error:
            log.exception("delivery_failed", mail=mail.id)
            self._selector.finish(next_choice.flight, *self._told(_INTERRUPTED))
            go.error = f"a fault in mailsvc: {type(error).__name__}"
            await self._end_round(go)
        return None

    async def _attempt(self, go: _Go, choice: Choice, message: Message) -> Status:
        """Ask one provider and write down what came of it. Returns where the mail stands."""
        go.tried.add(choice.provider)
        started = self._clock()
        row = Beginning(go.mail.id, go.n + 1, choice.provider, choice.score, choice.considered, started)
        try:
            await self._journal.begin(row)
        except BaseException:
            self._selector.finish(choice.flight, *self._told(_INTERRUPTED))
            raise
        go.n += 1
        self._feed.say("attempt", go.mail.id, n=go.n, provider=choice.provider, outcome=None, score=choice.score)
        try:
            result = await self._ask(choice.provider, message)
        except asyncio.CancelledError:
            await asyncio.shield(self._conclude(go, choice, _INTERRUPTED, started))
            raise
        return await self._conclude(go, choice, result, started)

    async def _ask(self, name: str, message: Message) -> Result:
        """The provider's answer, read. Whatever goes wrong is an outcome: no adapter can stop the drain."""
        provider, asked = self._providers[name], False
        try:
            request = provider.request(message)
            asked = True
            return provider.read(await self._fetch(request), message)
        except NotSent as error:
            return Result(Outcome.DOWN, one_line(str(error)))
        except Unanswered as error:
            return Result(Outcome.UNANSWERED, one_line(str(error)))
        except Exception as error:
            log.exception("adapter_failed", mail=message.id, provider=name)
            outcome = Outcome.UNANSWERED if asked else Outcome.DOWN
            return Result(outcome, f"a fault in mailsvc's adapter: {type(error).__name__}")

    async def _conclude(self, go: _Go, choice: Choice, result: Result, started: float) -> Status:
        """Tell the selector, decide where the mail stands, write it down."""
        self._tell_selector(go, choice, result)
        now = self._clock()
        stands = standing(go.mail, choice.provider, result, len(go.refused_by), now, self._config.uncertain_after)
        if result.outcome is Outcome.REFUSED and len(self._providers) == 1:
            stands = Standing(Status.FAILED, stands.error)
        go.error = stands.error or ""
        await self._journal.settle(
            Settlement(
                mail_id=go.mail.id,
                n=go.n,
                outcome=result.outcome,
                status=stands.status,
                due_at=now if stands.status is Status.SENDING else _at(now, stands.due_in),
                rounds=go.mail.rounds,
                ended_at=now,
                provider=choice.provider,
                provider_message_id=result.provider_message_id,
                http_status=result.http_status,
                detail=result.detail or None,
                error=stands.error,
                recipients=stands.recipients,
                events=stands.events,
            )
        )
        self._announce(go, choice, result, stands.status, now - started)
        return stands.status

    async def _end_round(self, go: _Go) -> None:
        """Everybody who could be asked has failed: a later round, or the end."""
        now, rounds = self._clock(), go.mail.rounds + 1
        status, error = Status.QUEUED, go.error
        due_at: float | None = next_due(rounds, now, self._rng, self._config.retry, self._closed_for())
        if now - go.mail.created_at >= self._config.give_up:
            # A mail that a provider may have taken has not failed for sure.
            status, due_at = Status.UNCERTAIN if go.mail.doubted else Status.FAILED, None
            error = f"gave up after {rounds} rounds; the last error: {go.error}"
        await self._journal.settle(Settlement(go.mail.id, 0, None, status, due_at, rounds, now, error=error))
        due_in = None if due_at is None else round(due_at - now, 1)
        log.warning("round_failed", mail=go.mail.id, rounds=rounds, mail_status=status.value, due_in_s=due_in)
        self._feed.say("mail", go.mail.id, status=status.value)

    def _tell_selector(self, go: _Go, choice: Choice, result: Result) -> None:
        told = self._told(result)
        self._selector.finish(choice.flight, *told)
        now = told[1]
        if result.outcome is Outcome.ACCEPTED:
            self.tally.sent(choice.provider)
        else:
            self.tally.failed(choice.provider, result.detail or result.outcome.value, self._clock())
        if result.outcome is Outcome.REFUSED:
            go.refused_by.append(choice.provider)
        elif result.outcome is Outcome.SENDER_REFUSED:
            self._refused_senders[choice.provider, go.mail.sender.domain] = now + SENDER_REFUSED_FOR
            log.error("sender_refused", provider=choice.provider, domain=go.mail.sender.domain, detail=result.detail)
        elif result.outcome is Outcome.ACCEPTED:
            for name in go.refused_by:
                self._selector.blame(name, now)
        if result.stuck:
            self._selector.pause(choice.provider)
            log.error("provider_holds_mail", provider=choice.provider, detail=result.detail, now="paused")

    def _told(self, result: Result) -> tuple[Any, float, float | None]:
        """The arguments of `Selector.finish` after the flight."""
        means, retry_after = verdict(result)
        return means, self._monotonic(), retry_after

    def _unusable(self, domain: str, now: float) -> set[str]:
        """The providers that refused this sender's domain lately."""
        if not self._refused_senders:
            return set()
        self._refused_senders = {pair: until for pair, until in self._refused_senders.items() if until > now}
        return {provider for provider, refused in self._refused_senders if refused == domain}

    def _closed_for(self) -> float:
        """Seconds until the first provider may be asked again, if all of them asked to be left alone."""
        now = self._monotonic()
        found = self._selector.survey(now)
        if any(candidate.state != "closed" for candidate in found):
            return 0.0
        return min((candidate.until or now) - now for candidate in found)

    def _announce(self, go: _Go, choice: Choice, result: Result, status: Status, took: float) -> None:
        log.info(
            "attempt",
            mail=go.mail.id,
            n=go.n,
            provider=choice.provider,
            outcome=result.outcome.value,
            http_status=result.http_status,
            ms=round(took * 1000),
            score=choice.score,
            mail_status=status.value,
        )
        self._feed.say("attempt", go.mail.id, n=go.n, provider=choice.provider, outcome=result.outcome.value)
        self._feed.say("mail", go.mail.id, status=status.value)
        self.note_provider_changes()

    def note_provider_changes(self) -> None:
        """One log line and one `provider` item for each change of a provider's state."""
        for candidate in self._selector.survey(self._monotonic()):
            before = self._states.get(candidate.name, "open")
            if candidate.state != before:
                self._states[candidate.name] = candidate.state
                write = log.info if candidate.state == "open" else log.warning
                write("provider", provider=candidate.name, state=candidate.state, was=before, why=candidate.reason)
                self._feed.say("provider", candidate.name, state=candidate.state, reason=candidate.reason)


_INTERRUPTED = Result(Outcome.INTERRUPTED, "mailsvc was stopped while the provider was asked")


def _failed(go: _Go, now: float, error: str) -> Settlement:
    return Settlement(go.mail.id, 0, None, Status.FAILED, None, go.mail.rounds, now, error=error)


async def _render(mail: Mail) -> Message:
    """Rendered; off the event loop when that takes milliseconds."""
    return await asyncio.to_thread(render, mail) if len(mail.content or "") > LARGE else render(mail)


def _at(now: float, seconds: float | None) -> float | None:
    return None if seconds is None else now + seconds
