"""What can go wrong at a provider, and when. A fault is switched on at run time and may end by itself."""

from __future__ import annotations

import random
import signal as signals
from collections.abc import Mapping
from dataclasses import dataclass, field

KINDS = {
    "answer": "answer with `status`, `headers`, `body` (by default the provider's own words for that status)",
    "delay": "do everything as usual, but answer `seconds` later",
    "hang": "go silent and keep the connection",
    "reset": "reset the connection",
    "close": "close the connection",
    "cut": "break off in the middle of the answer, then `then`: close, reset or hang",
    "drip": "send the answer byte by byte, one every `seconds`",
    "huge": "answer with a body of `size` bytes",
    "gzip": "answer with `size` bytes, compressed",
    "flood": "answer with a header of `size` bytes",
    "redirect": "answer 302 to `location`",
    "garbage": "answer with something that is not HTTP",
    "kill": "send `signal` to the process `pid`",
}
STEPS = {
    "accept": "as soon as the connection is there",
    "headers": "when the headers of the request are read",
    "half": "when half of its body is read",
    "body": "when all of it is read, in place of an answer",
    "answer": "right after the usual answer was written",
}
STEPPED = ("hang", "reset", "close", "kill")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `at` is the step, for those kinds that can happen at any.

    It strikes requests for `provider` (any, if None), each with `probability`, but not the first `after` of them, and
    `times` times at most. `accepted` says what the ledger is to say; by default a mail is accepted if it is answered
    with a 2xx.
    """

    kind: str
    provider: str | None = None
    at: str = "body"
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    seconds: float = 1.0
    size: int = 10 * 1024 * 1024
    location: str = "/trap"
    then: str = "close"
    pid: int = 0
    signal: int = signals.SIGKILL
    accepted: bool | None = None
    probability: float = 1.0
    after: int = 0
    times: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if self.at not in STEPS or (self.at != "body" and self.kind not in STEPPED):
            raise ValueError(
                f"at must be one of {', '.join(STEPS)}, and only {', '.join(STEPPED)} have another than body"
            )
        if self.kind == "kill" and self.pid <= 1:
            raise ValueError("kill needs the pid of a process")


class Faults:
    """The faults that are on. The first that strikes is the only one."""

    def __init__(self, seed: int = 0) -> None:
        self._on: list[_Armed] = []
        self._random = random.Random(seed)

    def add(self, fault: Fault) -> None:
        """Switch a fault on; earlier ones go first."""
        self._on.append(_Armed(fault))

    def clear(self) -> None:
        """Switch all faults off."""
        self._on.clear()

    def on(self) -> list[Fault]:
        """Those that can still strike."""
        return [armed.fault for armed in self._on]

    def strike(self, provider: str | None, *, accept: bool = False) -> Fault | None:
        """The fault for this request; with `accept`, for this connection, which nobody knows a provider of yet."""
        for armed in self._on:
            fault = armed.fault
            if (fault.at == "accept") is not accept or (not accept and fault.provider not in (None, provider)):
                continue
            if armed.strikes(self._random.random()):
                if armed.spent:
                    self._on.remove(armed)
                return fault
        return None


@dataclass(slots=True)
class _Armed:
    fault: Fault
    seen: int = 0
    struck: int = 0

    def strikes(self, chance: float) -> bool:
        self.seen += 1
        if self.seen <= self.fault.after or chance >= self.fault.probability:
            return False
        self.struck += 1
        return True

    @property
    def spent(self) -> bool:
        return self.fault.times is not None and self.struck >= self.fault.times
