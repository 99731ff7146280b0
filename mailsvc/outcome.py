"""What an outcome means: for the provider's score, and for the mail. One table for each, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from .model import Event, Mail, OnUncertain, Outcome, Status
from .providers.base import Result
from .selector import Verdict

QUOTA_RESET = 3600.0  # seconds a used-up quota closes a provider that does not say until when

_VERDICTS = {
    Outcome.ACCEPTED: Verdict.OK,
    Outcome.REFUSED: Verdict.REFUSED,
    Outcome.RECIPIENT_REFUSED: Verdict.REFUSED,
    Outcome.SENDER_REFUSED: Verdict.REFUSED,
    Outcome.UNAUTHORIZED: Verdict.UNAUTHORIZED,
    Outcome.SUSPENDED: Verdict.UNAUTHORIZED,
    Outcome.QUOTA: Verdict.RATE_LIMITED,
    Outcome.RATE_LIMITED: Verdict.RATE_LIMITED,
    Outcome.UNANSWERED: Verdict.UNANSWERED,
    Outcome.INTERRUPTED: Verdict.CANCELLED,
}


def verdict(result: Result) -> tuple[Verdict, float | None]:
    """What the selector is told, and for how many seconds the provider asked to be left alone."""
    if result.stuck:
        return Verdict.CANCELLED, None
    if result.outcome is Outcome.DOWN:
        return (Verdict.SERVER_ERROR if result.http_status else Verdict.UNREACHABLE), None
    if result.outcome is Outcome.QUOTA and result.retry_after is None:
        return Verdict.RATE_LIMITED, QUOTA_RESET
    return _VERDICTS[result.outcome], result.retry_after


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a mail stands after an attempt; SENDING means: the next provider is asked in the same go."""

    status: Status
    error: str | None = None
    due_in: float | None = None
    recipients: dict[str, Status] | None = None
    events: tuple[Event, ...] = ()


def standing(mail: Mail, provider: str, result: Result, refusals: int, now: float, uncertain_after: float) -> Standing:
    """Where the mail stands. `refusals` counts the providers that refused it in this go, this one included."""
    outcome, said = result.outcome, f"{provider}: {result.detail or result.outcome.value}"
    if outcome is Outcome.ACCEPTED:
        left_out = dict.fromkeys(result.refused, Status.REJECTED)
        events = tuple(Event("rejected", now, provider, to, why) for to, why in result.refused.items())
        if result.stuck:
            events += (Event("stuck", now, provider, None, result.detail),)
        return Standing(Status.SENT, recipients=left_out or None, events=events)
    if outcome is Outcome.RECIPIENT_REFUSED:
        return Standing(Status.REJECTED, said, events=(Event("rejected", now, provider, None, result.detail),))
    if outcome.maybe_sent:
        due_in = uncertain_after if mail.on_uncertain is OnUncertain.RESEND else None
        return Standing(
            Status.UNCERTAIN, said, due_in, events=(Event("uncertain", now, provider, None, result.detail),)
        )
    if outcome is Outcome.REFUSED and refusals >= 2:
        return Standing(Status.FAILED, said)
    return Standing(Status.SENDING, said)
