"""Mails by the hour in which they were accepted, and by status. Times are Unix seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .model import Status

HOUR = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Hour:
    """How many of the mails that were accepted in the hour from `at` on are in each status; those with any."""

    at: float
    counts: dict[Status, int]

    @classmethod
    def grouped(cls, rows: Iterable[Sequence[Any]]) -> list[Hour]:
        """Of rows of an hour's number, a status and how many mails, in the order of the hours."""
        found: dict[int, dict[Status, int]] = {}
        for number, status, mails in rows:
            found.setdefault(number, {})[Status(status)] = mails
        return [cls(number * HOUR, counts) for number, counts in found.items()]


def total(hours: Iterable[Hour]) -> Counter[Status]:
    """The mails of all these hours by status."""
    found: Counter[Status] = Counter()
    for hour in hours:
        found.update(hour.counts)
    return found


def hour_of(at: float) -> int:
    """The number of the hour of that time, since 1970."""
    return int(at // HOUR)
