"""What others do: the rules mailsvc is measured against, each with the defaults of its home."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from ..selector import Flight, ProviderState, Verdict


class Rival:
    """A selector without a visible score. Subclasses say whom they pick and what they learn."""

    def __init__(self, bases: Mapping[str, float], rng: random.Random) -> None:
        self._names = sorted(bases, key=lambda name: -bases[name])
        self._rng = rng

    def pick(self, now: float, exclude: AbstractSet[str] = frozenset()) -> str | None:
        """The provider to ask."""
        raise NotImplementedError

    def start(self, name: str, now: float) -> Flight:
        """An attempt is in flight."""
        return Flight(name, now)

    def finish(self, flight: Flight, verdict: Verdict, now: float, retry_after: float | None = None) -> None:
        """It has ended."""

    def blame(self, name: str, now: float) -> None:
        """None of them tells a refusal of its own from one that the mail deserved."""

    def snapshot(self, now: float) -> Sequence[ProviderState]:
        """There is no score to show."""
        return ()


class RandomPick(Rival):
    """Any provider, evenly."""

    def pick(self, now: float, exclude: AbstractSet[str] = frozenset()) -> str | None:
        """One of those that are left."""
        left = [name for name in self._names if name not in exclude]
        return self._rng.choice(left) if left else None


class RoundRobin(Rival):
    """One after the other."""

    _next = 0

    def pick(self, now: float, exclude: AbstractSet[str] = frozenset()) -> str | None:
        """The next one that is left."""
        order = self._names[self._next :] + self._names[: self._next]
        return next((name for name in order if name not in exclude), None)

    def start(self, name: str, now: float) -> Flight:
        """The turn goes to the one after it."""
        self._next = (self._names.index(name) + 1) % len(self._names)
        return super().start(name, now)


class Failover(Rival):
    """Symfony Mailer's `failover`: stays with one transport until it throws; then that one is dead for 60 s.

    Every exception counts, a refusal of the mail itself too.
    """

    RETRY_PERIOD = 60.0

    def __init__(self, bases: Mapping[str, float], rng: random.Random) -> None:
        super().__init__(bases, rng)
        self._died_at: dict[str, float] = {}
        self._current = self._names[0]

    def pick(self, now: float, exclude: AbstractSet[str] = frozenset()) -> str | None:
        """The current one; if it is dead, the next in order that is not, or has been for long enough."""
        here = self._names.index(self._current) + (self._current in self._died_at)
        order = self._names[here:] + self._names[:here]
        return next((name for name in order if name not in exclude and self._may_live(name, now)), None)

    def _may_live(self, name: str, now: float) -> bool:
        return name not in self._died_at or now - self._died_at[name] > self.RETRY_PERIOD

    def start(self, name: str, now: float) -> Flight:
        """Who is used instead of a dead one is the current one from here on."""
        self._died_at.pop(name, None)
        if self._current in self._died_at:
            self._current = name
        return super().start(name, now)

    def finish(self, flight: Flight, verdict: Verdict, now: float, retry_after: float | None = None) -> None:
        """Anything but success kills."""
        if verdict is not Verdict.OK:
            self._died_at[flight.provider] = now


class Breaker(Rival):
    """resilience4j's CircuitBreaker with its defaults, one for each provider, the preferred provider first.

    Opens at 50 % failures in a window of 100 calls, at least 100 of them, for 60 s; then 10 trial calls decide. A call
    slower than 60 s counts as slow, and every exception as a failure.
    """

    WINDOW, THRESHOLD, OPEN_FOR, TRIALS = 100, 0.5, 60.0, 10

    def __init__(self, bases: Mapping[str, float], rng: random.Random) -> None:
        super().__init__(bases, rng)
        self._failures: dict[str, deque[bool]] = {name: deque(maxlen=self.WINDOW) for name in self._names}
        self._opened_at: dict[str, float] = {}
        self._permitted: dict[str, int] = {}  # trial calls left, of those that are half open
        self._trials: dict[str, list[bool]] = {}

    def pick(self, now: float, exclude: AbstractSet[str] = frozenset()) -> str | None:
        """The first whose breaker lets a call through."""
        return next((name for name in self._names if name not in exclude and self._lets_through(name, now)), None)

    def _lets_through(self, name: str, now: float) -> bool:
        if name in self._opened_at:
            return now - self._opened_at[name] >= self.OPEN_FOR
        return self._permitted.get(name, 1) > 0

    def start(self, name: str, now: float) -> Flight:
        """The first call after the wait makes it half open."""
        if self._opened_at.pop(name, None) is not None:
            self._permitted[name], self._trials[name] = self.TRIALS, []
        if name in self._permitted:
            self._permitted[name] -= 1
        return super().start(name, now)

    def finish(self, flight: Flight, verdict: Verdict, now: float, retry_after: float | None = None) -> None:
        """Counted in the state the breaker is in by now."""
        name, failed = flight.provider, verdict is not Verdict.OK
        if name in self._opened_at:
            return
        if name in self._trials:
            self._trials[name].append(failed)
            if len(self._trials[name]) >= self.TRIALS:
                self._decide(name, sum(self._trials.pop(name)) / self.TRIALS, now)
            return
        outcomes = self._failures[name]
        outcomes.append(failed)
        if len(outcomes) == self.WINDOW:
            self._decide(name, sum(outcomes) / self.WINDOW, now)

    def _decide(self, name: str, failure_rate: float, now: float) -> None:
        half_open = self._permitted.pop(name, None) is not None
        if failure_rate >= self.THRESHOLD:
            self._opened_at[name] = now
        if failure_rate >= self.THRESHOLD or half_open:
            self._failures[name].clear()


class PeakEwma(Rival):
    """Finagle's peak EWMA: the smallest of (average latency that believes bad news at once) × (mails in flight + 1).

    It has no notion of failure of its own; here a failure counts as an answer after the penalty, or an error that
    comes fast would draw all mails.
    """

    DECAY, PENALTY = 10.0, 15.0  # seconds

    def __init__(self, bases: Mapping[str, float], rng: random.Random) -> None:
        super().__init__(bases, rng)
        self._cost = dict.fromkeys(self._names, 0.0)
        self._seen = dict.fromkeys(self._names, 0.0)
        self._pending = dict.fromkeys(self._names, 0)

    def pick(self, now: float, exclude: AbstractSet[str] = frozenset()) -> str | None:
        """The least loaded of two at random, as Finagle's balancer takes them."""
        left = [name for name in self._names if name not in exclude]
        pair = self._rng.sample(left, 2) if len(left) > 1 else left
        return min(pair, key=lambda name: self._load(name, now), default=None)

    def _load(self, name: str, now: float) -> float:
        cost, pending = self._cost[name] * math.exp((self._seen[name] - now) / self.DECAY), self._pending[name]
        return self.PENALTY + pending if cost == 0 and pending else cost * (pending + 1)

    def start(self, name: str, now: float) -> Flight:
        """In flight counts at once."""
        self._pending[name] += 1
        return super().start(name, now)

    def finish(self, flight: Flight, verdict: Verdict, now: float, retry_after: float | None = None) -> None:
        """A peak is believed at once, good news slowly."""
        name = flight.provider
        self._pending[name] -= 1
        good = verdict in (Verdict.OK, Verdict.REFUSED)
        took = now - flight.started_at if good else self.PENALTY
        keep = math.exp((self._seen[name] - now) / self.DECAY)
        self._cost[name] = took if took > self._cost[name] else self._cost[name] * keep + took * (1 - keep)
        self._seen[name] = now
