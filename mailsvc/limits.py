"""How often somebody may do something: token buckets, one for each name, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

MAX_NAMES = 10_000  # the names that were quiet for longest are forgotten


class Limits:
    """`per_minute` at once, and then one after the other as a minute goes by. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, per_minute: float, now: float) -> float:
        """Take one. 0.0 if there was one, else the seconds until there is one."""
        left, seen = self._buckets.pop(name, (per_minute, now))
        left = min(per_minute, left + (now - seen) * per_minute / 60)
        wait = 0.0 if left >= 1 else (1 - left) * 60 / per_minute
        self._buckets[name] = (left if wait else left - 1, now)
        if len(self._buckets) > MAX_NAMES:
            self._buckets.popitem(last=False)
        return wait
