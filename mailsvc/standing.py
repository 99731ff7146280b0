"""How one provider stands: its health, its mails in flight, its bench, its room. Rules that need no other provider.

Times are seconds in the clock of `now`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RECOVERY = 300.0  # seconds after which a failure is forgiven
FACTOR, GAIN = 0.9, 0.1  # what a failure leaves of health; what a success adds to the nine tenths it leaves
LATE, LATE_LEAST = 1.0, 0.25  # seconds: late for a provider of unknown speed; never late before
LATE_ROUND_TRIPS, LATE_VARIATIONS = 5, 5  # late for a quick provider; late for one whose times vary
SMOOTHING = 16  # answers
LATE_COUNTED = 22  # 0.9^22 < 0.1: more would not change who is asked
LATE_TOLERATED = 5  # one in so many of those in flight
DEAD = 0.2  # health below which nobody is asked but by a probe
BENCH, BENCH_MAX, BENCH_AUTH = 5.0, 60.0, 300.0  # seconds: the first, the longest, the one for a wrong key
BENCH_ALONE = 15.0  # seconds, when nobody else may be asked
TRIALS = 3  # probes in a row that must succeed
CLOSED_DEFAULT, CLOSED_DEFAULT_MAX = 30.0, 300.0  # seconds, for a 429 that names no time
CLOSED_MIN, CLOSED_MAX = 1.0, 3600.0  # seconds, for one that does
DOUBLINGS = 10  # more are not remembered
ROOM_FREE, ROOM_FLOOR = 16, 8  # mails in flight: grows slowly from here on; no failure narrows it below this
ROOM_SLOWLY = 4  # round trips for one more
UNLIMITED = 1e9  # mails in flight


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """An attempt in flight. `probe`: it helps to decide whether a benched provider comes back."""

    provider: str
    started_at: float
    probe: bool = False


@dataclass(slots=True)
class Standing:
    """One provider, as the selector remembers it. `exact` knows the score and nothing else."""

    name: str
    base: float
    exact: bool = False
    paused: bool = False
    health: float = 1.0
    failed_at: float = -math.inf
    flights: dict[Flight, float] = field(default_factory=dict)  # when each began, oldest first
    round_trip: float = 0.0
    variation: float = 0.0  # of the round trip
    weight: int = 0  # of the failures since the last success
    failures: int = 0  # since the last success
    benched: bool = False
    bench_until: float = -math.inf
    benched_at: float = -math.inf
    opened_at: float = -math.inf  # when the last bench ended
    level: int = 0  # of the next bench
    cause: str = ""  # of the last bench
    locked_out: bool = False  # it refused the key, and nothing has succeeded since
    probe: Flight | None = None
    trials: int = 0  # probes that succeeded in a row
    spared: int = 0  # attempts elsewhere since the bench or the last probe
    closed_until: float = -math.inf
    closed_at: float = -math.inf
    refusals: int = 0  # 429s in a row that named no time
    room: float = UNLIMITED
    threshold: float = UNLIMITED  # of the room, from which on it grows slowly
    elsewhere_until: float = -math.inf  # another process makes a probe

    def score(self, now: float, overdue: int | None = None) -> float:
        """What is compared and shown, from 0 to `base`. `overdue` if it is known already."""
        late = self.overdue(now) if overdue is None else overdue
        if late:
            return self.base * (self.health * FACTOR**late)
        forgiven = min(1.0, (now - self.failed_at) / RECOVERY)
        return self.base * (forgiven + self.health * (1.0 - forgiven))

    def overdue(self, now: float) -> int:
        """How many answers are late (after RFC 6298), if they are many: of hundreds in flight some always are."""
        if self.exact or not self.flights:
            return 0
        usual = LATE_ROUND_TRIPS * self.round_trip
        soon = max(LATE_LEAST, min(LATE, usual)) if usual else LATE
        before = now - max(soon, self.round_trip + LATE_VARIATIONS * self.variation)
        tolerated, late = len(self.flights) // LATE_TOLERATED, 0
        enough = max(LATE_COUNTED, tolerated + 1)
        for begun in self.flights.values():
            if begun >= before or late == enough:
                break
            late += 1
        return min(late, LATE_COUNTED) if late > tolerated else 0

    def pulse(self, now: float) -> float:
        """Health with what is overdue, and without forgiveness."""
        return self.health * FACTOR ** self.overdue(now)

    def is_silent(self, overdue: int) -> bool:
        """Whether so many answers are late that more mails would only be more doubles."""
        return overdue > 0 and self.health * FACTOR**overdue < DEAD

    def is_askable(self, now: float) -> bool:
        """Whether neither a person nor the provider itself forbids to ask it."""
        return now >= self.closed_until and not self.paused

    def has_room(self) -> bool:
        """Whether one more mail may be in flight."""
        return len(self.flights) + 1 <= self.room

    def probe_is_due(self, now: float, *, alone: bool) -> bool:
        """`alone`: nobody else may be asked, so there is nothing better to do than to try early."""
        early = alone and not self.locked_out and now >= self.benched_at + BENCH_ALONE
        free = self.probe is None and now >= self.elsewhere_until
        return self.benched and free and (early or now >= self.bench_until)

    def is_straggler(self, flight: Flight) -> bool:
        """Whether the attempt is older than the bench and so tells nothing new."""
        return flight.started_at < self.benched_at

    def lower(self, weight: int, now: float, floor: float = 0.0) -> None:
        """A failure. Slowness alone does not push health below `floor`."""
        self.health = max(min(self.health, floor), self.health * FACTOR**weight)
        self.failed_at = now

    def learn_round_trip(self, took: float) -> None:
        """Smoothed time and variation, as TCP has them, but smoother: a nervous estimate costs doubles."""
        if self.round_trip:
            self.variation += (abs(took - self.round_trip) - self.variation) / SMOOTHING
            self.round_trip += (took - self.round_trip) / SMOOTHING
        else:
            self.round_trip, self.variation = took, took / 2

    def bench(self, now: float, cause: str, jitter: float) -> None:
        """Twice as long as the last time, which is forgotten after five minutes on the field."""
        if not self.benched and now - self.opened_at >= RECOVERY:
            self.level = 0
        seconds = BENCH_AUTH if self.locked_out else min(BENCH_MAX, BENCH * 2**self.level)
        self.benched, self.benched_at, self.bench_until = True, now, now + seconds * jitter
        self.level = min(self.level + 1, DOUBLINGS)
        self.cause = "because it refused the key" if self.locked_out else cause
        self.trials = self.spared = 0

    def pass_probe(self, now: float) -> None:
        """Gives back two thirds of what health lacks; the next probe may follow at once."""
        self.health = (2.0 + self.health) / 3
        self.bench_until = now
        self.trials += 1
        if self.trials >= TRIALS:
            self.benched, self.opened_at = False, now
            self.restart_with_one()

    def close(self, flight: Flight, now: float, retry_after: float | None) -> None:
        """A 429. One to an attempt older than the last 429 says nothing new, unless it names a later time."""
        if retry_after is not None:
            seconds = max(CLOSED_MIN, min(CLOSED_MAX, retry_after))
        elif flight.started_at >= self.closed_at:
            seconds = min(CLOSED_DEFAULT_MAX, CLOSED_DEFAULT * 2**self.refusals)
            self.refusals = min(self.refusals + 1, DOUBLINGS)
        else:
            return
        self.closed_at, self.closed_until = now, max(self.closed_until, now + seconds)
        self.restart_with_one()

    def word(self) -> tuple[bool, bool, float, int, float]:
        """What processes that share a store agree on; the score is each one's own."""
        return self.paused, self.benched, self.bench_until, self.trials, self.closed_until

    def bench_memory(self) -> dict[str, float | str | bool]:
        """What other processes have to know of a bench beside its end."""
        return {name: getattr(self, name) for name in ("health", "level", "cause", "locked_out", "trials")}

    def follow_bench(self, now: float, until: float, memory: Mapping[str, Any]) -> None:
        """Another process has benched it, or tried it. Its health counts, so that a dead one is not taken for sick."""
        if not self.benched or until > max(now, self.bench_until):
            self.benched_at, self.spared = now, 0
        tried = memory.get("trials", 0) > self.trials
        self.health = (max if tried else min)(self.health, memory.get("health", self.health))
        self.benched, self.bench_until = True, until
        for name in memory.keys() & {"level", "cause", "locked_out", "trials"}:
            setattr(self, name, memory[name])

    def follow_end(self, now: float, memory: Mapping[str, Any]) -> None:
        """Another process has ended the bench."""
        if self.benched:
            self.health = max(self.health, memory.get("health", 0.0))
            self.benched, self.opened_at, self.locked_out, self.weight = False, now, False, 0
            self.restart_with_one()

    def follow_closing(self, now: float, until: float) -> None:
        """Another process was asked to leave it alone."""
        self.closed_at, self.closed_until = now, until
        self.restart_with_one()

    def restart_with_one(self) -> None:
        """What was held back must not arrive all at once."""
        self.room, self.threshold = 1.0, float(ROOM_FREE)

    def widen_room(self) -> None:
        """By one for each success, which doubles it in a round trip; slowly above the threshold; no more a limit once
        there is room for ROOM_FREE and it was not used up.
        """
        was_full = len(self.flights) + 2 > self.room
        if self.room >= ROOM_FREE and not was_full:
            self.room = self.threshold = UNLIMITED
        elif self.room < UNLIMITED:
            self.room += 1.0 if self.room < self.threshold else 1.0 / (ROOM_SLOWLY * self.room)

    def narrow_room(self) -> None:
        """A failure while there is a limit: half of what is in flight is what it can take."""
        if self.room < UNLIMITED:
            self.threshold = max(float(ROOM_FLOOR), len(self.flights) / 2)
            self.room = min(self.room, self.threshold)

    def in_words(self, now: float) -> tuple[str, str, float | None]:
        """State, reason, until; for a person at three in the morning."""
        if self.paused:
            return "paused", "paused by hand", None
        if now < self.closed_until:
            left = _span(self.closed_until - now)
            return "closed", f"closed for {left}: it said that it gets too many mails", self.closed_until
        if now < self.elsewhere_until:
            return "benched", f"benched {self.cause}; another process has a trial mail on its way", None
        if self.probe:
            return "benched", f"benched {self.cause}; a trial mail is on its way", None
        if self.probe_is_due(now, alone=False):
            return "benched", f"benched {self.cause}; waits for a mail to try it with", None
        if self.benched:
            return "benched", f"benched for {_span(self.bench_until - now)} {self.cause}", self.bench_until
        if not self.has_room():
            return "full", f"no more than {count(int(self.room), 'mail')} at a time while it recovers", None
        overdue = self.overdue(now)
        words = f"{count(overdue, 'answer')} overdue" if overdue else ""
        if self.is_silent(overdue):
            return "full", f"{words}; gets no more mails until some have come", None
        return "open", words, None


def count(number: int, noun: str) -> str:
    """`1 mail`, `2 mails`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _span(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds <= 120 else f"{math.ceil(seconds / 60)} min"
