"""What is read off a run: the measures, by name, and their summary over the runs with other seeds."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ..selector import Verdict
from .scenarios import Scenario, Watch
from .world import Attempt, Log, Mail

Measures = dict[str, float | None]

NAMES = {
    "failed_per_100": "failed attempts on good mails for each 100 good mails",
    "share_preferred": "% of first picks on the watched provider while it had no scripted fault",
    "p50": "s from arrival to acceptance, half of the mails",
    "p99": "s from arrival to acceptance, 99 of 100 mails",
    "leave_s": "s from the fault until fewer than 10 % of first picks in a window are on the watched provider",
    "back_s": "s from the cure until at least 90 % of first picks in a window are on it again",
    "timeouts": "attempts without an answer; each is a possible double",
    "wasted_probes": "failed attempts on the watched provider after it was left, before the cure",
    "lost": "good mails that nobody took",
    "peak_in_flight": "most mails in flight at the watched provider",
    "dear_share": "% of mails delivered by the dearest provider",
    "cost": "for each delivered mail",
    "failed": "failed attempts on good mails",
    "failed_after": "failed attempts on good mails begun after the cure",
    "backlog_s": "s from the cure until all that waited then had been started",
    "back_mails": "first picks from the cure until the watched provider was back",
    "most_of_ten": "most first picks on the watched provider in any ten in a row, after it was left, before the cure",
    "health_low": "the lowest health any provider ever had (1: nobody was ever blamed)",
}
FAILURES = frozenset(Verdict) - {Verdict.OK, Verdict.REFUSED, Verdict.CANCELLED}


@dataclass(frozen=True, slots=True)
class Summary:
    """One measure over several runs; a run has no value for what never happened.

    `mean` is over the runs that have one, None if most have none; `max` is None if any has none.
    """

    mean: float | None
    min: float | None
    max: float | None


def measure(scenario: Scenario, log: Log) -> Measures:
    """The measures of one run."""
    watch = scenario.watched
    good = [mail for mail in log.mails if not mail.poison]
    delivered = [mail for mail in good if mail.delivered_at is not None]
    failed = [attempt for attempt in log.attempts if _is_failure(attempt) and not attempt.mail.poison]
    latencies = sorted(mail.delivered_at - mail.arrived for mail in delivered if mail.delivered_at is not None)
    picks = _Picks(log.mails, watch.provider)
    leave, back = picks.leave(watch), picks.back(watch, scenario.duration)
    left_at = watch.to if leave is None else watch.from_ + leave
    dearest = max(scenario.providers, key=lambda name: scenario.providers[name].cost)
    by_dearest = sum(mail.delivered_by == dearest for mail in delivered)
    spent = sum(scenario.providers[mail.delivered_by].cost for mail in delivered if mail.delivered_by)
    return {
        "failed_per_100": 100 * len(failed) / max(1, len(good)),
        "share_preferred": picks.share_outside(_faults(scenario)),
        "p50": _quantile(latencies, 0.5),
        "p99": _quantile(latencies, 0.99),
        "leave_s": leave,
        "back_s": back,
        "timeouts": sum(attempt.verdict is Verdict.UNANSWERED for attempt in log.attempts),
        "wasted_probes": sum(
            attempt.provider == watch.provider and left_at < attempt.started < watch.to for attempt in failed
        ),
        "lost": len(good) - len(delivered),
        "peak_in_flight": log.peak_in_flight[watch.provider],
        "dear_share": 100 * by_dearest / max(1, len(delivered)),
        "cost": spent / max(1, len(delivered)),
        "failed": len(failed),
        "failed_after": sum(attempt.started >= watch.to for attempt in failed),
        "backlog_s": _backlog(log.attempts, watch),
        "back_mails": None if back is None else picks.count(watch.to, watch.to + back),
        "most_of_ten": picks.most_of_ten(left_at, watch.to),
        "health_low": min((state.health for _, states in log.samples for state in states), default=None),
    }


def summarize(runs: Sequence[Measures]) -> dict[str, Summary]:
    """Mean, least and most of each measure."""
    return {name: _summary([run[name] for run in runs]) for name in runs[0]}


def _summary(values: Sequence[float | None]) -> Summary:
    known = [value for value in values if value is not None]
    mean = sum(known) / len(known) if 2 * len(known) > len(values) else None
    return Summary(mean, min(known, default=None), max(known) if len(known) == len(values) else None)


def _is_failure(attempt: Attempt) -> bool:
    return attempt.blamed or attempt.verdict in FAILURES


def _faults(scenario: Scenario) -> list[tuple[float, float]]:
    """When the watched provider was in a scripted fault. One that lasts as long as the run is its nature."""
    faults = scenario.providers[scenario.watched.provider].faults
    return [(fault.from_, fault.to) for fault in faults if fault.from_ > 0 or fault.to < scenario.duration]


def _quantile(values: Sequence[float], share: float) -> float | None:
    return values[min(len(values) - 1, int(share * len(values)))] if values else None


def _backlog(attempts: Sequence[Attempt], watch: Watch) -> float | None:
    """Mails that had arrived and were not delivered at the cure: until the last of them was sent again."""
    started: dict[int, float] = {}
    for attempt in attempts:
        if attempt.mail.arrived < watch.to <= attempt.started:
            started.setdefault(id(attempt.mail), attempt.started)
    return max(started.values(), default=watch.to) - watch.to


class _Picks:
    """The first picks of a run: when, and whether on the watched provider. Windows are cut by bisection."""

    def __init__(self, mails: Sequence[Mail], watched: str) -> None:
        picked = sorted((mail.first_picked_at, mail.first_pick == watched) for mail in mails if mail.first_pick)
        self._times = [time for time, _ in picked]
        self._hits = [hit for _, hit in picked]
        self._before = [0, *accumulate(self._hits)]

    def count(self, start: float, end: float) -> int:
        """How many lie in [start, end)."""
        return bisect_left(self._times, end) - bisect_left(self._times, start)

    def leave(self, watch: Watch) -> float | None:
        """Seconds until it was left; None if it never was before the cure."""
        return self._first(watch.from_, watch.to, watch.window, lambda share: share < 0.1)

    def back(self, watch: Watch, duration: float) -> float | None:
        """Seconds until it was preferred again; None if it never was."""
        return self._first(watch.to, duration, watch.window, lambda share: share >= 0.9)

    def _first(self, start: float, end: float, window: float, fits: Callable[[float], bool]) -> float | None:
        """Seconds from `start` to the first window that fits; windows open at `start` and right after each pick."""
        first = bisect_left(self._times, start)
        for index in range(first, len(self._times) + 1):
            opens = start if index == first else self._times[index - 1]
            if opens + window > end:
                return None
            closes = bisect_left(self._times, opens + window)
            if closes > index and fits((self._before[closes] - self._before[index]) / (closes - index)):
                return opens - start
        return None

    def share_outside(self, faults: Sequence[tuple[float, float]]) -> float | None:
        """% on the watched provider outside of its faults."""
        inside = [(bisect_left(self._times, start), bisect_left(self._times, end)) for start, end in faults]
        total = len(self._times) - sum(end - start for start, end in inside)
        hits = self._before[-1] - sum(self._before[end] - self._before[start] for start, end in inside)
        return 100 * hits / total if total else None

    def most_of_ten(self, start: float, end: float) -> float:
        """The most on the watched provider in any ten in a row."""
        hits = self._hits[bisect_right(self._times, start) : bisect_left(self._times, end)]
        return max((sum(hits[index : index + 10]) for index in range(max(1, len(hits) - 9))), default=0)
