"""The virtual world: mails arrive, wait, are sent, fail over and come again, all in virtual time, event by event.

The outbox is the same for every selector: first come, first served, a bounded number in flight, the next untried
provider at once, rounds with growing pauses, a second opinion on a refusal. Only the selector differs.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..selector import ProviderState, Verdict
from .scenarios import Scenario
from .virtual import VirtualProvider

ROUNDS = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)  # seconds between rounds; the mail is lost after one more
ROUND_JITTER = 0.25
ASK_AGAIN = 1.0  # seconds, when nobody may be asked
PATIENCE = 7200.0  # seconds after the last arrival, from when on nobody is asked and what waits is lost
SAMPLES = 300  # of the scores, in a run


class Chooser(Protocol):
    """What the world needs of a selector."""

    def pick(self, now: float, exclude: AbstractSet[str] = ...) -> str | None:
        """The provider to ask."""

    def start(self, name: str, now: float) -> Any:
        """An attempt is in flight."""

    def finish(self, flight: Any, verdict: Verdict, now: float, retry_after: float | None = None) -> None:
        """It has ended."""

    def blame(self, name: str, now: float) -> None:
        """Another provider accepted what this one refused."""

    def snapshot(self, now: float) -> Sequence[ProviderState]:
        """The scores; empty for a selector without any."""


@dataclass(slots=True)
class Mail:
    """A mail of the virtual world and what became of it: delivered, refused by all, or neither, which is lost."""

    arrived: float
    poison: bool
    rounds: int = 0
    first_pick: str | None = None
    first_picked_at: float = 0.0
    refused_by: list[Attempt] = field(default_factory=list)
    exclude: frozenset[str] = frozenset()
    queued: int = 0  # its number in the queue; 0 when it does not wait
    delivered_at: float | None = None
    delivered_by: str | None = None
    refused: bool = False


@dataclass(slots=True)
class Attempt:
    """One mail at one provider. `blamed`: it was a refusal that another provider did not share."""

    mail: Mail
    provider: str
    started: float
    ended: float
    verdict: Verdict
    retry_after: float | None
    blamed: bool = False


@dataclass(slots=True)
class Log:
    """All that happened in a run, in the order of time."""

    mails: list[Mail] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    peak_in_flight: dict[str, int] = field(default_factory=dict)
    samples: list[tuple[float, Sequence[ProviderState]]] = field(default_factory=list)


class World:
    """One run of a scenario. The same scenario, selector and seed give the same log."""

    def __init__(
        self, scenario: Scenario, make: Callable[[Mapping[str, float], random.Random], Chooser], seed: int
    ) -> None:
        def rng(what: str) -> random.Random:
            return random.Random(f"{scenario.name} {seed} {what}")  # noqa: S311 - reproducible on purpose

        self.log = Log(peak_in_flight=dict.fromkeys(scenario.providers, 0))
        self._scenario = scenario
        self._chooser = make(scenario.bases, rng("selector"))
        self._providers = {
            name: VirtualProvider(script, scenario.timeout, rng(name)) for name, script in scenario.providers.items()
        }
        self._in_flight = dict.fromkeys(scenario.providers, 0)
        self._free = scenario.max_in_flight
        self._pauses = rng("rounds")
        self._arrivals = _arrivals(scenario, rng("arrivals"))
        self._events: list[tuple[float, int, Callable[[float, Any], None], Any]] = []
        self._serial = 0
        self._waiting: dict[frozenset[str], deque[tuple[int, Mail]]] = {}
        self._asking_again = False
        self._closing_time = scenario.duration + PATIENCE

    def run(self) -> Log:
        """Play until every mail has met its fate."""
        self._arrive_next()
        for number in range(SAMPLES):
            self._at(self._scenario.duration * number / SAMPLES, self._sample, None)
        while self._events:
            now, _, act, argument = heapq.heappop(self._events)
            act(now, argument)
        return self.log

    def _at(self, when: float, act: Callable[[float, Any], None], argument: Any) -> None:
        self._serial += 1
        heapq.heappush(self._events, (when, self._serial, act, argument))

    def _sample(self, now: float, _: None) -> None:
        if states := self._chooser.snapshot(now):
            self.log.samples.append((now, states))

    def _arrive_next(self) -> None:
        if mail := next(self._arrivals, None):
            self._at(mail.arrived, self._arrive, mail)

    def _arrive(self, now: float, mail: Mail) -> None:
        self.log.mails.append(mail)
        self._queue(mail)
        self._arrive_next()
        self._fill(now)

    def _queue(self, mail: Mail) -> None:
        self._serial += 1
        mail.queued = self._serial
        self._waiting.setdefault(mail.exclude, deque()).append((mail.queued, mail))

    def _fill(self, now: float) -> None:
        """Give every free slot to the mail that has waited longest among those that somebody may be asked about."""
        hopeless: set[frozenset[str]] = set()
        while self._free and (mail := self._first_waiting(hopeless)):
            name = self._ask(mail, now)
            if name is None:
                hopeless.add(mail.exclude)
                self._ask_again_later(now)
            else:
                self._waiting[mail.exclude].popleft()
                self._begin(mail, name, now)

    def _ask(self, mail: Mail, now: float) -> str | None:
        return self._chooser.pick(now, mail.exclude) if now < self._closing_time else None

    def _first_waiting(self, hopeless: set[frozenset[str]]) -> Mail | None:
        first: tuple[int, Mail] | None = None
        for exclude, queue in self._waiting.items():
            while queue and queue[0][1].queued != queue[0][0]:
                queue.popleft()
            if queue and exclude not in hopeless and (first is None or queue[0][0] < first[0]):
                first = queue[0]
        return first[1] if first else None

    def _ask_again_later(self, now: float) -> None:
        if not self._asking_again and now < self._closing_time:
            self._asking_again = True
            self._at(now + ASK_AGAIN, self._ask_again, None)

    def _ask_again(self, now: float, _: None) -> None:
        self._asking_again = False
        self._fill(now)

    def _begin(self, mail: Mail, name: str, now: float) -> None:
        mail.queued = 0
        if mail.first_pick is None:
            mail.first_pick, mail.first_picked_at = name, now
        reply = self._providers[name].reply(now, self._in_flight[name], mail.poison)
        self._free -= 1
        self._in_flight[name] += 1
        self.log.peak_in_flight[name] = max(self.log.peak_in_flight[name], self._in_flight[name])
        attempt = Attempt(mail, name, now, now + reply.latency, reply.verdict, reply.retry_after)
        self.log.attempts.append(attempt)
        self._at(attempt.ended, self._end, (attempt, self._chooser.start(name, now)))

    def _end(self, now: float, ended: tuple[Attempt, Any]) -> None:
        attempt, flight = ended
        self._free += 1
        self._in_flight[attempt.provider] -= 1
        self._chooser.finish(flight, attempt.verdict, now, attempt.retry_after)
        if attempt.verdict is Verdict.OK:
            self._deliver(attempt, now)
        else:
            self._fail_over(attempt, now)
        self._fill(now)

    def _deliver(self, attempt: Attempt, now: float) -> None:
        mail = attempt.mail
        mail.delivered_at, mail.delivered_by = now, attempt.provider
        for refusal in mail.refused_by:
            refusal.blamed = True
            self._chooser.blame(refusal.provider, now)

    def _fail_over(self, attempt: Attempt, now: float) -> None:
        """The next untried provider at once; a new round when there is none; the end after two refusals."""
        mail = attempt.mail
        mail.exclude |= {attempt.provider}
        if attempt.verdict is Verdict.REFUSED:
            mail.refused_by.append(attempt)
            mail.refused = len(mail.refused_by) >= min(2, len(self._providers))
            if mail.refused:
                return
        name = self._ask(mail, now) if len(mail.exclude) < len(self._providers) else None
        if name:
            self._begin(mail, name, now)
            return
        if len(mail.exclude) < len(self._providers):
            self._queue(mail)
        self._rest(mail, now)

    def _rest(self, mail: Mail, now: float) -> None:
        """Until the next round. A mail that waits for a provider it has not tried may be sent before."""
        if mail.rounds < len(ROUNDS):
            pause = ROUNDS[mail.rounds] * self._pauses.uniform(1 - ROUND_JITTER, 1 + ROUND_JITTER)
            self._at(now + pause, self._begin_round, (mail, mail.queued))
        else:
            mail.queued = 0
        mail.rounds += 1

    def _begin_round(self, now: float, resting: tuple[Mail, int]) -> None:
        mail, queued = resting
        if mail.queued == queued:
            mail.exclude = frozenset(refusal.provider for refusal in mail.refused_by)
            self._queue(mail)
            self._fill(now)


def _arrivals(scenario: Scenario, rng: random.Random) -> Iterator[Mail]:
    """All mails in the order of their arrival."""
    mails, now = [], 0.0
    while scenario.rate:
        now += rng.expovariate(scenario.rate)
        if now >= scenario.duration:
            break
        mails.append(Mail(now, rng.random() < scenario.poison))
    for bunch in scenario.arrivals:
        at = bunch.at
        while at < scenario.duration:
            mails += [Mail(at + rng.random() * bunch.spread, bunch.poison) for _ in range(bunch.count)]
            at += bunch.every or scenario.duration
    return iter(sorted(mails, key=lambda mail: mail.arrived))
