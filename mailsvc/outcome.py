"""What an outcome means: for the provider's score, and for the mail. One table for each, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .model import Event, Mail, OnUncertain, Outcome, Resolution, Status
from .providers.base import Result
from .selector import Verdict

QUOTA_RESET = 3600.0  # seconds a used-up quota closes a provider that does not say until when
CONFLICT = 409  # an answer about an idempotency key: the provider is well
# What settles a doubt when the provider says it to a request with the same key: it would have said `accepted` if it had
# taken the first one, and the mail is the same to the byte.
DEFINITE = frozenset({Outcome.ACCEPTED, Outcome.REFUSED, Outcome.RECIPIENT_REFUSED, Outcome.SENDER_REFUSED})

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
    about_key = result.key_taken or result.http_status == CONFLICT
    if result.stuck or result.soft or (result.outcome is Outcome.UNANSWERED and about_key):
        return Verdict.CANCELLED, None
    if result.outcome is Outcome.DOWN:
        return (Verdict.SERVER_ERROR if result.http_status else Verdict.UNREACHABLE), None
    if result.outcome is Outcome.QUOTA and result.retry_after is None:
        return Verdict.RATE_LIMITED, QUOTA_RESET
    return _VERDICTS[result.outcome], result.retry_after


def by_its_key(mail: Mail, provider: str, result: Result) -> Result:
    """A provider that says that it has got this mail already has accepted it, if it is one of those that may have it.

    Any other said before that it did not take it, so that one of the two answers is wrong: a doubt.
    """
    return replace(result, outcome=Outcome.ACCEPTED) if result.same_mail and provider in mail.doubted else result


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a mail stands after an attempt; SENDING means: the next provider is asked in the same go.

    `next_round`: the round is over, and the mail is due after the usual pause. `resolved` settles its open doubts.
    """

    status: Status
    error: str | None = None
    due_in: float | None = None
    recipients: dict[str, Status] | None = None
    events: tuple[Event, ...] = ()
    next_round: bool = False
    resolved: Resolution | None = None


def standing(
    mail: Mail,
    provider: str,
    result: Result,
    refusals: int,
    now: float,
    uncertain_after: float,
    *,
    keyed: bool = False,
    findable: bool = False,
    bound: bool = False,
) -> Standing:
    """Where the mail stands. `refusals` counts the providers that refused it in this go, this one included.

    `keyed`: the provider would know the same request again. `findable`: it can be asked whether it has the mail, also
    where a person is to decide about a doubt. `bound`: it was one, to settle a doubt.
    """
    if not bound:
        return _standing(mail, provider, result, refusals, now, None if keyed else uncertain_after, findable=findable)
    if result.outcome not in DEFINITE:
        said = f"{provider}: {result.detail or result.outcome.value}"
        return Standing(Status.UNCERTAIN, said, next_round=not result.key_taken)
    told = Event("resolved", now, provider, None, f"asked again with the same key: {result.outcome.value}")
    stands = _standing(mail, provider, result, refusals, now, uncertain_after)
    return replace(stands, events=(*stands.events, told), resolved=Resolution.SAME_KEY)


def _standing(
    mail: Mail,
    provider: str,
    result: Result,
    refusals: int,
    now: float,
    uncertain_after: float | None,
    *,
    findable: bool = False,
) -> Standing:
    """The table. `uncertain_after` is None when the same provider is asked again instead of another."""
    outcome, said = result.outcome, f"{provider}: {result.detail or result.outcome.value}"
    if outcome is Outcome.ACCEPTED:
        left_out = dict.fromkeys(result.refused, Status.REJECTED)
        left_out |= dict.fromkeys(result.untold, Status.UNCERTAIN)
        events = tuple(Event("rejected", now, provider, to, why) for to, why in result.refused.items())
        events += tuple(Event("uncertain", now, provider, to, "nothing was said of it") for to in result.untold)
        if result.stuck:
            events += (Event("stuck", now, provider, None, result.detail),)
        return Standing(Status.SENT, recipients=left_out or None, events=events)
    if outcome is Outcome.RECIPIENT_REFUSED:
        return Standing(Status.REJECTED, said, events=(Event("rejected", now, provider, None, result.detail),))
    if outcome.maybe_sent:
        waits = result.key_taken or (mail.on_uncertain is OnUncertain.HOLD and not findable)
        return Standing(
            Status.UNCERTAIN,
            said,
            None if waits else uncertain_after,
            events=(Event("uncertain", now, provider, None, result.detail),),
            next_round=uncertain_after is None and not result.key_taken,
        )
    if outcome is Outcome.REFUSED and refusals >= 2:
        return Standing(Status.FAILED, said)
    return Standing(Status.SENDING, said)
