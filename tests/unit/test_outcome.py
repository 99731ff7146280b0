"""What an outcome means for the score and for the mail: the table of docs/architecture.md, row by row."""

import pytest

from mailsvc.address import Mailbox
from mailsvc.model import Mail, OnUncertain, Outcome, Status
from mailsvc.outcome import QUOTA_RESET, standing, verdict
from mailsvc.providers.base import Result
from mailsvc.selector import Verdict


def mail(policy: OnUncertain = OnUncertain.RESEND) -> Mail:
    """Some mail."""
    return Mail("an-id", 0.0, Mailbox("a@b.co"), (Mailbox("c@d.co"),), "Hi", policy, content="x")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Result(Outcome.ACCEPTED), (Verdict.OK, None)),
        (Result(Outcome.ACCEPTED, stuck=True), (Verdict.CANCELLED, None)),
        (Result(Outcome.REFUSED), (Verdict.REFUSED, None)),
        (Result(Outcome.RECIPIENT_REFUSED), (Verdict.REFUSED, None)),
        (Result(Outcome.SENDER_REFUSED), (Verdict.REFUSED, None)),
        (Result(Outcome.UNAUTHORIZED), (Verdict.UNAUTHORIZED, None)),
        (Result(Outcome.SUSPENDED), (Verdict.UNAUTHORIZED, None)),
        (Result(Outcome.QUOTA), (Verdict.RATE_LIMITED, QUOTA_RESET)),
        (Result(Outcome.QUOTA, retry_after=60.0), (Verdict.RATE_LIMITED, 60.0)),
        (Result(Outcome.RATE_LIMITED), (Verdict.RATE_LIMITED, None)),
        (Result(Outcome.RATE_LIMITED, retry_after=7.0), (Verdict.RATE_LIMITED, 7.0)),
        (Result(Outcome.RATE_LIMITED, soft=True), (Verdict.CANCELLED, None)),
        (Result(Outcome.DOWN, http_status=503), (Verdict.SERVER_ERROR, None)),
        (Result(Outcome.DOWN), (Verdict.UNREACHABLE, None)),
        (Result(Outcome.UNANSWERED), (Verdict.UNANSWERED, None)),
        (Result(Outcome.UNANSWERED, http_status=504), (Verdict.UNANSWERED, None)),
        (Result(Outcome.UNANSWERED, http_status=409), (Verdict.CANCELLED, None)),
        (Result(Outcome.UNANSWERED, http_status=400, key_taken=True), (Verdict.CANCELLED, None)),
        (Result(Outcome.INTERRUPTED), (Verdict.CANCELLED, None)),
    ],
)
def test_the_selector_is_told(result: Result, expected: tuple[Verdict, float | None]) -> None:
    assert verdict(result) == expected


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.SENDER_REFUSED,
        Outcome.UNAUTHORIZED,
        Outcome.SUSPENDED,
        Outcome.QUOTA,
        Outcome.RATE_LIMITED,
        Outcome.DOWN,
        Outcome.REFUSED,
    ],
)
def test_the_next_provider_is_asked_in_the_same_go(outcome: Outcome) -> None:
    stands = standing(mail(), "smtp", Result(outcome, "words"), 1, 0.0, 60.0)

    assert (stands.status, stands.error) == (Status.SENDING, "smtp: words")


def test_a_second_refusal_is_the_end() -> None:
    assert standing(mail(), "smtp", Result(Outcome.REFUSED, "no"), 2, 0.0, 60.0).status is Status.FAILED


def test_a_refused_recipient_is_not_tried_elsewhere() -> None:
    stands = standing(mail(), "smtp", Result(Outcome.RECIPIENT_REFUSED, "unknown user"), 0, 5.0, 60.0)

    assert (stands.status, stands.error) == (Status.REJECTED, "smtp: unknown user")
    assert [(event.type, event.at, event.detail) for event in stands.events] == [("rejected", 5.0, "unknown user")]


def test_a_partial_acceptance_rejects_those_who_were_left_out() -> None:
    stands = standing(mail(), "smtp", Result(Outcome.ACCEPTED, refused={"c@d.co": "unknown"}), 0, 5.0, 60.0)

    assert (stands.status, stands.recipients) == (Status.SENT, {"c@d.co": Status.REJECTED})
    assert [(event.type, event.recipient, event.detail) for event in stands.events] == [
        ("rejected", "c@d.co", "unknown")
    ]


def test_a_mail_that_is_stuck_counts_as_sent_and_says_so() -> None:
    stands = standing(mail(), "mandrill", Result(Outcome.ACCEPTED, "paused", stuck=True), 0, 5.0, 60.0)

    assert stands.status is Status.SENT
    assert [event.type for event in stands.events] == ["stuck"]


@pytest.mark.parametrize("outcome", [Outcome.UNANSWERED, Outcome.INTERRUPTED])
@pytest.mark.parametrize(("policy", "due_in"), [(OnUncertain.RESEND, 60.0), (OnUncertain.HOLD, None)])
def test_doubt_waits_or_holds_as_the_mail_says(outcome: Outcome, policy: OnUncertain, due_in: float | None) -> None:
    stands = standing(mail(policy), "smtp", Result(outcome, "no answer"), 0, 5.0, 60.0)

    assert (stands.status, stands.due_in) == (Status.UNCERTAIN, due_in)
    assert [event.type for event in stands.events] == ["uncertain"]


def test_a_recipient_of_whom_nothing_was_said_is_uncertain_by_itself() -> None:
    result = Result(Outcome.ACCEPTED, refused={"a@b.co": "gone"}, untold=("c@d.co",))
    stands = standing(mail(), "mandrill", result, 0, 0.0, 60.0)

    assert stands.status is Status.SENT
    assert stands.recipients == {"a@b.co": Status.REJECTED, "c@d.co": Status.UNCERTAIN}
    told = [(event.type, event.recipient) for event in stands.events]
    assert told == [("rejected", "a@b.co"), ("uncertain", "c@d.co")]
