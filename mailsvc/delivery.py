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

from .accord import Accord
from .attempt import Beginning, Settlement
from .backoff import next_due
from .choice import Choice, Chooser, Hold, Late, Never, Wait
from .config import Config
from .errors import Conflict, InvalidMail, NotSent, SendError, StorageBroken, StorageUnavailable, Unanswered
from .feed import Feed
from .files import Files
from .journal import Journal
from .lookup import Look
from .model import Event, Mail, Message, Outcome, Payload, Resolution, Status
from .news import News
from .outbox.base import TOO_LATE, TOO_LATE_IN_DOUBT
from .outcome import Standing, by_its_key, standing, verdict
from .providers.base import MAX_MESSAGE_ID, Can, Provider, Result
from .render import LARGE, render
from .selector import Selector
from .tally import Tally
from .wire import Answer, HttpRequest, Request, one_line

log = structlog.get_logger("mailsvc.delivery")
LARGE_FILES = 1024 * 1024  # bytes


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
        accord: Accord | None = None,
    ) -> None:
        self._accord = accord
        self._config, self._journal, self._selector, self.providers = config, journal, selector, providers
        self._files = Files(journal.attachments)
        self._fetch, self._rng, self._clock, self._monotonic = fetch, rng, clock, monotonic
        self.news = News(feed, selector, monotonic)
        self.tally = Tally()
        self._chooser = Chooser(selector, providers, config.uncertain_after, clock, monotonic)
        self.reputation = self._chooser.reputation

    def somebody_may_be_asked(self) -> bool:
        """Whether it makes sense to claim mails at all."""
        return self._selector.pick(self._monotonic()) is not None

    def choose(self, mail: Mail, tried: set[str]) -> Choice | Look | Wait | Hold | Never | Late | None:
        """See Chooser."""
        return self._chooser.choose(mail, tried)

    def outlook(self, mail: Mail) -> list[dict[str, Any]]:
        """See Chooser."""
        return self._chooser.outlook(mail)

    async def look(self, mail: Mail, look: Look) -> bool:
        """Ask a provider that may have the mail whether it has. True if it has: the mail is sent, the doubt gone."""
        name, provider = look.provider, self.providers[look.provider]
        try:
            sighting = provider.sighted(await self._fetch(provider.lookup(mail)), mail)
        except SendError as error:
            log.warning("lookup_failed", mail=mail.id, provider=name, error=one_line(str(error)))
            return False
        except Exception:  # a fault in an adapter; the mail goes the way it would go without a look-up
            log.exception("adapter_failed", mail=mail.id, provider=name)
            return False
        if not sighting.allowed:
            self._chooser.lookups.forbid(name)
        if not sighting.found:
            return False
        now, status = self._clock(), Status.SENT
        row = Settlement(mail.id, 0, None, status, None, mail.rounds, now, expected=Status.UNCERTAIN)
        told = Event("resolved", now, name, None, "found there by our id: sent")
        name_there = one_line(sighting.provider_message_id or "")[:MAX_MESSAGE_ID] or None
        await self._journal.settle(
            replace(row, provider=name, provider_message_id=name_there, events=(told,), resolved=Resolution.LOOKUP)
        )
        log.info("found", mail=mail.id, provider=name)
        self.news.mail(mail.id, status)
        return True

    async def hold(self, mail: Mail, hold: Hold) -> None:
        """Nobody is asked any more, and the mail says why."""
        now, status = self._clock(), Status.UNCERTAIN
        row = Settlement(mail.id, 0, None, status, None, mail.rounds, now, error=hold.why, expected=status)
        await self._journal.settle(row)
        log.warning("held", mail=mail.id, why=hold.why)
        self.news.mail(mail.id, status)

    async def give_up(self, mail: Mail, never: Never) -> None:
        """Nobody can be asked, ever: what is configured has changed since the mail was accepted."""
        status = Status.UNCERTAIN if mail.doubted else Status.FAILED
        error = f"no configured provider can send it: {never.why}"
        await self._journal.settle(Settlement(mail.id, 0, None, status, None, mail.rounds, self._clock(), error=error))
        log.error("cannot_be_sent", mail=mail.id, why=never.why)
        self.news.mail(mail.id, status)

    async def expire(self, mail: Mail) -> None:
        """It is too late to send it. Who may have it already is not asked about it either."""
        now = self._clock()
        status, why = (Status.UNCERTAIN, TOO_LATE_IN_DOUBT) if mail.doubted else (Status.EXPIRED, TOO_LATE)
        events = (Event("expired", now),)
        await self._journal.settle(
            Settlement(mail.id, 0, None, status, None, mail.rounds, now, error=why, events=events)
        )
        log.warning("expired", mail=mail.id, mail_status=status.value)
        self.news.mail(mail.id, status)

    async def deliver(self, mail: Mail, choice: Choice) -> Mail | None:
        """One go. Returns the mail when the store failed before anything was sent: it is still claimed, try again."""
        go, next_choice = _Go(mail, mail.attempts, set(), []), choice
        found: Choice | Look | Wait | Hold | Never | Late | None = choice
        try:
            async with self._files.of(mail) as attachments:
                message = await _render(replace(mail, attachments=attachments) if attachments else mail)
                while isinstance(found := await self._cleared(go, found), Choice):
                    next_choice = found
                    if await self._attempt(go, next_choice, message) is not Status.SENDING:
                        return None
                    found = self.choose(go.mail, go.tried)
            if go.n == mail.attempts:
                return mail
            await self._end_round(go)
        except StorageBroken as error:
            log.error("storage_broken", mail=mail.id, error=str(error))
        except StorageUnavailable as error:
            log.error("storage_trouble", mail=mail.id, error=str(error))
            if go.n == mail.attempts:
                return mail
            await self._end_round(go)  # it is `sending`, and only a settlement ends that
        except Conflict as error:
            log.info("not_sent_any_more", mail=mail.id, why=str(error))
        except InvalidMail as error:
            self._selector.finish(next_choice.flight, *self._told(_INTERRUPTED))
            await self._journal.settle(_failed(go, self._clock(), str(error)))
        except Exception as error:
            log.exception("delivery_failed", mail=mail.id)
            self._selector.finish(next_choice.flight, *self._told(_INTERRUPTED))
            go.error = f"a fault in mailsvc: {type(error).__name__}"
            await self._end_round(go)
        return None

    async def _cleared(
        self, go: _Go, choice: Choice | Look | Wait | Hold | Never | Late | None
    ) -> Choice | Look | Wait | Hold | Never | Late | None:
        """The choice, or another one where it would be a probe and another process makes one already."""
        while self._accord and isinstance(choice, Choice) and choice.flight.probe:
            try:
                wait = await self._accord.claim_probe(choice.provider)
            except BaseException:
                self._selector.finish(choice.flight, *self._told(_INTERRUPTED))
                raise
            if not wait:
                break
            now = self._monotonic()
            self._selector.give_way(choice.flight, now, now + wait)
            choice = self.choose(go.mail, go.tried)
        return choice

    async def _attempt(self, go: _Go, choice: Choice, message: Message) -> Status:
        """Ask one provider and write down what came of it. Returns where the mail stands."""
        go.tried.add(choice.provider)
        started = self._clock()
        try:
            request = await self._prepared(choice, message)
            await self._journal.begin(_beginning(go, choice, request, started))
        except BaseException:
            self._selector.finish(choice.flight, *self._told(_INTERRUPTED))
            raise
        go.n += 1
        self.news.begun(go.mail.id, go.n, choice.provider, choice.score)
        try:
            result = await self._ask(choice.provider, request, message)
        except asyncio.CancelledError:
            await asyncio.shield(self._conclude(go, choice, _INTERRUPTED, started))
            raise
        return await self._conclude(go, choice, by_its_key(go.mail, choice.provider, result), started)

    async def _prepared(self, choice: Choice, message: Message) -> Request | Result:
        """See `_prepare`; off the event loop when files make it take milliseconds."""
        if sum(each.size for each in message.attachments) > LARGE_FILES:
            return await asyncio.to_thread(self._prepare, choice, message)
        return self._prepare(choice, message)

    def _prepare(self, choice: Choice, message: Message) -> Request | Result:
        """What to send, to the byte as before if there was a before; a result where the adapter fails."""
        provider = self.providers[choice.provider]
        try:
            return provider.again(choice.again.body, choice.again.key) if choice.again else provider.request(message)
        except Exception as error:
            log.exception("adapter_failed", mail=message.id, provider=choice.provider)
            return Result(Outcome.DOWN, f"a fault in mailsvc's adapter: {type(error).__name__}")

    async def _ask(self, name: str, request: Request | Result, message: Message) -> Result:
        """The provider's answer, read. Whatever goes wrong is an outcome: no adapter can stop the drain."""
        if isinstance(request, Result):
            return request
        try:
            return self.providers[name].read(await self._fetch(request), message)
        except NotSent as error:
            return Result(Outcome.DOWN, one_line(str(error)))
        except Unanswered as error:
            return Result(Outcome.UNANSWERED, one_line(str(error)))
        except Exception as error:
            log.exception("adapter_failed", mail=message.id, provider=name)
            return Result(Outcome.UNANSWERED, f"a fault in mailsvc's adapter: {type(error).__name__}")

    async def _conclude(self, go: _Go, choice: Choice, result: Result, started: float) -> Status:
        """Tell the selector, decide where the mail stands, write it down."""
        self._tell_selector(go, choice, result)
        now = self._clock()
        stands = self._stands(go, choice, result, now)
        go.error = stands.error or ""
        rounds, due_at = go.mail.rounds + stands.next_round, self._due(go, stands, now)
        if stands.next_round and due_at is None:
            go.error = f"gave up after {rounds} rounds; the last error: {go.error}"
        applied = await self._journal.settle(
            Settlement(
                mail_id=go.mail.id,
                n=go.n,
                outcome=result.outcome,
                status=stands.status,
                due_at=due_at,
                rounds=rounds,
                ended_at=now,
                provider=choice.provider,
                provider_message_id=result.provider_message_id,
                http_status=result.http_status,
                detail=result.detail or None,
                error=go.error or None,
                recipients=stands.recipients,
                events=stands.events,
                resolved=stands.resolved,
            )
        )
        if not applied:
            # This process was taken for dead, and the mail is another one's now. Whatever it thinks, it stops here.
            log.warning("told_too_late", mail=go.mail.id, n=go.n, outcome=result.outcome.value)
            return Status.UNCERTAIN
        took = now - started
        self.tally.ended(choice.provider, result.outcome, took)
        self.news.ended(go.mail.id, go.n, choice.provider, choice.score, result, stands.status, took)
        return stands.status

    def _stands(self, go: _Go, choice: Choice, result: Result, now: float) -> Standing:
        """Where the mail stands; from here on without the doubt that this attempt has settled."""
        can = self.providers[choice.provider].can
        known = {"keyed": Can.DEDUPE in can, "findable": Can.LOOKUP in can, "bound": choice.bound}
        after, refusals = self._config.uncertain_after, len(go.refused_by)
        stands = standing(go.mail, choice.provider, result, refusals, now, after, **known)
        if stands.resolved:
            go.mail = replace(go.mail, doubted=go.mail.doubted - {choice.provider}, uncertain=False)
        if result.outcome is Outcome.REFUSED and len(self.providers) == 1 and stands.status is Status.SENDING:
            stands = replace(stands, status=Status.FAILED)
        if stands.status is Status.FAILED and go.mail.doubted:
            stands = replace(stands, status=Status.UNCERTAIN)  # somebody may have it
        return stands

    def _due(self, go: _Go, stands: Standing, now: float) -> float | None:
        if stands.status is Status.SENDING:
            return now
        if stands.next_round:
            gave_up = self._given_up(go.mail, now)
            return None if gave_up else next_due(go.mail.rounds + 1, now, self._rng, self._config.retry)
        return None if stands.due_in is None else now + stands.due_in

    async def _end_round(self, go: _Go) -> None:
        """Everybody who could be asked has failed: a later round, or the end."""
        now, rounds = self._clock(), go.mail.rounds + 1
        status, error = Status.QUEUED, go.error
        due_at: float | None = next_due(rounds, now, self._rng, self._config.retry, self._closed_for())
        if go.mail.expires_at is not None and go.mail.expired(now):
            await self.expire(replace(go.mail, rounds=rounds))
            return
        if self._given_up(go.mail, now):
            # A mail that a provider may have taken has not failed for sure.
            status, due_at = Status.UNCERTAIN if go.mail.doubted else Status.FAILED, None
            error = f"gave up after {rounds} rounds; the last error: {go.error}"
        await self._journal.settle(Settlement(go.mail.id, 0, None, status, due_at, rounds, now, error=error))
        due_in = None if due_at is None else round(due_at - now, 1)
        log.warning("round_failed", mail=go.mail.id, rounds=rounds, mail_status=status.value, due_in_s=due_in)
        self.news.mail(go.mail.id, status)

    def _given_up(self, mail: Mail, now: float) -> bool:
        """Whether it has been tried for long enough."""
        return now - (mail.tried_since or mail.created_at) >= self._config.give_up

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
            self._chooser.refuse_sender(choice.provider, go.mail.sender.domain)
            log.error("sender_refused", mail=go.mail.id, provider=choice.provider, domain=go.mail.sender.domain)
        elif result.outcome is Outcome.ACCEPTED:
            for name in go.refused_by:
                self._selector.blame(name, now)
        if result.stuck:
            self._selector.pause(choice.provider)
            log.error("provider_holds_mail", mail=go.mail.id, provider=choice.provider, now="paused")
        if self._accord:
            self._accord.notice()

    def _told(self, result: Result) -> tuple[Any, float, float | None]:
        """The arguments of `Selector.finish` after the flight."""
        means, retry_after = verdict(result)
        return means, self._monotonic(), retry_after

    def _closed_for(self) -> float:
        """Seconds until the first provider may be asked again, if all of them asked to be left alone."""
        now = self._monotonic()
        found = self._selector.survey(now)
        if any(candidate.state != "closed" for candidate in found):
            return 0.0
        return min((candidate.until or now) - now for candidate in found)


_INTERRUPTED = Result(Outcome.INTERRUPTED, "mailsvc was stopped while the provider was asked")


def _failed(go: _Go, now: float, error: str) -> Settlement:
    return Settlement(go.mail.id, 0, None, Status.FAILED, None, go.mail.rounds, now, error=error)


async def _render(mail: Mail) -> Message:
    """Rendered; off the event loop when that takes milliseconds."""
    return await asyncio.to_thread(render, mail) if len(mail.content or "") > LARGE else render(mail)


def _beginning(go: _Go, choice: Choice, request: Request | Result, started: float) -> Beginning:
    """The attempt as it is written down before its first byte, with what may have to be sent again."""
    row = Beginning(go.mail.id, go.n + 1, choice.provider, choice.score, choice.considered, started)
    if isinstance(request, HttpRequest) and request.key and not choice.again:
        row = replace(row, payload=Payload(choice.provider, request.key, request.body, started))
    if go.mail.doubted and not choice.bound:
        row = replace(row, resolved=Resolution.RESEND)
    return row
