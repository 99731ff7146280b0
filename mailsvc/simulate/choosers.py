"""The selectors by name: the shipped one, the published rule, the rivals, and the shipped one without a guard."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ..selector import Selector
from .ablations import ABLATIONS
from .rivals import Breaker, Failover, PeakEwma, RandomPick, RoundRobin
from .world import Chooser


@dataclass(frozen=True, slots=True)
class Kind:
    """A selector one can ask for. `make` takes the bases and a source of chance."""

    about: str
    make: Callable[[Mapping[str, float], random.Random], Chooser]


def _shipped(bases: Mapping[str, float], rng: random.Random, kind: type[Selector] = Selector) -> Chooser:
    return kind(bases, rng=rng)


def _classic(bases: Mapping[str, float], rng: random.Random) -> Chooser:
    return Selector(bases, rng=rng, exact=True)


RIVALS = {
    "classic": Kind("the published rule, to the letter: MAILSVC_SELECTOR=classic", _classic),
    "random": Kind("any provider, evenly", RandomPick),
    "round-robin": Kind("one after the other", RoundRobin),
    "failover": Kind("stays until the first error, which is dead for 60 s (Symfony Mailer)", Failover),
    "breaker": Kind("a circuit breaker for each provider (resilience4j)", Breaker),
    "peak-ewma": Kind("the least loaded, by latency and mails in flight (Finagle)", PeakEwma),
}
SELECTORS = {
    "guarded": Kind("the shipped rule: the score and its guards", _shipped),
    **RIVALS,
    **{
        f"without-{name}": Kind(f"the shipped rule without a guard. {kind.__doc__}", partial(_shipped, kind=kind))
        for name, kind in ABLATIONS.items()
    },
}
