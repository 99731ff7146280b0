"""How many mails there are, all together and by the hour in which they were accepted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from ..access import Scope
from ..hours import HOUR, hour_of, total
from ..model import Status
from .base import Handler, rfc3339
from .email import instant, query
from .problem import invalid
from .shapes import COUNT, JSON, TIME, Schema, array, maybe, shape

MOST = 31 * 24  # hours that are told at a time
_LAST = hour_of(253_402_300_799)  # the end of this one is no time any more that can be written
_COUNTS = shape(**{status.value: COUNT for status in Status})
_HOUR = shape(at=TIME, counts={"type": "object", "additionalProperties": COUNT})


class Counts(Handler):
    """`/email/counts`."""

    summary = "How many mails are in each status, by hour"
    reads = Scope.ADMIN
    asks: ClassVar[dict[str, Schema]] = {
        "since": TIME | {"description": "Those accepted from the hour of this time on."},
        "until": TIME | {"description": "To the hour of this time, which is now if it is not given."},
    }
    gives: ClassVar = {
        "get": (200, {JSON: shape(counts=_COUNTS, since=maybe(TIME), until=maybe(TIME), hours=array(_HOUR))})
    }

    async def get(self) -> None:
        """The number of mails by status, those of all keys; kept, not counted. With `since`, by hour, too."""
        self.admit()
        asked = query(self, "since", "until")
        since, until = instant(asked, "since"), instant(asked, "until")
        if since is None:
            if until is not None:
                raise invalid("until", "needs_since", "goes with since alone")
            counts = await self.service.counts()
            self.send_json({"counts": named(counts), "since": None, "until": None, "hours": []})
            return
        until = time.time() if until is None else until
        first, last = hour_of(since), hour_of(until)
        if not 0 <= last - first < MOST:
            raise invalid("since", "out_of_range", f"must be before until, and at most {MOST} hours")
        if last >= _LAST:
            raise invalid("until", "out_of_range", "must be before the last hour of the year 9999")
        hours = await self.service.hours(since, until)
        self.send_json(
            {
                "counts": named(total(hours)),
                "since": rfc3339(first * HOUR),
                "until": rfc3339((last + 1) * HOUR),
                "hours": [{"at": rfc3339(hour.at), "counts": _some(hour.counts)} for hour in hours],
            }
        )


def _some(counts: Mapping[Status, int]) -> dict[str, int]:
    """Those that there are."""
    return {status.value: number for status, number in counts.items()}


def named(counts: Mapping[Status, int]) -> dict[str, Any]:
    """Every status, also without mails."""
    return {status.value: counts.get(status, 0) for status in Status}
