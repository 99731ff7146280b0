"""What a person decides about a mail in doubt, and what becomes of the mail then."""

from __future__ import annotations

from enum import StrEnum

from .errors import Conflict
from .model import Event, Record, Resolution, Status
from .outbox.base import Settlement


class Decision(StrEnum):
    """Send it again, whoever may have it; take it as sent; take it as failed."""

    RESEND = "resend"
    SENT = "sent"
    FAILED = "failed"


_STATUSES = {Decision.RESEND: Status.QUEUED, Decision.SENT: Status.SENT, Decision.FAILED: Status.FAILED}


def decided(record: Record, decision: Decision, now: float) -> Settlement:
    """How the mail stands by that decision. Raises Conflict unless it is in doubt."""
    if record.status is not Status.UNCERTAIN:
        raise not_uncertain(record.status)
    return Settlement(
        mail_id=record.id,
        n=0,
        outcome=None,
        status=_STATUSES[decision],
        due_at=now if decision is Decision.RESEND else None,
        rounds=0,
        ended_at=now,
        error="taken as failed by hand" if decision is Decision.FAILED else None,
        events=(Event("resolved", now, detail=f"by hand: {decision.value}"),),
        resolved=Resolution.HAND,
        expected=Status.UNCERTAIN,
    )


def not_uncertain(status: Status) -> Conflict:
    """What the caller is told who came too late."""
    return Conflict(f"this mail is {status.value}: only one that is uncertain can be resolved", "not_uncertain")
