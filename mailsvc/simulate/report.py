"""Results as tables for people and as JSON for programs. No rule of the laboratory stands here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .classic import Finding
from .goals import Row
from .measures import Summary
from .runs import Cell

# What fits into a terminal: heading, measure, digits. Counts of something that never was a fault are left out below.
COLUMNS = [
    ("failed/100", "failed_per_100", 2),
    ("share %", "share_preferred", 1),
    ("p50 s", "p50", 2),
    ("p99 s", "p99", 1),
    ("left s", "leave_s", 1),
    ("back s", "back_s", 0),
    ("unanswered", "timeouts", 0),
    ("probes", "wasted_probes", 0),
    ("lost", "lost", 0),
    ("peak", "peak_in_flight", 0),
    ("dear %", "dear_share", 1),
    ("cost", "cost", 2),
]
NUMBERS = range(1, 100)  # in most tables the first column is text
CLASSIC_NUMBERS = range(2, 100)
GOAL_NUMBERS = range(2, 3)
NO_NUMBERS = range(0)


def number(value: float | None, digits: int) -> str:
    """`0.13`; `never` for what did not happen."""
    return "never" if value is None else f"{value:.{digits}f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: range) -> str:
    """Columns as wide as needed; those in `right` hold numbers."""
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [heads, *rows]
    )


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]], right: range) -> str:
    """The same for a page."""
    rule = ["---:" if column in right else "---" for column in range(len(heads))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [heads, rule, *rows])


def cells_text(cells: Sequence[Cell]) -> str:
    """One block for each scenario, one line for each selector: the mean over all seeds."""
    blocks = []
    for scenario in dict.fromkeys(cell.scenario.name for cell in cells):
        mine = [cell for cell in cells if cell.scenario.name == scenario]
        seeds = f"{mine[0].seeds} seed{'s' if mine[0].seeds > 1 else ''}"
        title = " · ".join(part for part in (scenario, mine[0].scenario.about, seeds) if part)
        rows = [
            [cell.selector, *(number(cell.summary[measure].mean, digits) for _, measure, digits in COLUMNS)]
            for cell in mine
        ]
        blocks.append(f"{title}\n" + table(["", *(head for head, _, _ in COLUMNS)], rows, NUMBERS))
    return "\n\n".join(blocks)


def cells_json(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """`[{"scenario", "selector", "seeds", "metrics": {NAME: {"mean", "min", "max"}}}]`."""
    return [
        {
            "scenario": cell.scenario.name,
            "selector": cell.selector,
            "seeds": cell.seeds,
            "metrics": {name: _spread(summary) for name, summary in cell.summary.items()},
        }
        for cell in cells
    ]


def _spread(summary: Summary) -> dict[str, float | None]:
    return {"mean": summary.mean, "min": summary.min, "max": summary.max}


def classic_rows(findings: Sequence[Finding]) -> tuple[list[str], list[list[str]]]:
    """The published table: what was published beside what is found, and a random pick beside that."""
    chance = {f.experiment.about: f for f in findings if f.experiment.selector == "random"}
    rows = []
    for finding in findings:
        experiment = finding.experiment
        if experiment.selector == "random":
            continue
        place = "alternative with base 40" if experiment.alternative else "no alternative (base 0)"
        by_chance = chance.get(experiment.about) if experiment.alternative else None
        rows.append(
            [
                experiment.about,
                place,
                number(experiment.published, 2) if experiment.published is not None else "",
                number(finding.mean, 3),
                f"± {finding.spread:.3f}",
                number(by_chance.experiment.published, 2) if by_chance else "",
                number(by_chance.mean, 2) if by_chance else "",
            ]
        )
    heads = ["preferred provider", "beside it", "published %", "found %", "spread", "random, published %", "random %"]
    return heads, rows


def classic_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """One object for each experiment; percentages of failed attempts among all attempts."""
    return [
        {
            "experiment": finding.experiment.name,
            "selector": finding.experiment.selector,
            "alternative": finding.experiment.alternative,
            "seeds": finding.seeds,
            "published": finding.experiment.published,
            "mean": finding.mean,
            "spread": finding.spread,
            "min": finding.least,
            "max": finding.most,
        }
        for finding in findings
    ]


def goals_rows(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Scenario, goal, measured, rivals, met."""
    lines = []
    for row in rows:
        rivals = ", ".join(f"{name} {_short(value)}" for name, value in row.rivals.items())
        lines.append([row.scenario, row.goal, _short(row.measured), "yes" if row.met else "NO", rivals])
    return ["scenario", "goal", "measured", "met", "rivals"], lines


def goals_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One object for each goal."""
    return [
        {
            "scenario": row.scenario,
            "goal": row.goal,
            "measured": row.measured,
            "rivals": dict(row.rivals),
            "met": row.met,
        }
        for row in rows
    ]


def _short(value: float | None) -> str:
    """Three significant digits."""
    return "never" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
