"""A provider that one large mailbox host delays: what the standing by domain saves, in virtual time.

Two providers; the better one is well, but from minute 10 to minute 70 the host `big.example` delays or blocks a part
of what comes from it. Its reports come a minute later. Selector and reputation are those that run in the service.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

from ..model import Report, ReportType
from ..reputation import Reputation
from ..selector import Selector, Verdict

HOURS = 2.0
EVERY = 2.0  # seconds between two mails
BIG = 0.4  # of the mails go to the host
BLOCKED = (600.0, 4200.0)  # seconds from the start
REPORTED_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of the mails: shares of those to the host while it blocks that were delayed, and of all others."""

    delayed: float
    strays: float  # mails to others that went by the second provider
    returned_after: float | None  # seconds after the end until a mail to the host goes by the first one again


def run(seed: int, severity: float, *, by_domain: bool) -> Kept:
    """One run; `severity` is the share of the first provider's mails that the host delays."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    selector, reputation = Selector({"first": 50.0, "second": 40.0}, rng=random.Random(seed)), Reputation()  # noqa: S311
    reports: list[tuple[float, int, Report]] = []
    to_host = delayed = others = strays = 0
    returned: float | None = None
    for number in range(int(HOURS * 3600 / EVERY)):
        now = number * EVERY
        while reports and reports[0][0] <= now:
            at, _, report = heapq.heappop(reports)
            reputation.learn(report, at)
        domain = "big.example" if rng.random() < BIG else "small.example"
        bad = {name for name in ("first", "second") if reputation.avoids(name, {domain}, now)} if by_domain else set()
        name = selector.pick(now, bad) or selector.pick(now) or "first"
        selector.finish(selector.start(name, now), Verdict.OK, now + 0.1)
        blocking = BLOCKED[0] <= now < BLOCKED[1]
        late = domain == "big.example" and name == "first" and blocking and rng.random() < severity
        if domain == "big.example":
            to_host, delayed = to_host + blocking, delayed + late
            if name == "first" and now >= BLOCKED[1] and returned is None:
                returned = now - BLOCKED[1]
        else:
            others, strays = others + 1, strays + (name == "second")
        kind = ReportType.DELAYED if late else ReportType.DELIVERED
        report = Report(kind, now, name, str(number), recipient=f"x@{domain}")
        heapq.heappush(reports, (now + REPORTED_AFTER, number, report))
    return Kept(delayed / max(1, to_host), strays / max(1, others), returned)


def table(seeds: int) -> list[tuple[float, bool, Kept]]:
    """Means over the seeds, for each severity without and with the standing by domain."""
    rows = []
    for severity in (0.3, 0.6, 1.0):
        for by_domain in (False, True):
            kept = [run(seed, severity, by_domain=by_domain) for seed in range(seeds)]
            back = [each.returned_after for each in kept if each.returned_after is not None]
            mean = Kept(
                sum(each.delayed for each in kept) / seeds,
                sum(each.strays for each in kept) / seeds,
                sum(back) / len(back) if back else None,
            )
            rows.append((severity, by_domain, mean))
    return rows
