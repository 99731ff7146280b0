"""A provider of the virtual world: what it answers to a mail, after how many seconds."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from ..selector import Verdict
from .scenarios import ERROR_LATENCY, Fault, ProviderScript

_VERDICTS = {
    "server": Verdict.SERVER_ERROR,
    "network": Verdict.UNREACHABLE,
    "timeout": Verdict.UNANSWERED,
    "auth": Verdict.UNAUTHORIZED,
    "reject": Verdict.REFUSED,
    "rate": Verdict.RATE_LIMITED,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that will be known `latency` seconds from now. `retry_after` is in seconds."""

    verdict: Verdict
    latency: float
    retry_after: float | None = None


class VirtualProvider:
    """Follows its script. `timeout` is how long callers wait, in seconds."""

    def __init__(self, script: ProviderScript, timeout: float, rng: random.Random) -> None:
        self._script = script
        self._timeout = timeout
        self._rng = rng
        self._center = math.log(script.median)
        self._taken = 0
        self._minute, self._taken_in_minute = -1, 0
        self._tokens, self._filled_at = script.bucket.burst if script.bucket else 0.0, 0.0

    def reply(self, now: float, in_flight: int, poison: bool) -> Reply:
        """To a mail that is sent now, with `in_flight` others under way. Nobody takes a poison mail."""
        slower = 1.0
        for fault in self._script.faults:
            if fault.from_ <= now < fault.to:
                probability, factor = fault.at(now)
                if fault.kind != "slow" and self._rng.random() < probability:
                    return self._fail(fault)
                if fault.kind != "slow" or self._rng.random() < probability:
                    slower *= factor
        refused = self._crowded(now, in_flight) or self._limited(now)
        if refused:
            return refused
        if poison:
            return Reply(Verdict.REFUSED, ERROR_LATENCY)
        latency = slower * math.exp(self._rng.gauss(self._center, self._script.sigma))
        return Reply(Verdict.OK, latency) if latency < self._timeout else Reply(Verdict.UNANSWERED, self._timeout)

    def _fail(self, fault: Fault) -> Reply:
        usual = self._timeout if fault.kind == "timeout" else ERROR_LATENCY
        latency = usual if fault.latency is None else fault.latency
        return Reply(_VERDICTS[fault.kind], latency, fault.retry_after)

    def _crowded(self, now: float, in_flight: int) -> Reply | None:
        crowd = self._script.max_in_flight
        if crowd and crowd.from_ <= now < crowd.to and in_flight >= crowd.limit:
            return Reply(Verdict.SERVER_ERROR, crowd.latency)
        return None

    def _limited(self, now: float) -> Reply | None:
        """A 429 if one of the limits is reached; else the mail is counted."""
        script = self._script
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._taken_in_minute = minute, 0
        if script.bucket:
            refilled = self._tokens + (now - self._filled_at) * script.bucket.rate
            self._tokens, self._filled_at = min(script.bucket.burst, refilled), now
            if self._tokens < 1:
                return Reply(Verdict.RATE_LIMITED, ERROR_LATENCY, 1.0)
        if script.per_minute and self._taken_in_minute >= script.per_minute:
            return Reply(Verdict.RATE_LIMITED, ERROR_LATENCY, 60 * (minute + 1) - now)
        if script.quota and self._taken >= script.quota and now < (script.quota_until or math.inf):
            return Reply(Verdict.RATE_LIMITED, ERROR_LATENCY)
        self._tokens -= 1
        self._taken += 1
        self._taken_in_minute += 1
        return None
