"""Whose turn it is: mails of high priority go first, and none waits for ever.

A lane that got none of the last SHARE mails is offered one, so that each gets at least one in SHARE + 1 or so, however
many wait in the others. A flood in one lane uses up its own turns only: whoever comes into a better lane is next.
"""

from __future__ import annotations

from collections.abc import Sequence

from .model import LANES, Mail, Priority

SHARE = 16
EMPTY = 1.0  # seconds that a lane is left alone which had nothing that is due


class Turns:
    """Remembers who went lately. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._passed = dict.fromkeys(LANES[1:], 0)  # mails taken since the last one of this lane
        self._empty_until = dict.fromkeys(LANES[1:], 0.0)
        self._offered: Priority | None = None

    def next(self, room: int, now: float) -> tuple[int, Sequence[Priority]]:
        """How many of the `room` mails to claim now, and from which lanes, the first one first."""
        waiting = [lane for lane in self._passed if self._passed[lane] >= SHARE and self._empty_until[lane] <= now]
        self._offered = max(waiting, key=self._passed.__getitem__, default=None)
        if self._offered is None:
            return room, LANES
        return 1, (self._offered, *(lane for lane in LANES if lane is not self._offered))

    def taken(self, mails: Sequence[Mail], now: float) -> None:
        """What was claimed."""
        for mail in mails:
            for lane in self._passed:
                self._passed[lane] = 0 if lane is mail.priority else self._passed[lane] + 1
        if self._offered is not None and all(mail.priority is not self._offered for mail in mails):
            self._empty_until[self._offered] = now + EMPTY
        self._offered = None
