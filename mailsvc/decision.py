"""What a person decides about a mail, in doubt or waiting, and what becomes of the mail then."""

from __future__ import annotations

from enum import StrEnum

from .attempt import Settlement
from .errors import Conflict, FieldFault, InvalidMail
from .model import Event, Record, Resolution, Status
from .outbox.base import RETRYABLE


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


def canceled(record: Record, now: float) -> Settlement:
    """A mail that is not to be sent. Raises Conflict once a provider is asked."""
    if record.status not in (Status.SCHEDULED, Status.QUEUED):
        words = "only one that is scheduled or queued can be canceled"
        raise Conflict(f"this mail is {record.status.value}: {words}", "not_cancelable")
    return _by_hand(record, Status.CANCELED, None, Event("canceled", now), now)


def rescheduled(record: Record, due_at: float, now: float) -> Settlement:
    """A mail that is to be sent at another time. Raises Conflict once it is due, InvalidMail if it expires by then."""
    if record.status is not Status.SCHEDULED:
        words = "only one that is scheduled can be given another time"
        raise Conflict(f"this mail is {record.status.value}: {words}", "not_scheduled")
    if record.expires_at is not None and due_at >= record.expires_at:
        raise InvalidMail([FieldFault("send_at", "too_late", "must be earlier than the mail's expires_at")])
    return _by_hand(record, Status.SCHEDULED, due_at, Event("rescheduled", now), now)


def not_retryable(record: Record) -> Conflict:
    """What the caller is told whose mail cannot be sent on its way again."""
    if record.status in RETRYABLE and record.sensitive:
        words = "this mail is sensitive: its body was erased when it ended, and there is nothing left to send"
        return Conflict(words, "not_retryable")
    if record.status in RETRYABLE:
        return Conflict("the body of this mail was erased: there is nothing left to send", "not_retryable")
    words = ", ".join(sorted(RETRYABLE))
    return Conflict(f"this mail is {record.status.value}: only these can be retried: {words}", "not_retryable")


def _by_hand(record: Record, status: Status, due_at: float | None, event: Event, now: float) -> Settlement:
    return Settlement(record.id, 0, None, status, due_at, 0, now, events=(event,), expected=record.status)


def not_uncertain(status: Status) -> Conflict:
    """What the caller is told who came too late."""
    return Conflict(f"this mail is {status.value}: only one that is uncertain can be resolved", "not_uncertain")
