"""Time for what waits: it follows the wall clock, and never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable

PACE = 0.9  # of real time, while the wall clock is behind


class SteadyClock:
    """Unix seconds. Where the wall clock is set back, this one goes on a little slower until that one has caught up.

    A mail that is due does not wait again for the time that was taken back, and nothing is due earlier than by what the
    clock was set. `wall` and `monotonic` give seconds.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._now, self._seen = wall(), monotonic()

    def __call__(self) -> float:
        """The time now."""
        seen = self._monotonic()
        self._now = max(self._wall(), self._now + PACE * (seen - self._seen))
        self._seen = seen
        return self._now
