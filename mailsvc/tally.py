"""What this process has done and seen since it started: for people and their tools, not for the selector."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from .model import Outcome, ReportType

BOUNDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds


@dataclass(slots=True)
class Count:
    """`last_error_at` is a Unix time."""

    sent: int = 0
    failed: int = 0
    last_error: str | None = None
    last_error_at: float | None = None


@dataclass(slots=True)
class Durations:
    """How many took up to each of BOUNDS and more than the one before it; the last of `counts` took longer than all."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def note(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class Tally:
    """Counts by provider. `attempts` has those that ended, by provider and outcome; `accepted` counts the mails that
    were taken in, `refused` the requests that were answered with an error, by its code. `reports` has those that were
    new, by provider and type, `unmatched` those for which no mail was found, `given_up` those that an error of our own
    kept from being merged; `doubled` mails that were sent twice.
    """

    def __init__(self) -> None:
        self._counts: dict[str, Count] = {}
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.attempts: Counter[tuple[str, Outcome]] = Counter()
        self.reports: Counter[tuple[str, ReportType]] = Counter()
        self.unmatched: Counter[str] = Counter()
        self.given_up: Counter[str] = Counter()
        self.doubled = 0
        self.durations: defaultdict[str, Durations] = defaultdict(Durations)

    def __getitem__(self, provider: str) -> Count:
        return self._counts.setdefault(provider, Count())

    def sent(self, provider: str) -> None:
        """It accepted a mail."""
        self[provider].sent += 1

    def failed(self, provider: str, error: str, at: float) -> None:
        """It did not, whosever fault that was."""
        count = self[provider]
        count.failed += 1
        count.last_error, count.last_error_at = error, at

    def ended(self, provider: str, outcome: Outcome, seconds: float) -> None:
        """An attempt is over. Less than no time is what a clock says that was set back."""
        self.attempts[provider, outcome] += 1
        self.durations[provider].note(max(0.0, seconds))
