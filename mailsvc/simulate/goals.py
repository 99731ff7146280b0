"""What the shipped selector must reach, and whether it does: one row for each goal, with the rivals beside it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from ..selector import Selector, Verdict
from .classic import EXPERIMENTS, Finding
from .measures import Summary
from .runs import Cell

PICK_PROVIDERS, PICK_CALLS, PICK_ROUNDS = 5, 2_000, 7
SCRIPT = EXPERIMENTS[:3]  # what the default rule is put through too


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on one measure of one scenario, for the mean over all seeds or for the worst of them."""

    scenario: str
    measure: str
    worst: bool
    at_most: bool
    bound: float

    @property
    def words(self) -> str:
        """`failed_per_100 mean ≤ 0.15`."""
        sign = "≤" if self.at_most else "≥"
        return f"{self.measure} {'worst' if self.worst else 'mean'} {sign} {self.bound:g}"

    def value(self, summary: Mapping[str, Summary]) -> float | None:
        """What was measured; None if it never happened."""
        found = summary[self.measure]
        if self.worst:
            return found.max if self.at_most else found.min
        return found.mean

    def met(self, value: float | None) -> bool:
        """Whether that is good enough. Never is not."""
        return value is not None and (value <= self.bound if self.at_most else value >= self.bound)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `rivals` maps selectors to what they reached."""

    scenario: str
    goal: str
    measured: float | None
    rivals: Mapping[str, float | None]
    met: bool


def _goals(scenario: str, *bounds: tuple[str, str, str, float]) -> list[Goal]:
    return [Goal(scenario, measure, which == "worst", sign == "<=", bound) for measure, which, sign, bound in bounds]


_SPARSE = (
    ("failed_per_100", "mean", "<=", 3.6),
    ("most_of_ten", "worst", "<=", 1),
    ("back_mails", "mean", "<=", 7),
    ("back_mails", "worst", "<=", 20),
)
GOALS = [
    *_goals(
        "outage",
        ("failed_per_100", "mean", "<=", 0.15),
        ("failed_per_100", "worst", "<=", 0.20),
        ("leave_s", "worst", "<=", 1),
        ("back_s", "mean", "<=", 35),
        ("back_s", "worst", "<=", 75),
        ("share_preferred", "mean", ">=", 94),
    ),
    *_goals(
        "brownout",
        ("failed_per_100", "mean", "<=", 0.24),
        ("failed_per_100", "worst", "<=", 0.30),
        ("timeouts", "mean", "<=", 22),
        ("timeouts", "worst", "<=", 28),
        ("leave_s", "worst", "<=", 2),
        ("p99", "mean", "<=", 1.0),
        ("back_s", "mean", "<=", 60),
        ("back_s", "worst", "<=", 90),
    ),
    *_goals(
        "sporadic",
        ("failed_per_100", "mean", "<=", 0.16),
        ("leave_s", "worst", "<=", 8),
        ("back_s", "mean", "<=", 75),
        ("share_preferred", "mean", ">=", 86),
    ),
    *_goals(
        "drift",
        ("failed_per_100", "mean", "<=", 0.42),
        ("p99", "mean", "<=", 4.0),
        ("back_s", "mean", "<=", 45),
        ("back_s", "worst", "<=", 80),
    ),
    *_goals("flapping", ("failed_per_100", "mean", "<=", 0.32), ("share_preferred", "mean", ">=", 55)),
    *_goals("uniform5", ("failed_per_100", "mean", "<=", 4.0), ("share_preferred", "mean", ">=", 62)),
    *_goals("uniform20", ("failed_per_100", "mean", "<=", 0.65)),
    *_goals(
        "ratecap",
        ("share_preferred", "mean", ">=", 49),
        ("share_preferred", "mean", "<=", 52),
        ("failed_per_100", "mean", "<=", 0.40),
    ),
    *_goals("quota", ("failed_per_100", "mean", "<=", 0.08), ("back_s", "worst", "<=", 300)),
    *_goals("bothbad", ("lost", "worst", "<=", 0), ("p99", "mean", "<=", 10), ("failed_per_100", "mean", "<=", 21)),
    *_goals(
        "alldown",
        ("lost", "worst", "<=", 0),
        ("failed_per_100", "mean", "<=", 2.0),
        ("failed_per_100", "worst", "<=", 3.0),
        ("failed_after", "mean", "<=", 130),
        ("failed_after", "worst", "<=", 230),
        ("backlog_s", "mean", "<=", 100),
        ("backlog_s", "worst", "<=", 140),
    ),
    *_goals(
        "burst", ("failed_per_100", "mean", "<=", 12.5), ("p99", "mean", "<=", 1.0), ("dear_share", "mean", "<=", 57)
    ),
    *_goals("dear", ("dear_share", "mean", "<=", 10.5)),
    *_goals("blip", ("failed_per_100", "mean", "<=", 0.12), ("back_s", "mean", "<=", 30)),
    *_goals("low", *_SPARSE),
    *_goals("verylow", *_SPARSE),
    *_goals("authfail", ("failed", "mean", "<=", 7), ("failed", "worst", "<=", 10)),
    *_goals("heavytail", ("share_preferred", "mean", ">=", 97), ("share_preferred", "worst", ">=", 90)),
    *_goals(
        "poison", ("share_preferred", "worst", ">=", 100), ("lost", "worst", "<=", 0), ("health_low", "worst", ">=", 1)
    ),
    *_goals(
        "stall",
        ("timeouts", "worst", "<=", 25),
        ("leave_s", "worst", "<=", 2),
        ("back_s", "worst", "<=", 60),
    ),
    *_goals("silence", ("timeouts", "mean", "<=", 80), ("lost", "worst", "<=", 0)),
    *_goals("tarpit", ("p99", "mean", "<=", 20), ("lost", "worst", "<=", 0)),
]
# (at most this far from the expected mean, in per cent of attempts), in the order of the published experiments
_CLASSIC = {"alternative": (0.001, 0.005, 0.10), "single": (0.01, 0.10, 0.10)}
_DEFAULT = (0.10, 0.10, 1.60)


def scenario_rows(cells: Sequence[Cell]) -> list[Row]:
    """The goals of the scenarios that were run."""
    summaries = {(cell.scenario.name, cell.selector): cell.summary for cell in cells}
    rivals = list(dict.fromkeys(cell.selector for cell in cells if cell.selector != "guarded"))
    rows = []
    for goal in GOALS:
        if (goal.scenario, "guarded") in summaries:
            measured = goal.value(summaries[goal.scenario, "guarded"])
            others = {name: goal.value(summaries[goal.scenario, name]) for name in rivals}
            rows.append(Row(goal.scenario, goal.words, measured, others, goal.met(measured)))
    return rows


def classic_rows(findings: Sequence[Finding]) -> list[Row]:
    """Whether `exact` reproduces the published rule."""
    rows = []
    for place, tolerances in _CLASSIC.items():
        found = [finding for finding in findings if finding.experiment.name.startswith(place)]
        ours = [finding for finding in found if finding.experiment.selector == "classic"]
        by_chance = {f.experiment.about: f.mean for f in found if f.experiment.selector == "random"}
        for finding, tolerance in zip(ours, tolerances, strict=True):
            experiment = finding.experiment
            others = {"random": by_chance[experiment.about]} if experiment.about in by_chance else {}
            met = abs(finding.mean - experiment.expected) <= tolerance
            words = f"failed % = {experiment.expected:g} ± {tolerance:g}"
            rows.append(Row(f"exact: {experiment.name.removesuffix('-classic')}", words, finding.mean, others, met))
    return rows


def default_rows(findings: Sequence[Finding], classic: Sequence[Finding]) -> list[Row]:
    """The default rule under the script of the published experiments."""
    by_rule = {finding.experiment.name: finding.mean for finding in classic}
    return [
        Row(
            f"default: {finding.experiment.name.removesuffix('-classic')}",
            f"failed % ≤ {bound:g}",
            finding.mean,
            {"classic": by_rule[finding.experiment.name]},
            finding.mean <= bound,
        )
        for finding, bound in zip(findings, _DEFAULT, strict=True)
    ]


def pick_row() -> Row:
    """How long `pick` takes with five providers, some of them in trouble; the quickest of several rounds."""
    selector = Selector({f"p{number}": 50 - number for number in range(PICK_PROVIDERS)}, rng=random.Random(1))  # noqa: S311
    for number in range(200):
        selector.start(f"p{number % PICK_PROVIDERS}", number / 100)
    for number in range(3):
        selector.finish(selector.start("p0", 2 + number), Verdict.SERVER_ERROR, 2 + number)
    rounds = []
    for _ in range(PICK_ROUNDS):
        begun = perf_counter()
        for number in range(PICK_CALLS):
            selector.pick(4 + number / 1e6)
        rounds.append((perf_counter() - begun) / PICK_CALLS * 1e6)
    return Row("pick()", f"µs with {PICK_PROVIDERS} providers ≤ 20", min(rounds), {}, min(rounds) <= 20)
