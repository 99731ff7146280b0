"""The selectors by name: the shipped one, the published rule, the rivals, and the shipped one without a guard."""

from __future__ import annotations

import random
from collections.abc import Callable

from ..selector import Selector
from .ablations import ABLATIONS
from .rivals import Breaker, Failover, PeakEwma, RandomPick, RoundRobin
from .scenarios import Scenario
from .world import Chooser

Maker = Callable[[Scenario, random.Random], Chooser]


def _guarded(scenario: Scenario, rng: random.Random) -> Chooser:
    return Selector(scenario.bases, rng=rng)


def _without(kind: type[Selector]) -> Maker:
    return lambda scenario, rng: kind(scenario.bases, rng=rng)


def _classic(scenario: Scenario, rng: random.Random) -> Chooser:
    return Selector(scenario.bases, rng=rng, exact=True)


RIVALS: dict[str, tuple[str, Maker]] = {
    "classic": ("the published rule, to the letter: MAILSVC_SELECTOR=classic", _classic),
    "random": ("any provider, evenly", lambda scenario, rng: RandomPick(scenario.bases, rng)),
    "round-robin": ("one after the other", lambda scenario, rng: RoundRobin(scenario.bases, rng)),
    "failover": ("stays until the first error, then dead for 60 s (Symfony)", lambda s, rng: Failover(s.bases, rng)),
    "breaker": ("a circuit breaker for each provider (resilience4j)", lambda s, rng: Breaker(s.bases, rng)),
    "peak-ewma": ("the least loaded by latency and mails in flight (Finagle)", lambda s, rng: PeakEwma(s.bases, rng)),
}
SELECTORS: dict[str, tuple[str, Maker]] = {
    "guarded": ("the shipped rule: the score and its guards", _guarded),
    **RIVALS,
    **{f"without-{name}": (f"the shipped rule; {kind.__doc__}", _without(kind)) for name, kind in ABLATIONS.items()},
}
