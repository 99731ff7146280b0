"""One go of a mail: whom it asks, in which order, and where the mail stands afterwards."""

from pathlib import Path

import pytest

from mailsvc.address import Mailbox
from mailsvc.attempt import Beginning
from mailsvc.errors import NotSent, Unanswered
from mailsvc.model import OnUncertain, Outcome, Record, Report, ReportType, Status
from mailsvc.providers.base import Result
from tests.unit.world import World, world

ACCEPTED = Result(Outcome.ACCEPTED, provider_message_id="p-1")
DOWN = Result(Outcome.DOWN, "503: out of order", 503)
REFUSED = Result(Outcome.REFUSED, "400: bad mail", 400)


def outcomes(record: Record) -> list[tuple[str, str | None]]:
    """Provider and outcome of each attempt."""
    return [(attempt.provider, attempt.outcome) for attempt in record.attempts]


async def test_the_best_score_is_asked_and_the_mail_is_sent(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: ACCEPTED) as here:
        record = await here.go(await here.add())

    assert (record.status, record.provider, record.provider_message_id) == (Status.SENT, "first", "p-1")
    assert record.error is None
    assert {recipient.status for recipient in record.recipients} == {Status.SENT}
    (attempt,) = record.attempts
    assert (attempt.n, attempt.provider, attempt.outcome, attempt.score) == (1, "first", "accepted", 50.0)
    assert attempt.considered == [
        {"provider": "first", "score": 50.0, "state": "chosen"},
        {"provider": "second", "score": 40.0, "state": "open", "reason": ""},
        {"provider": "third", "score": 30.0, "state": "open", "reason": ""},
    ]


async def test_a_failure_lowers_the_score_and_the_next_provider_takes_over_in_the_same_go(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: DOWN if name == "first" else ACCEPTED) as here:
        record = await here.go(await here.add())
        scores = {candidate.name: candidate.score for candidate in here.selector.survey(here.monotonic)}

    assert outcomes(record) == [("first", "down"), ("second", "accepted")]
    assert (record.status, record.error) == (Status.SENT, None)
    assert (record.attempts[0].detail, record.attempts[0].http_status) == ("503: out of order", 503)
    assert [row["state"] for row in record.attempts[1].considered] == ["tried", "chosen", "open"]
    assert (scores["first"], scores["second"]) == (pytest.approx(45.0), 40.0)


async def test_the_preferred_provider_is_asked_first_again_within_five_minutes_of_its_recovery(tmp_path: Path) -> None:
    broken = {"first"}
    async with world(tmp_path, lambda name, mail: DOWN if name in broken else ACCEPTED) as here:
        for _ in range(5):
            await here.go(await here.add())
        assert here.asked[-1][0] == "second"
        broken.clear()
        waited = 0
        while here.asked[-1][0] != "first":
            here.pass_time(5)
            waited += 5
            await here.go(await here.add())

    assert waited <= 300


async def test_when_all_have_failed_a_round_is_over_and_the_mail_is_due_again_later(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: DOWN) as here:
        mail_id = await here.add()
        record = await here.go(mail_id)
        asked = len(here.asked)
        again = await here.go(mail_id)

    assert outcomes(record) == [("first", "down"), ("second", "down"), ("third", "down")]
    assert record.status is Status.QUEUED
    assert record.error == "third: 503: out of order"
    assert record.due_at is not None
    assert 3.75 <= record.due_at - here.wall <= 6.25
    assert asked == 3
    assert again.attempts == record.attempts


async def test_a_mail_that_nobody_took_in_time_has_failed_and_says_why(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: DOWN, names=("first",), MAILSVC_GIVE_UP="1h") as here:
        mail_id = await here.add()
        record = await here.record(mail_id)
        for _ in range(60):
            if record.status is not Status.QUEUED:
                break
            here.pass_time(301)
            record = await here.go(mail_id)

    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error.startswith("gave up after")
    assert "503: out of order" in record.error
    assert record.due_at is None


async def test_a_refused_mail_gets_a_second_opinion_and_nobody_is_blamed_when_both_agree(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: REFUSED) as here:
        record = await here.go(await here.add())
        scores = [candidate.score for candidate in here.selector.survey(here.monotonic)]

    assert outcomes(record) == [("first", "refused"), ("second", "refused")]
    assert (record.status, record.error) == (Status.FAILED, "second: 400: bad mail")
    assert scores == [50.0, 40.0, 30.0]


async def test_a_refusal_that_another_provider_does_not_share_is_blamed(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: REFUSED if name == "first" else ACCEPTED) as here:
        record = await here.go(await here.add())
        scores = [candidate.score for candidate in here.selector.survey(here.monotonic)]

    assert record.status is Status.SENT
    assert scores == [pytest.approx(45.0), 40.0, 30.0]


async def test_the_only_provider_that_refuses_has_the_last_word(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: REFUSED, names=("first",)) as here:
        record = await here.go(await here.add())

    assert (record.status, record.error) == (Status.FAILED, "first: 400: bad mail")


async def test_a_refused_recipient_is_the_end_without_failover_or_penalty(tmp_path: Path) -> None:
    result = Result(Outcome.RECIPIENT_REFUSED, "unknown user", 422)
    async with world(tmp_path, lambda name, mail: result) as here:
        record = await here.go(await here.add())
        scores = [candidate.score for candidate in here.selector.survey(here.monotonic)]

    assert outcomes(record) == [("first", "recipient_refused")]
    assert record.status is Status.REJECTED
    assert {recipient.status for recipient in record.recipients} == {Status.REJECTED}
    assert scores == [50.0, 40.0, 30.0]


async def test_a_partial_acceptance_is_kept_by_recipient(tmp_path: Path) -> None:
    result = Result(Outcome.ACCEPTED, refused={"bob@example.com": "550 unknown"})
    async with world(tmp_path, lambda name, mail: result) as here:
        record = await here.go(await here.add())

    assert record.status is Status.SENT
    assert {r.address: r.status for r in record.recipients} == {
        "ann@example.com": Status.SENT,
        "bob@example.com": Status.REJECTED,
    }
    assert [(event.type, event.recipient) for event in record.events] == [("rejected", "bob@example.com")]


async def test_a_refused_sender_is_not_offered_to_that_provider_again_for_five_minutes(tmp_path: Path) -> None:
    result = Result(Outcome.SENDER_REFUSED, "domain not verified", 403)
    async with world(tmp_path, lambda name, mail: result if name == "first" else ACCEPTED) as here:
        await here.go(await here.add())
        second = await here.go(await here.add())
        other = await here.go(await here.add(sender="x@other.example"))
        here.pass_time(301)
        later = await here.go(await here.add())

    assert outcomes(second) == [("second", "accepted")]
    assert second.attempts[0].considered[0]["state"] == "sender_refused"
    assert "example.com" in second.attempts[0].considered[0]["reason"]
    assert outcomes(other)[0] == ("first", "sender_refused")
    assert outcomes(later)[0] == ("first", "sender_refused")


async def test_a_provider_that_a_domain_blocks_is_passed_over_for_that_domain_alone(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: ACCEPTED) as here:
        for _ in range(5):
            here.courier.reputation.learn(
                Report(ReportType.DELAYED, here.wall, "first", "e", recipient="x@big.example"), here.monotonic
            )
        there = await here.go(await here.add(to=(Mailbox("ann@big.example"),)))
        elsewhere = await here.go(await here.add(to=(Mailbox("ann@small.example"),)))
        for name in ("second", "third"):
            here.selector.pause(name)
        alone = await here.go(await here.add(to=(Mailbox("ann@big.example"),)))

    considered = there.attempts[0].considered
    assert [outcomes(record) for record in (there, elsewhere, alone)] == [
        [("second", "accepted")],
        [("first", "accepted")],
        [("first", "accepted")],
    ]
    assert (considered[0]["state"], considered[0]["score"]) == ("open", 50.0)
    assert "big.example" in considered[0]["reason"]


async def test_a_provider_that_keeps_mail_back_is_paused_and_the_mail_is_not_sent_again(tmp_path: Path) -> None:
    stuck = Result(Outcome.ACCEPTED, "queued: sending paused", 200, "p-1", stuck=True)
    async with world(tmp_path, lambda name, mail: stuck if name == "first" else ACCEPTED) as here:
        first = await here.go(await here.add())
        second = await here.go(await here.add())

    assert (first.status, [event.type for event in first.events]) == (Status.SENT, ["stuck"])
    assert outcomes(second) == [("second", "accepted")]
    assert second.attempts[0].considered[0]["state"] == "paused"


async def test_what_was_not_sent_goes_to_the_next_provider_at_once(tmp_path: Path) -> None:
    def script(name: str, mail: object) -> Result:
        if name == "first":
            raise NotSent("connection refused")
        return ACCEPTED

    async with world(tmp_path, script) as here:
        record = await here.go(await here.add())

    assert outcomes(record) == [("first", "down"), ("second", "accepted")]
    assert record.attempts[0].detail == "connection refused"


def silent(name: str, mail: object) -> Result:
    """The first provider never answers."""
    if name == "first":
        raise Unanswered("no answer within 30 s")
    return ACCEPTED


async def test_a_mail_without_an_answer_is_in_doubt_and_resent_elsewhere_after_a_minute(tmp_path: Path) -> None:
    async with world(tmp_path, silent) as here:
        mail_id = await here.add()
        doubt = await here.go(mail_id)
        here.pass_time(59)
        waiting = await here.go(mail_id)
        here.pass_time(2)
        sent = await here.go(mail_id)

    assert (doubt.status, doubt.error) == (Status.UNCERTAIN, "first: no answer within 30 s")
    assert doubt.due_at == pytest.approx(here.wall - 61 + 60)
    assert [event.type for event in doubt.events] == ["uncertain"]
    assert outcomes(waiting) == [("first", "unanswered")]
    assert outcomes(sent) == [("first", "unanswered"), ("second", "accepted")]
    assert sent.status is Status.SENT


async def test_a_mail_in_doubt_that_says_hold_is_never_sent_again(tmp_path: Path) -> None:
    async with world(tmp_path, silent) as here:
        mail_id = await here.add(OnUncertain.HOLD)
        await here.go(mail_id)
        here.pass_time(100_000)
        record = await here.go(mail_id)

    assert (record.status, record.due_at) == (Status.UNCERTAIN, None)
    assert len(here.asked) == 1


async def test_a_provider_in_doubt_is_asked_again_only_when_there_is_nobody_else(tmp_path: Path) -> None:
    answers = iter([Unanswered("no answer"), ACCEPTED])

    def script(name: str, mail: object) -> Result:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with world(tmp_path, script, names=("first",)) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        here.pass_time(61)
        record = await here.go(mail_id)

    assert outcomes(record) == [("first", "unanswered"), ("first", "accepted")]


async def test_a_mail_in_doubt_that_nobody_takes_afterwards_stays_in_doubt(tmp_path: Path) -> None:
    def script(name: str, mail: object) -> Result:
        if len(here.asked) == 1:
            raise Unanswered("no answer")
        return DOWN

    async with world(tmp_path, script, names=("first",), MAILSVC_GIVE_UP="1m") as here:
        mail_id = await here.add()
        await here.go(mail_id)
        here.pass_time(400)
        record = await here.go(mail_id)

    assert (record.status, record.due_at) == (Status.UNCERTAIN, None)
    assert record.error is not None
    assert record.error.startswith("gave up")


async def test_a_fault_in_an_adapter_is_an_outcome_and_stops_nothing(tmp_path: Path) -> None:
    def script(name: str, mail: object) -> Result:
        if name == "first":
            raise ZeroDivisionError
        return ACCEPTED

    async with world(tmp_path, script) as here:
        record = await here.go(await here.add())

    assert (record.status, outcomes(record)) == (Status.UNCERTAIN, [("first", "unanswered")])
    assert record.attempts[0].detail == "a fault in mailsvc's adapter: ZeroDivisionError"


async def test_a_mail_that_somebody_else_has_begun_is_dropped_and_asked_of_nobody(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: ACCEPTED) as here:
        mail_id = await here.add()
        (mail,) = await here.outbox.claim(1, here.wall, 60.0)
        choice = here.courier.choose(mail, set())
        assert choice is not None
        await here.outbox.begin([Beginning(mail_id, 1, "second", 40.0, [], here.wall)])
        unsent = await here.courier.deliver(mail, choice)
        record = await here.record(mail_id)
        in_flight = [state.in_flight for state in here.selector.snapshot(here.monotonic)]

    assert (unsent, here.asked) == (None, [])
    assert (record.status, outcomes(record)) == (Status.SENDING, [("second", None)])
    assert in_flight == [0, 0, 0]


async def test_a_mail_that_cannot_be_rendered_any_more_has_failed_and_harms_no_provider(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: ACCEPTED) as here:
        record = await here.go(await here.add(content="- " * 200 + "deep"))
        states = [(candidate.state, candidate.score) for candidate in here.selector.survey(here.monotonic)]

    assert (record.status, record.attempts) == (Status.FAILED, ())
    assert "deep" in (record.error or "")
    assert states == [("open", 50.0), ("open", 40.0), ("open", 30.0)]


async def test_a_rate_limit_closes_the_provider_and_costs_it_no_health(tmp_path: Path) -> None:
    limited = Result(Outcome.RATE_LIMITED, "slow down", 429, retry_after=30.0)

    def script(name: str, mail: object) -> Result:
        return limited if name == "first" and len(here.asked) == 1 else ACCEPTED

    async with world(tmp_path, script) as here:
        await here.go(await here.add())
        here.pass_time(29)
        closed = await here.go(await here.add())
        here.pass_time(2)
        opened = await here.go(await here.add())

    assert outcomes(closed) == [("second", "accepted")]
    assert closed.attempts[0].considered[0]["state"] == "closed"
    assert closed.attempts[0].considered[0]["score"] == 50.0
    assert outcomes(opened) == [("first", "accepted")]


async def test_when_all_asked_to_be_left_alone_the_next_round_waits_as_long_as_they_said(tmp_path: Path) -> None:
    limited = Result(Outcome.RATE_LIMITED, "slow down", 429, retry_after=600.0)
    async with world(tmp_path, lambda name, mail: limited) as here:
        record = await here.go(await here.add())

    assert record.due_at is not None
    assert record.due_at - here.wall == pytest.approx(600.0)


async def test_a_provider_that_recovers_mail_by_mail_is_news_once(tmp_path: Path) -> None:
    broken = {"first"}
    async with world(tmp_path, lambda name, mail: DOWN if name in broken else ACCEPTED) as here:
        with here.feed.listen("first") as news:
            for turn in range(60):
                if turn == 10:
                    broken.clear()
                here.pass_time(5)
                await here.go(await here.add())
            said = [item.data["state"] for item in drained(news)]

    assert said == ["benched", "open"]


async def test_a_mail_that_nobody_may_be_asked_to_send_waits_and_loses_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: ACCEPTED) as here:
        for name in ("first", "second", "third"):
            here.selector.pause(name)
        mail_id = await here.add()
        waiting = await here.go(mail_id)
        here.selector.resume("third")
        sent = await here.go(mail_id)

    assert (waiting.status, waiting.attempts) == (Status.QUEUED, ())
    assert outcomes(sent) == [("third", "accepted")]


async def tell(here: World) -> list[str]:
    """What the feed says while one mail is delivered."""
    with here.feed.listen() as news:
        await here.go(await here.add())
    return [
        f"{item.kind} {item.data.get('outcome') or item.data.get('status') or ''}".strip() for item in drained(news)
    ]


def drained(queue: object) -> list:  # type: ignore[type-arg]
    """Everything in a queue."""
    found = []
    while not queue.empty():  # type: ignore[attr-defined]
        found.append(queue.get_nowait())  # type: ignore[attr-defined]
    return found


async def test_the_feed_tells_each_attempt_and_where_the_mail_stands(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: DOWN if name == "first" else ACCEPTED) as here:
        said = await tell(here)

    assert said == ["attempt", "attempt down", "mail sending", "attempt", "attempt accepted", "mail sent"]
