"""Who is asked next: a score for each provider, and guards around it. docs/selector.md shows what each is worth.

 1. score = base·(w + h·(1−w)), w = min(1, seconds since the last failure / 300); success h = 0.9h + 0.1,
    failure h = 0.9h.
 2. An answer overdue (1 s, or longer if the provider's own times say so) counts as a failure until it is resolved.
 3. Weights: server, network, proven reject 1; no answer 2; wrong key 3; a success slower than 5 s counts as a failure.
 4. A 429 closes the provider until Retry-After; health stays. It starts again with one mail in flight.
 5. A refusal (400) blames nobody, until another provider accepts the same mail.
 6. Failures of weight 3 since the last success bench a provider, if another one scores higher now or health is < 0.2.
 7. Stragglers, attempts begun before the bench, change health and decide nothing else.
 8. After its bench a provider is probed: by one mail at a time, at most one in ten, and only if it could win.
 9. A probe that fails benches for twice as long; three in a row that succeed end the bench.
10. After a bench or a 429 the room for mails in flight starts at 1 and grows with each success.
11. pick: a due probe, else the highest score of those that are open and have room.
12. If nobody is: the healthiest one on the bench, with few in flight. Sick is better than nothing.
13. Else nobody: the mail waits and loses no try.
14. Nobody is asked while another may still accept the mail: a hedge would be a double. (The caller's part.)
15. exact=True is rule 1 alone, with server, authentication and too-many-requests errors as failures.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

RECOVERY = 300.0  # seconds after which a failure is forgiven
FACTOR, GAIN = 0.9, 0.1  # what a failure leaves of health, what a success adds to the nine tenths it leaves
SLOW = 5.0  # seconds
OVERDUE_AFTER = 1.0  # seconds an answer may always take
OVERDUE_COUNTED = 22  # 0.9^22 < 0.1: more would not change who is asked
BENCH_AT = 3  # weight of the failures since the last success
BENCH, BENCH_MAX, BENCH_AUTH = 5.0, 60.0, 300.0  # seconds: the first, the longest, the one for a wrong key
BENCH_JITTER = 0.2  # share of the bench
TRIALS = 3  # probes in a row that must succeed
PROBE_EVERY = 10  # mails sent elsewhere for one probe
ROOM_FREE, ROOM_FLOOR = 32, 8  # mails in flight: from here on without a limit; no failure halves it below this
UNLIMITED = 1e9  # mails in flight
DEAD = 0.2  # health below which not even the last resort asks
LAST_RESORT_ROOM = 8  # mails in flight
CLOSED_DEFAULT, CLOSED_DEFAULT_MAX = 30.0, 300.0  # seconds, for a 429 that names no time
CLOSED_MIN, CLOSED_MAX = 1.0, 3600.0  # seconds, for one that does
DOUBLINGS = 10  # more are not remembered


class Verdict(StrEnum):
    """What an attempt says about its provider."""

    OK = "ok"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    UNREACHABLE = "unreachable"
    UNANSWERED = "unanswered"
    UNAUTHORIZED = "unauthorized"
    CANCELLED = "cancelled"


WEIGHTS = {Verdict.SERVER_ERROR: 1, Verdict.UNREACHABLE: 1, Verdict.UNANSWERED: 2, Verdict.UNAUTHORIZED: 3}
CLASSIC_FAILURES = frozenset({Verdict.SERVER_ERROR, Verdict.UNAUTHORIZED, Verdict.RATE_LIMITED})


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """An attempt in flight. `probe`: it helps to decide whether a benched provider comes back."""

    provider: str
    started_at: float
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """One provider at the moment of a choice.

    `state` is open, benched, closed, paused or full; `tried` if it was excluded. `reason` is in words, empty when there
    is nothing to say. `until` is in the clock of `now`, None when no time is known.
    """

    name: str
    score: float
    state: str
    reason: str
    until: float | None


@dataclass(frozen=True, slots=True)
class ProviderState:
    """One provider for people, and in `memory` what `restore` needs: JSON values, times as seconds from now.

    `until` is in the clock of `now`; `error_age` is in seconds, None if there was no failure.
    """

    name: str
    base: float
    score: float
    health: float
    state: str
    until: float | None
    reason: str
    in_flight: int
    overdue: int
    error_age: float | None
    memory: Mapping[str, Any]


@dataclass(slots=True)
class _Provider:
    name: str
    base: float
    health: float = 1.0
    failed_at: float = -math.inf
    flights: OrderedDict[Flight, None] = field(default_factory=OrderedDict)  # oldest first
    round_trip: float = 0.0
    variation: float = 0.0  # of the round trip
    weight: int = 0  # of the failures since the last success
    failures: int = 0
    benched: bool = False
    bench_until: float = -math.inf
    benched_at: float = -math.inf
    level: int = 0  # of the next bench
    cause: str = ""  # of the last bench
    locked_out: bool = False  # it refused the key, and nothing has succeeded since
    probe: Flight | None = None
    trials: int = 0  # probes that succeeded in a row
    spared: int = 0  # mails sent elsewhere since the bench or the last probe
    closed_until: float = -math.inf
    closed_at: float = -math.inf
    refusals: int = 0  # 429s in a row that named no time
    room: float = UNLIMITED
    threshold: float = UNLIMITED  # of the room, from which on it grows slowly
    paused: bool = False

    def has_room(self) -> bool:
        return len(self.flights) + 1 <= self.room

    def is_askable(self, now: float) -> bool:
        return now >= self.closed_until and not self.paused

    def probe_is_due(self, now: float) -> bool:
        return self.benched and now >= self.bench_until and self.probe is None

    def is_straggler(self, flight: Flight) -> bool:
        return flight.started_at < self.benched_at


_KEPT: tuple[str, ...] = ("health", "weight", "failures", "benched", "level", "cause", "locked_out", "trials", "spared")
_KEPT += ("refusals", "room", "threshold", "paused", "round_trip", "variation")
_KEPT_TIMES = ("failed_at", "bench_until", "closed_until")


class Selector:
    """Chooses among providers. `bases` are their scores when healthy, by name; ties go to the first.

    Every call costs O(number of providers); an unknown name raises KeyError.
    """

    def __init__(self, bases: Mapping[str, float], *, rng: random.Random, exact: bool = False) -> None:
        self._providers = {name: _Provider(name, base) for name, base in bases.items()}
        self._all = tuple(self._providers.values())
        self._rng = rng
        self._exact = exact

    def pick(self, now: float, exclude: AbstractSet[str] = frozenset()) -> str | None:
        """The provider to ask, or None: nobody may be asked now. Changes nothing."""
        askable = [p for p in self._all if p.is_askable(now) and p.name not in exclude]
        benched = [p for p in askable if p.benched]
        ready = [p for p in askable if not p.benched and p.has_room()]
        chosen = max(ready, key=lambda p: self._score(p, now), default=None)
        if benched:
            chosen = self._due_probe(benched, chosen, now) or chosen or self._last_resort(benched, now)
        return chosen.name if chosen else None

    def start(self, name: str, now: float) -> Flight:
        """An attempt is in flight from here on."""
        provider = self._providers[name]
        flight = Flight(name, now, provider.probe_is_due(now))
        provider.flights[flight] = None
        for other in self._all:
            other.spared += other is not provider
        if flight.probe:
            provider.probe, provider.spared = flight, 0
        return flight

    def finish(self, flight: Flight, verdict: Verdict, now: float, retry_after: float | None = None) -> None:
        """The attempt has ended; `retry_after` is in seconds. A second call for the same flight changes nothing."""
        provider = self._providers[flight.provider]
        if flight not in provider.flights:
            return
        del provider.flights[flight]
        if flight is provider.probe:
            provider.probe = None
        if self._exact:
            self._finish_classic(provider, verdict, now)
        elif verdict is Verdict.OK:
            self._succeed(provider, flight, now)
        elif verdict is Verdict.RATE_LIMITED:
            self._close(provider, flight, now, retry_after)
        elif verdict in WEIGHTS:
            self._fail(provider, flight, WEIGHTS[verdict], now, locked_out=verdict is Verdict.UNAUTHORIZED)

    def blame(self, name: str, now: float) -> None:
        """The provider refused a mail that another one then accepted: a failure after all."""
        provider = self._providers[name]
        if not self._exact:
            self._fail(provider, Flight(name, now, provider.probe_is_due(now)), 1, now)

    def survey(self, now: float, exclude: AbstractSet[str] = frozenset()) -> list[Candidate]:
        """Every provider as it stands now, in the order of `bases`."""
        tried = ("tried", "asked before for this mail", None)
        states = [tried if p.name in exclude else self._state(p, now) for p in self._all]
        return [Candidate(p.name, self._score(p, now), *state) for p, state in zip(self._all, states, strict=True)]

    def pause(self, name: str) -> None:
        """Ask this provider nothing until `resume`."""
        self._providers[name].paused = True

    def resume(self, name: str) -> None:
        """Ask this provider again; a bench ends in a probe with the next mail, for somebody believes in it."""
        provider = self._providers[name]
        provider.paused = False
        provider.bench_until, provider.spared = -math.inf, PROBE_EVERY

    def snapshot(self, now: float) -> list[ProviderState]:
        """Every provider as it stands now, in the order of `bases`."""
        return [self._snapshot(provider, now) for provider in self._all]

    def restore(self, states: Sequence[ProviderState], now: float) -> None:
        """Take over what an earlier snapshot knew. Unknown names are passed over; bases stay as configured."""
        for state in states:
            if provider := self._providers.get(state.name):
                for name in state.memory.keys() & _KEPT:
                    setattr(provider, name, state.memory[name])
                for name in state.memory.keys() & _KEPT_TIMES:
                    seconds = state.memory[name]
                    setattr(provider, name, -math.inf if seconds is None else now + seconds)

    def _score(self, provider: _Provider, now: float) -> float:
        overdue = self._overdue(provider, now)
        if overdue:
            return provider.base * (provider.health * FACTOR**overdue)
        forgiven = min(1.0, (now - provider.failed_at) / RECOVERY)
        return provider.base * (forgiven + provider.health * (1.0 - forgiven))

    def _overdue(self, provider: _Provider, now: float) -> int:
        """How many answers are late, by TCP's estimate of what is late (RFC 6298)."""
        before = now - max(OVERDUE_AFTER, provider.round_trip + 4 * provider.variation)
        count = 0
        for flight in provider.flights:
            if self._exact or flight.started_at >= before or count == OVERDUE_COUNTED:
                break
            count += 1
        return count

    def _due_probe(self, benched: Sequence[_Provider], best: _Provider | None, now: float) -> _Provider | None:
        """The best benched provider that may be tested, could beat the best ready one, and whose test is earned."""
        to_beat = self._score(best, now) if best else -1.0
        due = [p for p in benched if p.probe_is_due(now) and p.base > to_beat]
        earned = [p for p in due if best is None or p.trials or p.spared >= PROBE_EVERY]
        return max(earned, key=lambda p: p.base, default=None)

    def _last_resort(self, benched: Sequence[_Provider], now: float) -> _Provider | None:
        """The healthiest benched provider that is not dead."""
        alive = {p.name: p.health * FACTOR ** self._overdue(p, now) for p in benched if not p.locked_out}
        sick = [p for p in benched if alive.get(p.name, 0.0) >= DEAD and len(p.flights) < LAST_RESORT_ROOM]
        return max(sick, key=lambda p: p.base * alive[p.name], default=None)

    def _finish_classic(self, provider: _Provider, verdict: Verdict, now: float) -> None:
        if verdict is Verdict.OK:
            provider.health = FACTOR * provider.health + GAIN
        elif verdict in CLASSIC_FAILURES:
            provider.health = FACTOR * provider.health
            provider.failed_at = now

    def _succeed(self, provider: _Provider, flight: Flight, now: float) -> None:
        took = now - flight.started_at
        self._learn_round_trip(provider, took)
        if self._is_too_slow(provider, took):
            self._fail(provider, flight, 1, now)
            return
        provider.health = FACTOR * provider.health + GAIN
        if provider.is_straggler(flight):
            return
        provider.weight, provider.failures, provider.locked_out = 0, 0, False
        if flight.started_at >= provider.closed_at:
            provider.refusals = 0
        if flight.probe:
            self._pass_probe(provider, now)
        elif flight.started_at >= provider.closed_at and not provider.benched:
            self._widen_room(provider)

    def _fail(self, provider: _Provider, flight: Flight, weight: int, now: float, locked_out: bool = False) -> None:
        provider.health *= FACTOR**weight
        provider.failed_at = now
        provider.locked_out |= locked_out
        if provider.is_straggler(flight):
            return
        provider.weight += weight
        provider.failures += 1
        if flight.probe:
            self._bench(provider, now, "after a failed trial")
        elif not provider.benched:
            self._narrow_room(provider)
            if self._deserves_bench(provider, now):
                self._bench(provider, now, f"after {_count(provider.failures, 'failure')}")

    def _learn_round_trip(self, provider: _Provider, took: float) -> None:
        if provider.round_trip:
            provider.variation += (abs(took - provider.round_trip) - provider.variation) / 4
            provider.round_trip += (took - provider.round_trip) / 8
        else:
            provider.round_trip, provider.variation = took, took / 2

    def _is_too_slow(self, provider: _Provider, took: float) -> bool:
        """From a nearly dead provider even a slow success is good news."""
        return took > SLOW and provider.health > DEAD

    def _deserves_bench(self, provider: _Provider, now: float) -> bool:
        """Whether it failed enough, and the mails are better off without it."""
        if provider.weight < BENCH_AT:
            return False
        if provider.locked_out or provider.health < DEAD:
            return True
        others = [other for other in self._all if other.is_askable(now) and not other.benched]
        return any(self._score(other, now) > self._score(provider, now) for other in others)

    def _bench(self, provider: _Provider, now: float, cause: str) -> None:
        seconds = BENCH_AUTH if provider.locked_out else min(BENCH_MAX, BENCH * 2**provider.level)
        provider.benched, provider.benched_at = True, now
        provider.bench_until = now + seconds * self._rng.uniform(1 - BENCH_JITTER, 1 + BENCH_JITTER)
        provider.level = min(provider.level + 1, DOUBLINGS)
        provider.cause = "because it refused the key" if provider.locked_out else cause
        provider.trials = provider.spared = 0

    def _pass_probe(self, provider: _Provider, now: float) -> None:
        """One step back; the next probe may follow at once."""
        provider.health = (1.0 + provider.health) / 2
        provider.bench_until = now
        provider.trials += 1
        if provider.trials >= TRIALS:
            provider.benched = False
            self._restart_with_one(provider)

    def _close(self, provider: _Provider, flight: Flight, now: float, retry_after: float | None) -> None:
        """A 429. Those begun before the last one say nothing new, unless they name a later time."""
        if retry_after is not None:
            seconds = max(CLOSED_MIN, min(CLOSED_MAX, retry_after))
        elif flight.started_at >= provider.closed_at:
            seconds = min(CLOSED_DEFAULT_MAX, CLOSED_DEFAULT * 2**provider.refusals)
            provider.refusals = min(provider.refusals + 1, DOUBLINGS)
        else:
            return
        provider.closed_at, provider.closed_until = now, max(provider.closed_until, now + seconds)
        self._restart_with_one(provider)

    def _restart_with_one(self, provider: _Provider) -> None:
        provider.room, provider.threshold = 1.0, UNLIMITED

    def _widen_room(self, provider: _Provider) -> None:
        """By one for each success, which doubles in a round trip; above the threshold by one in a round trip."""
        if provider.room < UNLIMITED:
            provider.room += 1.0 if provider.room < provider.threshold else 1.0 / provider.room
        if provider.room >= ROOM_FREE and provider.has_room():
            provider.room, provider.threshold, provider.level = UNLIMITED, UNLIMITED, 0

    def _narrow_room(self, provider: _Provider) -> None:
        if provider.room < UNLIMITED:
            provider.threshold = max(float(ROOM_FLOOR), len(provider.flights) / 2)
            provider.room = min(provider.room, provider.threshold)

    def _state(self, provider: _Provider, now: float) -> tuple[str, str, float | None]:
        """State, reason, until; in words for a person at three in the morning."""
        if provider.paused:
            return "paused", "paused by hand", None
        if now < provider.closed_until:
            left = _span(provider.closed_until - now)
            return "closed", f"closed for {left}: it said that it gets too many mails", provider.closed_until
        if provider.probe:
            return "benched", f"benched {provider.cause}; a trial mail is on its way", None
        if provider.probe_is_due(now):
            return "benched", f"benched {provider.cause}; waits for a mail to try it with", None
        if provider.benched:
            left = _span(provider.bench_until - now)
            return "benched", f"benched for {left} {provider.cause}", provider.bench_until
        if not provider.has_room():
            return "full", f"no more than {_count(int(provider.room), 'mail')} at a time while it recovers", None
        overdue = self._overdue(provider, now)
        return "open", f"{_count(overdue, 'answer')} overdue" if overdue else "", None

    def _snapshot(self, provider: _Provider, now: float) -> ProviderState:
        state, reason, until = self._state(provider, now)
        memory = {name: getattr(provider, name) for name in _KEPT}
        times = {name: getattr(provider, name) - now for name in _KEPT_TIMES}
        memory |= {name: seconds if seconds > -math.inf else None for name, seconds in times.items()}
        score, overdue = self._score(provider, now), self._overdue(provider, now)
        error_age = None if memory["failed_at"] is None else -memory["failed_at"]
        return ProviderState(
            provider.name, provider.base, score, provider.health, state, until, reason,
            len(provider.flights), overdue, error_age, memory,
        )  # fmt: skip


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _span(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds <= 120 else f"{math.ceil(seconds / 60)} min"
