"""A live rehearsal: three providers that exist in this process alone, with knobs, and a stream of mails for them.

They go through the very same selector, drain and outbox as real ones. Nothing here opens a connection.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from .config import Config
from .errors import ConfigError, InvalidMail, Unanswered, Unavailable
from .model import Message, Outcome
from .providers.base import HttpProvider, Provider, Result, Settings
from .submission import Submission, parse
from .wire import Answer, HttpRequest, Request, Response

TIMEOUT, UNCERTAIN_AFTER = 5.0, 10.0  # seconds; a rehearsal does not make people wait as long as real life may
WINDOW = 10.0  # seconds over which a rate limit counts
MAX_LATENCY, MAX_LIMIT = 8000, 1000  # milliseconds; mails in a window
RATES, MAX_MAILS = (1, 5, 20), 2400  # mails a second, and mails in one stream
SCHEME = "rehearsal:"

log = structlog.get_logger("mailsvc.rehearsal")


class _Actor(HttpProvider):
    """Plays a provider with an HTTP API; what its answers mean is decided as for a real one."""

    env = ()

    def request(self, message: Message) -> Request:
        """A request that only a rehearsal can answer."""
        return HttpRequest(SCHEME + self.name, {}, message.id.encode())

    def accepted(self, response: Response, message: Message) -> Result:
        """Kept in the outbox; the mail's id serves as the provider's."""
        return Result(Outcome.ACCEPTED, "kept, not sent", provider_message_id=message.id)

    def refused(self, response: Response, message: Message) -> Result:
        """Too many requests is all that it ever refuses."""
        return self.foreign(response)


class _Alpha(_Actor):
    name, rank = "alpha", 1


class _Beta(_Actor):
    name, rank = "beta", 2


class _Gamma(_Actor):
    name, rank = "gamma", 3


ACTORS: dict[str, type[Provider]] = {kind.name: kind for kind in (_Alpha, _Beta, _Gamma)}
SCORES = {"alpha": 50.0, "beta": 40.0, "gamma": 30.0}


@dataclass(frozen=True, slots=True)
class Knobs:
    """How a provider behaves. `failing` is the percentage answered 503, `latency` milliseconds until an answer comes.

    `limit` is the number of mails taken in ten seconds, more get a 429; 0 is no limit. `hang`: it never answers.
    """

    failing: int = 0
    latency: int = 150
    limit: int = 0
    hang: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of mails: `sent` of `total` are accepted so far. `error` is why it ended early."""

    rate: int
    total: int
    sent: int = 0
    running: bool = True
    error: str | None = None


def prepared(config: Config) -> Config:
    """The configuration for a rehearsal. Raises ConfigError where mail could leave the machine."""
    if config.live:
        names = ", ".join(config.providers)
        fault = (
            f"a rehearsal is for the sandbox, but a provider is configured: {names}. Unset it, or set MAILSVC_CAPTURE=1"
        )
        raise ConfigError([fault])
    return replace(
        config,
        rehearsal=True,
        providers={name: Settings({}, score=score) for name, score in SCORES.items()},
        timeout=min(config.timeout, TIMEOUT),
        uncertain_after=min(config.uncertain_after, UNCERTAIN_AFTER),
    )


class Rehearsal:
    """The three providers' knobs, what answers for them, and the stream. Call `fetch` in place of a Fetcher."""

    def __init__(self, timeout: float, rng: random.Random) -> None:
        self.knobs = dict.fromkeys(ACTORS, Knobs())
        self.stream: Stream | None = None
        self._timeout, self._rng = timeout, rng
        self._windows: dict[str, tuple[float, int]] = {}
        self._task: asyncio.Task[None] | None = None

    async def fetch(self, request: Request) -> Answer:
        """What the provider answers as its knobs stand. Raises Unanswered."""
        assert isinstance(request, HttpRequest)  # noqa: S101 - for the type checker; an actor makes no other request
        name = request.url.removeprefix(SCHEME)
        knobs = self.knobs[name]
        wait = self._over_limit(name, knobs.limit)
        if wait:
            headers = {"retry-after": str(wait)}
            return Response(429, headers, b"too many mails, says the rehearsal", time.time())
        seconds = knobs.latency / 1000 * self._rng.uniform(0.7, 1.3)
        if knobs.hang or seconds > self._timeout:
            await asyncio.sleep(self._timeout)
            raise Unanswered(f"no answer within {self._timeout:g} s")
        await asyncio.sleep(seconds)
        if self._rng.random() * 100 < knobs.failing:
            return Response(503, {}, b"out of order, says the rehearsal", time.time())
        return Response(200, {}, b"", time.time())

    async def play(self, accept: Callable[[Submission], Awaitable[object]], rate: int, total: int) -> None:
        """Begin to send mails to nobody, `rate` a second. One stream at a time: an earlier one ends."""
        await self.stop()
        self.stream = Stream(rate, min(total, MAX_MAILS))
        self._task = asyncio.create_task(self._play(accept, self.stream), name="rehearsal stream")

    async def stop(self) -> None:
        """End the stream."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self.stream:
            self.stream = replace(self.stream, running=False)

    async def _play(self, accept: Callable[[Submission], Awaitable[object]], stream: Stream) -> None:
        begun, error = time.monotonic(), None
        for number in range(stream.total):
            await asyncio.sleep(max(0.0, begun + number / stream.rate - time.monotonic()))
            try:
                await accept(_mail(number))
            except (Unavailable, InvalidMail) as fault:
                error = str(fault)
                log.error("stream_ended", error=error)
                break
            self.stream = replace(stream, sent=number + 1)
        self.stream = replace(self.stream or stream, running=False, error=error)

    def _over_limit(self, name: str, limit: int) -> int:
        """Seconds until the provider takes a mail again; 0 if it takes this one."""
        now = time.monotonic()
        begun, taken = self._windows.get(name, (now, 0))
        if now >= begun + WINDOW:
            begun, taken = now, 0
        if limit and taken >= limit:
            return max(1, round(begun + WINDOW - now))
        self._windows[name] = (begun, taken + 1)
        return 0


_PEOPLE = ("Ann", "Ben", "Chloé", "Dev", "Elif", "Finn", "Grace", "Hugo", "Ines", "Jun")
_SUBJECTS = ("Your receipt #{}", "Sign-in code {}", "Order {} is on its way", "Reset your password ({})", "Invoice {}")


def _mail(number: int) -> Submission:
    person = _PEOPLE[number % len(_PEOPLE)]
    subject = _SUBJECTS[number % len(_SUBJECTS)].format(1001 + number)
    content = f"Hello {person},\n\nthis is mail **{number + 1}** of a rehearsal. It stays on this machine.\n"
    address = f"{person.lower().replace('é', 'e')}@example.com"
    return parse({"to": f"{person} <{address}>", "subject": subject, "content": content})
