"""How a provider stands with the domains that mail goes to, by what it reports later. Pure: `now` is passed in.

A provider may be well and yet be blocked by one large mailbox host. That host's mails go by another provider then, and
all others go on by this one. The rule is the score's own: a block or deferral leaves 0.9 of the standing, a delivery
takes it a tenth of the way back to 1, and so does time: half of what is missing comes back in HALF_LIFE seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from .model import Report, ReportType

FACTOR = 0.9
HALF_LIFE = 1800.0
LOWEST = 0.5  # the reports of mails that were sent before anybody knew shall not keep it away for long
AVOID, TRUST = 0.6, 0.8  # a provider is avoided from below the one until above the other
MOST = 10_000  # pairs that are remembered; those that stand best are forgotten first


@dataclass(slots=True)
class _Pair:
    standing: float
    at: float
    avoided: bool = False

    def at_rest(self, now: float) -> float:
        """The standing now, after time has healed some of it."""
        healed: float = 0.5 ** (max(0.0, now - self.at) / HALF_LIFE)
        return 1.0 - (1.0 - self.standing) * healed


class Reputation:
    """The standing of each provider with each recipient's domain; 1 where nothing is known. Times are in seconds."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], _Pair] = {}

    def learn(self, report: Report, now: float) -> None:
        """A report about one recipient. Those that are about something else than getting through change nothing."""
        blocked = report.type is ReportType.DELAYED or (report.type is ReportType.BOUNCED and report.permanent is False)
        if report.recipient is None or not (blocked or report.type is ReportType.DELIVERED):
            return
        key = (report.provider, report.recipient.rpartition("@")[2].lower())
        pair = self._pairs.get(key)
        if pair is None:
            if not blocked:
                return
            self._make_room(now)
            pair = self._pairs[key] = _Pair(1.0, now)
        standing = pair.at_rest(now)
        pair.standing = max(LOWEST, standing * FACTOR + (0.0 if blocked else 1.0 - FACTOR))
        pair.at = now
        if not blocked and pair.standing > 0.99:
            del self._pairs[key]

    def standing(self, provider: str, domain: str, now: float) -> float:
        """From 0 to 1."""
        pair = self._pairs.get((provider, domain))
        return 1.0 if pair is None else pair.at_rest(now)

    def avoids(self, provider: str, domains: set[str], now: float) -> str | None:
        """Why mail to these domains should go by another provider; None if there is no reason."""
        for domain in sorted(domains) if self._pairs else ():
            pair = self._pairs.get((provider, domain))
            if pair is None:
                continue
            standing = pair.at_rest(now)
            pair.avoided = standing < (TRUST if pair.avoided else AVOID)
            if pair.avoided:
                return f"{domain} has delayed or blocked its mail lately: standing {standing:.2f} there"
        return None

    def _make_room(self, now: float) -> None:
        if len(self._pairs) >= MOST:
            best = sorted(self._pairs, key=lambda key: -self._pairs[key].at_rest(now))
            for key in best[: MOST // 10]:
                del self._pairs[key]
