"""Who is asked next: a score for each provider, and guards around it. docs/selector.md shows what each is worth.

 1. score = base·(w + h·(1−w)), w = min(1, seconds since the last failure / 300); success h = 0.9h + 0.1, failure
    h = 0.9h. The best score is asked first.
 2. An answer that is late counts as a failure until it is resolved, when more than a fifth of those in flight is late.
    Late is what the provider's own times suggest, and about a second.
 3. Weights: server, network, proven reject 1; no answer 2; wrong key 3; a success slower than 5 s counts as a failure
    if somebody else could have taken the mail.
 4. A 429 closes the provider until Retry-After; health stays.
 5. A refusal (400) blames nobody, until another provider accepts the same mail.
 6. Failures of weight 3 since the last success bench a provider, if another one scores higher now or health is < 0.2.
 7. Stragglers, attempts begun before the bench, change health and decide nothing else.
 8. After its bench a provider is probed: by one mail at a time, at most one in ten, and only if it could win. If
    nobody else may be asked, it is probed early.
 9. A probe that fails benches for twice as long; three in a row that succeed end the bench.
10. After a bench or a 429 the room for mails in flight starts at 1, doubles with each round trip up to 16, then grows
    slowly, and is lifted once it is not what holds the mails back.
11. pick: a due probe, else the highest score of those that are open, have room and are not silent.
12. If nobody is: the healthiest one on the bench, with few in flight. Sick is better than nothing.
13. Else nobody: the mail waits and loses no try.
14. Nobody is asked while another may still accept the mail: a hedge would be a double. (The caller's part.)
15. exact=True is rule 1 alone, with server, authentication and too-many-requests errors as failures.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from .standing import DEAD, FACTOR, GAIN, Flight, Standing, count

__all__ = ["Candidate", "Flight", "ProviderState", "Selector", "Verdict"]

SLOW = 5.0  # seconds
BENCH_AT = 3  # weight of the failures since the last success
BENCH_JITTER = 0.2  # share of the bench
PROBE_EVERY = 11  # attempts elsewhere for one probe: its own failover, then ten mails
LAST_RESORT_ROOM = 8  # mails in flight


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
    memory: Mapping[str, float | str | None]


_KEPT: tuple[str, ...] = ("paused", "health", "weight", "failures", "benched", "level", "cause", "locked_out", "trials")
_KEPT += ("spared", "refusals", "room", "threshold", "round_trip", "variation")
_KEPT_TIMES = ("failed_at", "bench_until", "opened_at", "closed_until")


class Selector:
    """Chooses among providers. `bases` are their scores when healthy, by name; ties go to the first.

    Every call costs O(number of providers); an unknown name raises KeyError.
    """

    def __init__(self, bases: Mapping[str, float], *, rng: random.Random, exact: bool = False) -> None:
        self._all = tuple(Standing(name, base, exact) for name, base in bases.items())
        self._by_name = {provider.name: provider for provider in self._all}
        self._rng = rng
        self._exact = exact

    @property
    def standings(self) -> Mapping[str, Standing]:
        """The providers as they are remembered, for who brings word of other processes."""
        return self._by_name

    def pick(self, now: float, exclude: AbstractSet[str] = frozenset()) -> str | None:
        """The provider to ask, or None: nobody may be asked now. Changes nothing."""
        benched, best, best_score = [], None, -1.0
        for provider in self._all:
            if provider.name in exclude or not provider.is_askable(now):
                continue
            if provider.benched:
                benched.append(provider)
            elif provider.has_room() and not provider.is_silent(overdue := provider.overdue(now)):
                score = provider.score(now, overdue)
                if score > best_score:
                    best, best_score = provider, score
        if benched:
            best = self._due_probe(benched, best_score, now) or best or self._last_resort(benched, now)
        return best.name if best else None

    def start(self, name: str, now: float) -> Flight:
        """An attempt is in flight from here on."""
        provider = self._by_name[name]
        flight = Flight(name, now, provider.probe_is_due(now, alone=True))
        provider.flights[flight] = now
        for other in self._all:
            other.spared += other is not provider
        if flight.probe:
            provider.probe, provider.spared = flight, 0
        return flight

    def finish(self, flight: Flight, verdict: Verdict, now: float, retry_after: float | None = None) -> None:
        """The attempt has ended; `retry_after` is in seconds. A second call for the same flight changes nothing."""
        provider = self._by_name[flight.provider]
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
            provider.locked_out |= verdict is Verdict.UNAUTHORIZED
            self._fail(provider, flight, WEIGHTS[verdict], now)

    def blame(self, name: str, now: float) -> None:
        """The provider refused a mail that another one then accepted: a failure after all."""
        provider = self._by_name[name]
        if not self._exact:
            self._fail(provider, Flight(name, now, provider.probe_is_due(now, alone=True)), 1, now)

    def give_way(self, flight: Flight, now: float, until: float) -> None:
        """Nothing was sent: another process makes this probe, for which it has until then."""
        self.finish(flight, Verdict.CANCELLED, now)
        provider = self._by_name[flight.provider]
        provider.elsewhere_until, provider.spared = until, PROBE_EVERY

    def survey(self, now: float, exclude: AbstractSet[str] = frozenset()) -> list[Candidate]:
        """Every provider as it stands now, in the order of `bases`."""
        tried = ("tried", "asked before for this mail", None)
        return [Candidate(p.name, p.score(now), *(tried if p.name in exclude else p.in_words(now))) for p in self._all]

    def pause(self, name: str) -> None:
        """Ask this provider nothing until `resume`."""
        self._by_name[name].paused = True

    def resume(self, name: str) -> None:
        """Ask this provider again; a bench ends in a probe with the next mail, for somebody believes in it."""
        provider = self._by_name[name]
        provider.paused = False
        provider.bench_until, provider.spared = -math.inf, PROBE_EVERY

    def snapshot(self, now: float) -> list[ProviderState]:
        """Every provider as it stands now, in the order of `bases`."""
        return [_snapshot(provider, now) for provider in self._all]

    def restore(self, states: Sequence[ProviderState], now: float) -> None:
        """Take over what an earlier snapshot knew. Unknown names are passed over; bases stay as configured."""
        for state in states:
            if provider := self._by_name.get(state.name):
                for name in state.memory.keys() & _KEPT:
                    setattr(provider, name, state.memory[name])
                for name in state.memory.keys() & _KEPT_TIMES:
                    seconds = state.memory[name]
                    setattr(provider, name, now + seconds if isinstance(seconds, (int, float)) else -math.inf)

    def _due_probe(self, benched: Sequence[Standing], to_beat: float, now: float) -> Standing | None:
        """The best benched provider that may be tested, could beat the best ready one, and whose test is earned.

        `to_beat` is negative when nobody is ready.
        """
        alone = to_beat < 0
        due = [p for p in benched if p.base > to_beat and p.probe_is_due(now, alone=alone)]
        earned = [p for p in due if alone or p.trials or p.spared >= PROBE_EVERY]
        return max(earned, key=lambda p: p.base, default=None)

    def _last_resort(self, benched: Sequence[Standing], now: float) -> Standing | None:
        """The healthiest benched provider that is not dead."""
        sick = [p for p in benched if not p.locked_out and p.pulse(now) >= DEAD and len(p.flights) < LAST_RESORT_ROOM]
        return max(sick, key=lambda p: p.base * p.pulse(now), default=None)

    def _finish_classic(self, provider: Standing, verdict: Verdict, now: float) -> None:
        if verdict is Verdict.OK:
            provider.health = FACTOR * provider.health + GAIN
        elif verdict in CLASSIC_FAILURES:
            provider.lower(1, now)

    def _succeed(self, provider: Standing, flight: Flight, now: float) -> None:
        slow = self._is_slow(flight, now)
        provider.learn_round_trip(now - flight.started_at)
        if slow and self._stand_ins(provider, now):
            self._fail(provider, flight, 1, now, floor=DEAD)
            return
        if slow:
            provider.lower(1, now, floor=DEAD)
        elif not flight.probe:
            provider.health = FACTOR * provider.health + GAIN
        if not provider.is_straggler(flight):
            self._believe(provider, flight, now)

    def _is_slow(self, flight: Flight, now: float) -> bool:
        return now - flight.started_at > SLOW

    def _believe(self, provider: Standing, flight: Flight, now: float) -> None:
        """A success that says how the provider is now."""
        provider.weight, provider.failures, provider.locked_out = 0, 0, False
        if flight.probe:
            provider.pass_probe(now)
        elif flight.started_at >= provider.closed_at:
            provider.refusals = 0
            provider.widen_room()

    def _close(self, provider: Standing, flight: Flight, now: float, retry_after: float | None) -> None:
        provider.close(flight, now, retry_after)

    def _fail(self, provider: Standing, flight: Flight, weight: int, now: float, floor: float = 0.0) -> None:
        provider.lower(weight, now, floor)
        if provider.is_straggler(flight):
            return
        provider.weight += weight
        provider.failures += 1
        if flight.probe:
            self._bench(provider, now, "after a failed trial")
        elif not provider.benched:
            provider.narrow_room()
            if self._deserves_bench(provider, now):
                self._bench(provider, now, f"after {count(provider.failures, 'failure')}")

    def _stand_ins(self, provider: Standing, now: float) -> list[Standing]:
        """Those that could take the mails instead."""
        return [p for p in self._all if p is not provider and p.is_askable(now) and not p.benched]

    def _deserves_bench(self, provider: Standing, now: float) -> bool:
        """Whether it failed enough, and the mails are better off without it."""
        if provider.weight < BENCH_AT:
            return False
        if provider.locked_out or provider.health < DEAD:
            return True
        score = provider.score(now)
        return any(other.score(now) > score for other in self._stand_ins(provider, now))

    def _bench(self, provider: Standing, now: float, cause: str) -> None:
        provider.bench(now, cause, self._rng.uniform(1 - BENCH_JITTER, 1 + BENCH_JITTER))


def _snapshot(provider: Standing, now: float) -> ProviderState:
    state, reason, until = provider.in_words(now)
    ages = {name: getattr(provider, name) - now for name in _KEPT_TIMES}
    return ProviderState(
        name=provider.name,
        base=provider.base,
        score=provider.score(now),
        health=provider.health,
        state=state,
        until=until,
        reason=reason,
        in_flight=len(provider.flights),
        overdue=provider.overdue(now),
        error_age=now - provider.failed_at if provider.failed_at > -math.inf else None,
        memory={name: getattr(provider, name) for name in _KEPT}
        | {name: seconds if seconds > -math.inf else None for name, seconds in ages.items()},
    )
