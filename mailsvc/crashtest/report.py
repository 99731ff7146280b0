"""What a crash test found, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .invariants import Findings
from .run import Plan, Result
from .trap import MOMENTS

COLUMNS = ("accepted", "handed_over", "lost", "doubled", "in_doubt", "unexplained", "held")
SHOWN_FAULTS = 20


def table(plan: Plan, result: Result) -> str:
    """A table, what was done, and what is wrong."""
    header = ("", *(column.replace("_", " ") for column in COLUMNS))
    rows = [header, *((part.name, *_cells(part.findings)) for part in result.parts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    lines += ["", f"{sum(result.kills.values())} kills (kill -9), each followed by a start on the same database:"]
    lines += [f"  {count:4}  {MOMENTS[moment]}" for moment, count in result.kills.items()]
    lines += [
        "",
        f"databases: {', '.join(result.databases)}; {result.seconds:.0f} s; repeat with --seed {plan.seed}",
        "",
    ]
    if result.good:
        return "\n".join([*lines, "Every promise was kept."])
    more = len(result.faults) - SHOWN_FAULTS
    lines += ["NOT KEPT:", *(f"  {fault}" for fault in result.faults[:SHOWN_FAULTS])]
    return "\n".join([*lines, f"  and {more} more"] if more > 0 else lines)


def document(plan: Plan, result: Result) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "good": result.good,
        "cycles": plan.cycles,
        "seed": plan.seed,
        "seconds": round(result.seconds, 1),
        "kills": dict(result.kills),
        "databases": list(result.databases),
        "parts": [{"name": part.name, **_counts(asdict(part.findings))} for part in result.parts],
        "faults": list(result.faults),
    }


def _counts(findings: dict[str, Any]) -> dict[str, int]:
    return {column: findings[column] for column in COLUMNS}


def _cells(findings: Findings) -> list[str]:
    return [f"{getattr(findings, column):,}" for column in COLUMNS]


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    first, *rest = widths
    return [row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], rest, strict=True))]
