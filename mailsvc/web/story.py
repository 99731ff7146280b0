"""The story of a mail for a person: what was asked of whom, why, what came of it, and what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..model import Attempt, Outcome, Record, Resolution, Status

# For each status: its tone (good, bad, busy, idle) and what it means.
STATUSES: dict[Status, tuple[str, str]] = {
    Status.SCHEDULED: ("idle", "waits until it is due"),
    Status.QUEUED: ("busy", "waits for its turn"),
    Status.SENDING: ("busy", "a provider is being asked"),
    Status.UNCERTAIN: ("warn", "a provider may or may not have it"),
    Status.SENT: ("good", "a provider has accepted it"),
    Status.DELAYED: ("warn", "not delivered yet, for a reason that may pass"),
    Status.DELIVERED: ("good", "the recipient's server has it"),
    Status.REJECTED: ("bad", "the provider refused the recipient"),
    Status.BOUNCED: ("bad", "it came back"),
    Status.COMPLAINED: ("bad", "the recipient reported it as spam"),
    Status.FAILED: ("bad", "given up"),
    Status.EXPIRED: ("bad", "its time has passed"),
    Status.CANCELED: ("idle", "canceled on request"),
    Status.SUPPRESSED: ("idle", "the recipient is on the suppression list"),
}

_OUTCOMES: dict[Outcome, tuple[str, str]] = {
    Outcome.ACCEPTED: ("good", "accepted it"),
    Outcome.REFUSED: ("bad", "refused the mail"),
    Outcome.RECIPIENT_REFUSED: ("bad", "refused the recipient"),
    Outcome.SENDER_REFUSED: ("bad", "refused the sender"),
    Outcome.UNAUTHORIZED: ("bad", "refused the key"),
    Outcome.SUSPENDED: ("bad", "has suspended the account"),
    Outcome.QUOTA: ("warn", "has no quota left"),
    Outcome.RATE_LIMITED: ("warn", "gets too many mails"),
    Outcome.DOWN: ("bad", "was down"),
    Outcome.UNANSWERED: ("warn", "did not answer"),
    Outcome.INTERRUPTED: ("warn", "was asked when mailsvc ended"),
}

# States of a candidate: how a person says why it was not asked.
_PASSED_OVER = {
    "tried": "had been tried",
    "benched": "was benched",
    "closed": "was closed",
    "paused": "was paused",
    "full": "had as many mails as it may have",
    "sender_refused": "refuses this sender",
    "cannot": "cannot take this mail",
}

_RESOLUTIONS = {
    Resolution.SAME_KEY: "doubt settled by asking again with the same key",
    Resolution.RESEND: "doubt ended by sending it again",
    Resolution.HAND: "doubt settled by hand",
    Resolution.REPORT: "doubt settled by a report",
    Resolution.LOOKUP: "doubt settled by a look-up",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt as it is told. `took` is in milliseconds, None while it runs; `after` the score the next time.

    `settled` says how a doubt about it ended; empty where there was none, or is one still.
    """

    attempt: Attempt
    tone: str
    words: str
    took: int | None
    after: float | None
    why: str
    settled: str


def steps(record: Record) -> list[Step]:
    """The attempts of a mail, oldest first."""
    told = []
    for place, attempt in enumerate(record.attempts):
        tone, words = _OUTCOMES[attempt.outcome] if attempt.outcome else ("busy", "is being asked")
        took = None if attempt.ended_at is None else round((attempt.ended_at - attempt.started_at) * 1000)
        after = _score_later(attempt, record.attempts[place + 1 : place + 2])
        settled = _RESOLUTIONS[attempt.resolved] if attempt.resolved else ""
        told.append(Step(attempt, tone, words, took, after, why(attempt), settled))
    return told


def why(attempt: Attempt) -> str:
    """Why this provider and not another, in one sentence."""
    said = next((row.get("reason") for row in attempt.considered if row["state"] == "chosen"), None)
    if said:
        return f"{attempt.provider} {said}."
    others = [row for row in attempt.considered if row["provider"] != attempt.provider]
    better = [row for row in others if row["score"] > attempt.score]
    if not others:
        return f"{attempt.provider} is the only provider."
    if any(row["state"] == "open" for row in better):
        return f"It was time to try {attempt.provider}: now and then one mail shows whether it is well again."
    if better:
        return f"{attempt.provider} had the best score of those that could be asked; {_listed(better)}."
    return f"{attempt.provider} had the best score."


def _listed(rows: Sequence[dict[str, Any]]) -> str:
    return " and ".join(f"{row['provider']} {_PASSED_OVER.get(row['state'], row['state'])}" for row in rows)


def _score_later(attempt: Attempt, following: Sequence[Attempt]) -> float | None:
    """The provider's score when the next one was asked."""
    for later in following:
        for row in later.considered:
            if row["provider"] == attempt.provider:
                return float(row["score"])
    return None
