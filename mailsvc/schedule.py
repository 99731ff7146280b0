"""When a mail may be sent, as far as that depends on what the time is now. All times are Unix seconds."""

from __future__ import annotations

from .errors import FieldFault, InvalidMail

AHEAD = 366 * 86_400.0  # seconds that a mail may be scheduled ahead


def due_at(send_at: float | None, now: float) -> float:
    """When a mail is due. One that should have been sent already is due now. Raises InvalidMail."""
    if send_at is None or send_at <= now:
        return now
    if send_at > now + AHEAD:
        raise InvalidMail([FieldFault("send_at", "too_late", "must be within a year from now")])
    return send_at


def in_time(expires_at: float | None, now: float) -> None:
    """Raise InvalidMail where it is too late already."""
    if expires_at is not None and expires_at <= now:
        raise InvalidMail([FieldFault("expires_at", "too_early", "is over already")])
