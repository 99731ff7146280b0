"""The tables of docs/selector.md: made by the laboratory, with a digest of the code they were made by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from . import goals, report
from .classic import Finding
from .runs import Cell

PACKAGE = Path(__file__).parents[1]
SHOWS_ONLY = {"cli.py", "plot.py", "pages.py", "report.py", "domains.py"}  # they decide no figure of that page
_DIGEST = re.compile(r"<!-- measured by the code with the digest ([0-9a-f]{64}) -->")


@dataclass(frozen=True, slots=True)
class Worth:
    """What a guard is worth: a measure of a scenario, with it and without it."""

    guard: str
    scenario: str
    measure: str
    words: str
    digits: int


WORTHS = [
    Worth("overdue", "brownout", "timeouts", "mails without an answer, each a possible double", 0),
    Worth("overdue", "brownout", "p99", "99 of 100 mails within, s", 1),
    Worth("silence", "silence", "timeouts", "mails without an answer, each a possible double", 0),
    Worth("slowness", "drift", "p99", "99 of 100 mails within, s", 1),
    Worth("classes", "poison", "p99", "99 of 100 mails within, s", 1),
    Worth("classes", "authfail", "failed", "requests with a key that is refused", 0),
    Worth("retry-after", "ratecap", "share_preferred", "% on A, which can take half", 1),
    Worth("bench", "outage", "back_s", "s until A is preferred again", 0),
    Worth("bench", "alldown", "failed_per_100", "failed attempts for each 100 mails", 1),
    Worth("bench", "low", "failed_per_100", "failed attempts for each 100 mails", 1),
    Worth("early-probes", "alldown", "backlog_s", "s until the waiting mails are under way", 0),
    Worth("room", "alldown", "failed_after", "failed attempts after the recovery", 0),
    Worth("room", "alldown", "p99", "99 of 100 mails within, s", 0),
    Worth("last-resort", "bothbad", "p99", "99 of 100 mails within, s", 1),
    Worth("stragglers", "brownout", "failed_per_100", "failed attempts for each 100 mails", 2),
]


class PageError(Exception):
    """The page cannot be written; the text says why."""


def digest() -> str:
    """Of every file that decides a figure: the selector, the virtual world, the scenarios."""
    files = [PACKAGE / "selector.py", PACKAGE / "standing.py"]
    files += [path for path in (PACKAGE / "simulate").glob("*.py") if path.name not in SHOWS_ONLY]
    files += (PACKAGE / "simulate" / "scenarios").glob("*.json")
    found = sha256()
    for path in sorted(files):
        content = path.read_bytes()
        found.update(f"{path.relative_to(PACKAGE)} {len(content)}\n".encode() + content)
    return found.hexdigest()


def digest_of(page: str) -> str | None:
    """The digest of the code the tables of a page were made by."""
    found = _DIGEST.search(page)
    return found[1] if found else None


def fill(page: str, blocks: Mapping[str, str]) -> str:
    """The page with the text between `<!-- table: NAME -->` and `<!-- end -->` replaced. Raises PageError."""
    for name, text in blocks.items():
        begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed or begin in after:
            raise PageError(f"the page must have exactly one place between {begin.strip()} and {end}")
        page = f"{before}{begin}{text}\n{end}{after}"
    mark = f"<!-- measured by the code with the digest {digest()} -->"
    page, count = _DIGEST.subn(mark, page)
    return page if count else f"{mark}\n{page}"


def tables(
    cells: Sequence[Cell], findings: Sequence[Finding], default: Sequence[Finding], seeds: int
) -> dict[str, str]:
    """The tables by name, in markdown."""
    mains = [cell for cell in cells if not cell.selector.startswith("without-")]
    rows = [
        *goals.classic_rows(findings),
        *goals.default_rows(default, findings),
        *goals.scenario_rows(mains),
    ]
    return {
        "classic": report.markdown(*report.classic_rows(findings), report.CLASSIC_NUMBERS),
        "goals": report.markdown(*report.goals_rows(rows), report.GOAL_NUMBERS),
        "failed": _matrix(mains, "failed_per_100", 2),
        "share": _matrix(mains, "share_preferred", 0),
        "guards": _guards(cells),
        "seeds": f"Means over {seeds} seeds.",
    }


def _matrix(cells: Sequence[Cell], measure: str, digits: int) -> str:
    scenarios = list(dict.fromkeys(cell.scenario.name for cell in cells))
    selectors = list(dict.fromkeys(cell.selector for cell in cells))
    means = {(cell.scenario.name, cell.selector): cell.summary[measure].mean for cell in cells}
    rows = [[name, *(report.number(means[name, selector], digits) for selector in selectors)] for name in scenarios]
    return report.markdown(["scenario", *selectors], rows, report.NUMBERS)


def _guards(cells: Sequence[Cell]) -> str:
    means = {(cell.scenario.name, cell.selector): cell.summary for cell in cells}
    rows = []
    for worth in WORTHS:
        beside = [means[worth.scenario, name][worth.measure].mean for name in ("guarded", f"without-{worth.guard}")]
        shown = [report.number(value, worth.digits) for value in beside]
        rows.append([worth.guard, worth.scenario, worth.words, *shown])
    return report.markdown(["guard", "scenario", "measure", "with it", "without it"], rows, range(3, 5))
