"""The shipped selector with one guard taken out: what each guard is worth is measured, not believed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import ClassVar

from ..selector import Flight, Selector, Verdict
from ..standing import Standing


class _Altered(Selector):
    """Built of another kind of standing."""

    _kind: ClassVar[type[Standing]]

    def __init__(self, bases: Mapping[str, float], *, rng: random.Random, exact: bool = False) -> None:
        super().__init__(bases, rng=rng, exact=exact)
        self._all = tuple(self._kind(name, base) for name, base in bases.items())
        self._by_name = {provider.name: provider for provider in self._all}


class _NeverLate(Standing):
    __slots__ = ()

    def overdue(self, now: float) -> int:
        return 0


class WithoutOverdue(_Altered):
    """Only what has ended counts."""

    _kind = _NeverLate


class _NeverSilent(Standing):
    __slots__ = ()

    def is_silent(self, overdue: int) -> bool:
        return False


class WithoutSilence(_Altered):
    """However many answers are overdue, mails go on being sent."""

    _kind = _NeverSilent


class WithoutBench(Selector):
    """The score alone decides; no probes, no way back through a bench."""

    def _deserves_bench(self, provider: Standing, now: float) -> bool:
        return False


class WithoutRetryAfter(Selector):
    """A 429 is a failure like another."""

    def _close(self, provider: Standing, flight: Flight, now: float, retry_after: float | None) -> None:
        self._fail(provider, flight, 1, now)


class WithoutClasses(Selector):
    """Whatever is not a success is a failure of weight 1, a refused mail too."""

    def finish(self, flight: Flight, verdict: Verdict, now: float, retry_after: float | None = None) -> None:
        """The attempt has ended."""
        super().finish(flight, verdict if verdict is Verdict.OK else Verdict.SERVER_ERROR, now)


class WithoutSlowness(Selector):
    """A success is a success, however long it took."""

    def _is_slow(self, flight: Flight, now: float) -> bool:
        return False


class _NeverEarly(Standing):
    __slots__ = ()

    def probe_is_due(self, now: float, *, alone: bool) -> bool:
        return Standing.probe_is_due(self, now, alone=False)


class WithoutEarlyProbes(_Altered):
    """A bench is served to its end, even when nobody else may be asked."""

    _kind = _NeverEarly


class _NoStraggler(Standing):
    __slots__ = ()

    def is_straggler(self, flight: Flight) -> bool:
        return False


class WithoutStragglers(_Altered):
    """Every answer decides, however old its question."""

    _kind = _NoStraggler


class _Roomy(Standing):
    __slots__ = ()

    def restart_with_one(self) -> None:
        pass


class WithoutRoom(_Altered):
    """A provider that is back gets everything at once."""

    _kind = _Roomy


class WithoutLastResort(Selector):
    """Nobody who is benched is asked, but for probes."""

    def _last_resort(self, benched: Sequence[Standing], now: float) -> Standing | None:
        return None


ABLATIONS: dict[str, type[Selector]] = {
    "overdue": WithoutOverdue,
    "silence": WithoutSilence,
    "bench": WithoutBench,
    "retry-after": WithoutRetryAfter,
    "classes": WithoutClasses,
    "slowness": WithoutSlowness,
    "early-probes": WithoutEarlyProbes,
    "stragglers": WithoutStragglers,
    "room": WithoutRoom,
    "last-resort": WithoutLastResort,
}
