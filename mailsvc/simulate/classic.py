"""The published simulation of the score rule: 30 minutes, ten mails a second, one after another, no latency at all.

A preferred provider (base 50) fails at a rate, from 200 s to 800 s or always. A failed mail goes to the alternative at
once, which is always healthy. What is published is the share of failed attempts among all attempts, in per cent.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from statistics import fmean, stdev

from ..selector import Selector, Verdict
from .rivals import RandomPick
from .world import Chooser

MAILS, RATE = 18_000, 10
BASE = 50.0
TRACE_EVERY = 20  # mails between two points of a trace


@dataclass(frozen=True, slots=True)
class Experiment:
    """One line of the published table. `published` is None where nothing was published."""

    name: str
    about: str
    failure_rate: float
    start: float
    end: float
    alternative: float  # the base score of the other provider
    selector: str  # classic or random
    published: float | None
    expected: float  # the true mean of the rule, found by an independent simulation

    @property
    def certain(self) -> bool:
        """Whether every seed gives the same."""
        return self.failure_rate == 1 and self.selector == "classic"

    @property
    def bases(self) -> dict[str, float]:
        """The two providers."""
        return {"preferred": BASE, "alternative": self.alternative}

    def make(self, seed: int, *, scored: bool = False) -> Chooser:
        """The selector of this experiment. With `scored` a random pick keeps scores too, for a figure of them."""
        rng = random.Random(f"{self.name} {seed} selector")  # noqa: S311 - reproducible on purpose
        if self.selector == "classic":
            return Selector(self.bases, rng=rng, exact=True)
        return _ScoredRandomPick(self.bases, rng) if scored else RandomPick(self.bases, rng)


class _ScoredRandomPick(Selector):
    """Picks like RandomPick, and learns like the published rule."""

    def __init__(self, bases: Mapping[str, float], rng: random.Random) -> None:
        super().__init__(bases, rng=rng, exact=True)
        self._random = RandomPick(bases, rng)

    def pick(self, now: float, exclude: AbstractSet[str] = frozenset()) -> str | None:
        return self._random.pick(now, exclude)


@dataclass(frozen=True, slots=True)
class Play:
    """What came of one run: failed attempts in per cent of all, and the scores now and then: (s, preferred, other)."""

    failed: float
    trace: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """An experiment over several seeds; `spread` is the standard deviation."""

    experiment: Experiment
    seeds: int
    mean: float
    spread: float
    least: float
    most: float


def _three(
    alternative: float, selector: str, published: Sequence[float | None], expected: Sequence[float]
) -> list[Experiment]:
    kinds = [
        ("complete", "complete outage, 200–800 s", 1.0, 200.0, 800.0),
        ("half", "every second call fails, 200–800 s", 0.5, 200.0, 800.0),
        ("uniform5", "one call in twenty fails, always", 0.05, -1.0, 1e9),
    ]
    place = "single" if alternative == 0 else "alternative"
    return [
        Experiment(f"{place}-{name}-{selector}", about, rate, start, end, alternative, selector, known, true)
        for (name, about, rate, start, end), known, true in zip(kinds, published, expected, strict=True)
    ]


EXPERIMENTS = [
    *_three(40.0, "classic", [0.04, 0.04, 0.80], [0.039, 0.042, 1.411]),
    *_three(40.0, "random", [14.01, 7.59, 2.37], [14.26, 7.69, 2.44]),
    *_three(0.0, "classic", [25.00, 14.39, 4.77], [24.997, 14.283, 4.774]),
]


def play(experiment: Experiment, seed: int, chooser: Chooser | None = None, *, traced: bool = False) -> Play:
    """Run one experiment once, with its own selector or another one."""
    chooser = chooser or experiment.make(seed, scored=traced)
    draw = random.Random(f"{experiment.name} {seed}").random  # noqa: S311 - reproducible on purpose
    start, end, rate = experiment.start, experiment.end, experiment.failure_rate
    failures, trace, failed = 0, [], frozenset({"preferred"})
    for number in range(MAILS):
        now = number / RATE
        if traced and number % TRACE_EVERY == 0 and (states := chooser.snapshot(now)):
            trace.append((now, states[0].score, states[1].score))
        name = chooser.pick(now)
        if name == "preferred" and start < now < end and draw() < rate:
            chooser.finish(chooser.start(name, now), Verdict.SERVER_ERROR, now)
            failures += 1
            name = chooser.pick(now, failed)
        assert name is not None  # noqa: S101 - the alternative is always there
        chooser.finish(chooser.start(name, now), Verdict.OK, now)
    return Play(100 * failures / (MAILS + failures), tuple(trace))


def find(experiment: Experiment, failed: Sequence[float]) -> Finding:
    """Sum up the runs of an experiment."""
    spread = stdev(failed) if len(failed) > 1 else 0.0
    return Finding(experiment, len(failed), fmean(failed), spread, min(failed), max(failed))
