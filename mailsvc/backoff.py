"""When a mail is tried again."""

from __future__ import annotations

import random
from collections.abc import Sequence

JITTER = 0.25


def next_due(rounds: int, now: float, rng: random.Random, delays: Sequence[float], retry_after: float = 0.0) -> float:
    """The time of the next round after `rounds` rounds failed (1 or more), in seconds on the clock of `now`.

    The delay is spread by ±25 % so that mails that failed together do not come back together; the last of `delays`
    repeats. `retry_after`: no provider will be asked before that many seconds are over.
    """
    delay = delays[min(rounds, len(delays)) - 1] * rng.uniform(1 - JITTER, 1 + JITTER)
    return now + max(delay, retry_after)
