"""The checker of the promises finds every way to break one, and nothing where all were kept."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mailsvc.crashtest.invariants import Evidence, Findings, Posted, Request, examine

T = 1_800_000_000.0


def at(second: float) -> str:
    return datetime.fromtimestamp(T + second, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def attempt(outcome: str, begun: float, ended: float, provider: str = "alpha") -> dict[str, Any]:
    return {"provider": provider, "outcome": outcome, "started_at": at(begun), "ended_at": at(ended)}


def mail(
    status: str, *attempts: dict[str, Any], provider: str | None = "alpha", error: str | None = None
) -> dict[str, Any]:
    return {"status": status, "attempts": list(attempts), "provider": provider, "error": error}


def request(second: float, mail_id: str = "m", provider: str = "alpha", accepted: bool = True) -> Request:
    return Request(T + second, provider, mail_id, accepted)


SENT = mail("sent", attempt("accepted", 1, 2))
# In doubt, then resent: taken twice, with a doubt on record in between.
RESENT = mail("sent", attempt("interrupted", 1, 5), attempt("accepted", 6, 7, "beta"), provider="beta")
RESENT_LEDGER = [request(1.5), request(6.5, provider="beta")]


def found(given: dict[str, Any] | None, *ledger: Request, hold: bool = False, dedupes: bool = False) -> Findings:
    """What is found about one mail."""
    return examine(Evidence([Posted("m", "key", hold)], {"m": given}, ledger, dedupes))


def kinds(findings: Findings) -> list[str]:
    return [sentence.partition(":")[0] for sentence in findings.broken]


def test_a_mail_that_was_sent_is_as_it_should_be() -> None:
    assert found(SENT, request(1.5)) == Findings(1, 1, 0, 0, 0, 0, 0, ())


def test_a_double_after_a_doubt_on_record_is_counted_and_explained() -> None:
    assert found(RESENT, *RESENT_LEDGER) == Findings(1, 1, 0, 1, 1, 0, 0, ())


def test_a_mail_that_is_held_is_counted_and_nothing_is_wrong() -> None:
    held = mail("uncertain", attempt("unanswered", 1, 2))

    assert found(held, request(1.5), hold=True) == Findings(1, 1, 0, 0, 1, 0, 1, ())
    assert found(held, request(1.5, accepted=False), hold=True) == Findings(1, 0, 0, 0, 1, 0, 1, ())


def test_a_mail_that_failed_and_says_why_is_not_lost() -> None:
    failed = mail("failed", attempt("refused", 1, 2), error="400: bad")

    assert found(failed, request(1.5, accepted=False)) == Findings(1, 0, 0, 0, 0, 0, 0, ())


@pytest.mark.parametrize("given", [None, mail("delivered", attempt("accepted", 1, 2))], ids=["unknown", "untaken"])
def test_a_mail_that_nobody_took_and_nothing_shows_is_lost(given: dict[str, Any] | None) -> None:
    findings = found(given)

    assert findings.lost == 1
    assert "I1" in kinds(findings)


def test_sent_without_acceptance_is_lost_and_untrue() -> None:
    assert kinds(found(SENT, request(1.5, accepted=False))) == ["I1", "I4"]


def test_a_double_without_a_doubt_is_unexplained() -> None:
    twice = mail("sent", attempt("down", 1, 2), attempt("accepted", 3, 4))
    findings = found(twice, request(1.5), request(3.5))

    assert (findings.doubled, findings.unexplained, kinds(findings)) == (1, 1, ["I2"])


def test_a_doubt_that_was_recorded_too_late_explains_nothing() -> None:
    late = mail("sent", attempt("interrupted", 1, 9), attempt("accepted", 6, 7, "beta"), provider="beta")

    assert kinds(found(late, *RESENT_LEDGER)) == ["I2"]


def test_one_doubt_explains_one_double() -> None:
    thrice = mail("sent", *RESENT["attempts"], attempt("accepted", 8, 9, "beta"), provider="beta")
    findings = found(thrice, *RESENT_LEDGER, request(8.5, provider="beta"))

    assert (findings.doubled, findings.unexplained, kinds(findings)) == (2, 1, ["I2"])


@pytest.mark.parametrize(
    "ledger",
    [
        [request(0.5)],
        [request(1.5), request(1.6, accepted=False)],
        [request(1.5), request(1.6, provider="beta", accepted=False)],
    ],
    ids=["before the attempt", "one more than attempts", "of another provider"],
)
def test_a_request_without_an_attempt_on_record_is_found(ledger: list[Request]) -> None:
    assert "I3" in kinds(found(SENT, *ledger))


def test_a_request_that_was_cut_off_before_it_named_its_mail_proves_nothing() -> None:
    assert found(SENT, request(1.5), replace(request(1.6), mail_id=None, accepted=False)).broken == ()


def test_sent_by_another_provider_than_said_is_untrue() -> None:
    other = mail("sent", attempt("accepted", 1, 2), provider="beta")

    assert kinds(found(other, request(1.5))) == ["I4"]


def test_a_failure_without_a_reason_or_of_a_mail_that_was_taken_is_untrue() -> None:
    assert kinds(found(mail("failed", attempt("refused", 1, 2)), request(1.5, accepted=False))) == ["I4"]
    assert kinds(found(mail("failed", attempt("down", 1, 2), error="503"), request(1.5))) == ["I4"]


def test_two_mails_of_one_key_and_one_mail_of_two_keys_are_found() -> None:
    ledger = [request(1.5, "m"), request(1.5, "n")]
    two_mails = Evidence([Posted("m", "key"), Posted("n", "key")], {"m": SENT, "n": SENT}, ledger, dedupes=False)
    two_keys = Evidence([Posted("m", "key"), Posted("m", "other")], {"m": SENT}, ledger[:1], dedupes=False)

    assert kinds(examine(two_mails)) == ["I5"]
    assert kinds(examine(two_keys)) == ["I5"]


def test_a_mail_that_was_posted_twice_with_its_key_is_one_mail() -> None:
    evidence = Evidence([Posted("m", "key"), Posted("m", "key")], {"m": SENT}, [request(1.5)], dedupes=False)

    assert examine(evidence) == Findings(1, 1, 0, 0, 0, 0, 0, ())


def test_a_mail_that_was_taken_and_that_nobody_was_told_of_is_found() -> None:
    assert kinds(found(SENT, request(1.5), request(1.5, "stranger"))) == ["I5"]


@pytest.mark.parametrize("how", [{"hold": True}, {"dedupes": True}], ids=["hold", "dedupes"])
def test_a_double_is_forbidden_with_hold_and_with_a_provider_that_knows_keys(how: dict[str, bool]) -> None:
    assert kinds(found(RESENT, *RESENT_LEDGER, **how)) == ["I6"]


@pytest.mark.parametrize("status", ["scheduled", "queued", "sending"])
def test_what_still_waits_at_the_end_is_found(status: str) -> None:
    assert kinds(found(mail(status))) == ["I7"]


@pytest.mark.parametrize("how", [{}, {"hold": True, "dedupes": True}], ids=["resend", "dedupes"])
def test_a_doubt_that_could_have_been_settled_is_found(how: dict[str, bool]) -> None:
    assert kinds(found(mail("uncertain", attempt("unanswered", 1, 2)), request(1.5), **how)) == ["I7"]


def test_more_mails_in_doubt_after_a_kill_than_were_in_flight_are_found() -> None:
    ids = ["a", "b", "c"]
    posted = [Posted(each, each, hold=True) for each in ids]
    mails = {each: mail("uncertain", attempt("interrupted", 1, 5)) for each in ids}
    evidence = Evidence(posted, mails, [], dedupes=False, in_flight=2)

    assert kinds(examine(evidence)) == ["G2"]
    assert kinds(examine(replace(evidence, in_flight=3))) == []
