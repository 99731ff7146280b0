"""A mail that a provider may have, and would know by its key: the same request again, to the same provider alone."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from mailsvc.attempt import Settlement
from mailsvc.errors import Unanswered
from mailsvc.model import OnUncertain, Outcome, Record, Resolution, Status
from mailsvc.providers.base import Result
from tests.unit.test_delivery import outcomes
from tests.unit.world import DAY, World, world

ACCEPTED = Result(Outcome.ACCEPTED, provider_message_id="p-1")
DOWN = Result(Outcome.DOWN, "503: out of order", 503)
HAS_IT = Result(Outcome.UNANSWERED, "400: duplicate", 400, key_taken=True, same_mail=True)
WINDOW = 0.8 * DAY
RARELY = {"MAILSVC_RETRY": "10,3600"}
BOTH = pytest.mark.parametrize("policy", list(OnUncertain))


def script(*answers: Result | Exception | str) -> Callable[[str, object], Result]:
    """What the keyed provider says, one after the other; everybody else accepts."""
    left = list(answers)

    def said(name: str, mail: object) -> Result:
        if name != "keyed":
            return ACCEPTED
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Result):
            return answer
        raise Unanswered("no answer within 30 s")

    return said


def doubting(folder: Path, *answers: Result | Exception | str, **environ: str):  # type: ignore[no-untyped-def]
    """A world in which the best provider knows a repeated request by its key."""
    return world(folder, script(*answers), ("keyed", "other"), ("keyed",), **environ)


async def through(here: World, mail_id: str, seconds: float) -> Record:
    """Let time pass and deliver what is due on the way."""
    record = await here.record(mail_id)
    end = here.wall + seconds
    while record.due_at is not None and record.due_at <= end:
        here.pass_time(max(0.0, record.due_at - here.wall))
        record = await here.go(mail_id)
    here.pass_time(end - here.wall)
    return await here.go(mail_id)


@BOTH
async def test_the_same_request_goes_to_the_same_provider_soon_whatever_the_policy(
    tmp_path: Path, policy: OnUncertain
) -> None:
    async with doubting(tmp_path, "silence", ACCEPTED) as here:
        mail_id = await here.add(policy)
        doubt = await here.go(mail_id)
        sent = await through(here, mail_id, 10)

    assert (doubt.status, doubt.attempts[0].outcome) == (Status.UNCERTAIN, Outcome.UNANSWERED)
    assert doubt.due_at is not None
    assert 3.75 <= doubt.due_at - doubt.updated_at <= 6.25
    assert (sent.status, outcomes(sent)) == (Status.SENT, [("keyed", "unanswered"), ("keyed", "accepted")])
    assert here.requests[0] == here.requests[1]
    assert here.requests[0].key == mail_id


async def test_the_body_is_the_same_to_the_byte_also_when_another_would_be_made_now(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence", "silence", ACCEPTED) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        here.providers["keyed"].layout = "new"
        sent = await through(here, mail_id, 60)
        other = await here.go(await here.add())

    assert (sent.status, len(sent.attempts)) == (Status.SENT, 3)
    assert {request.body for request in here.requests[:3]} == {f"{mail_id} plain".encode()}
    assert here.requests[3].body == f"{other.id} new".encode()


async def test_an_interrupted_attempt_is_made_again_with_the_same_bytes_by_the_next_process(tmp_path: Path) -> None:
    async with doubting(tmp_path, ACCEPTED) as here:
        mail_id = await here.add(OnUncertain.HOLD)
        (mail,) = await here.outbox.claim(1, here.wall, 60)
        choice = here.courier.choose(mail, set())
        here.script = lambda name, message: asyncio.Event().wait()  # type: ignore[assignment,return-value]
        delivery = asyncio.create_task(here.courier.deliver(mail, choice))  # type: ignore[arg-type]
        while not here.requests:
            await asyncio.sleep(0)
        delivery.cancel()
        await asyncio.gather(delivery, return_exceptions=True)
        interrupted = await here.record(mail_id)
        here.providers["keyed"].layout = "new"
        here.script = lambda name, message: ACCEPTED
        sent = await through(here, mail_id, 60)

    assert outcomes(interrupted) == [("keyed", "interrupted")]
    assert (sent.status, here.requests[0]) == (Status.SENT, here.requests[1])


async def test_nobody_else_is_asked_while_the_key_lives_and_somebody_is_when_it_is_over(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence", MAILSVC_GIVE_UP="7d", **RARELY) as here:
        mail_id = await here.add()
        begun = here.wall
        await here.go(mail_id)
        waiting = await through(here, mail_id, WINDOW - 1)
        asked = {name for name, _ in here.asked}
        sent = await through(here, mail_id, 5000)

    assert waiting.status is Status.UNCERTAIN
    assert asked == {"keyed"}
    assert max(attempt.started_at for attempt in sent.attempts if attempt.provider == "keyed") < begun + WINDOW
    assert (sent.status, outcomes(sent)[-1]) == (Status.SENT, ("other", "accepted"))
    assert {attempt.resolved for attempt in sent.attempts[:-1]} == {Resolution.RESEND}


async def test_a_mail_that_says_hold_is_held_when_the_key_is_over(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence", MAILSVC_GIVE_UP="7d", **RARELY) as here:
        mail_id = await here.add(OnUncertain.HOLD)
        await here.go(mail_id)
        held = await through(here, mail_id, WINDOW + 5000)

    assert (held.status, held.due_at) == (Status.UNCERTAIN, None)
    assert held.error == "keyed may have it, and nothing but a report or a person can tell"
    assert {name for name, _ in here.asked} == {"keyed"}


async def test_the_pauses_grow_as_usual(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence") as here:
        mail_id = await here.add()
        await here.go(mail_id)
        record = await through(here, mail_id, 1000)

    starts = [attempt.started_at for attempt in record.attempts]
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    for pause, usual in zip(pauses, (5, 10, 20, 40, 80, 160, 300), strict=False):
        assert 0.75 * usual <= pause <= 1.25 * usual + 61  # and the bench that the silence brings


@pytest.mark.parametrize("outcome", [Outcome.DOWN, Outcome.RATE_LIMITED, Outcome.QUOTA, Outcome.UNAUTHORIZED])
async def test_an_answer_that_says_nothing_of_the_mail_settles_nothing(tmp_path: Path, outcome: Outcome) -> None:
    async with doubting(tmp_path, "silence", Result(outcome, "not now", 503, retry_after=3.0), ACCEPTED) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        doubt = await through(here, mail_id, 10)
        sent = await through(here, mail_id, 4000)

    assert (doubt.status, doubt.error) == (Status.UNCERTAIN, "keyed: not now")
    assert (sent.status, outcomes(sent)[:2]) == (Status.SENT, [("keyed", "unanswered"), ("keyed", outcome)])
    assert {name for name, _ in here.asked} == {"keyed"}
    assert [attempt.resolved for attempt in sent.attempts] == [Resolution.SAME_KEY, None, None]


async def test_acceptance_of_the_same_request_settles_every_doubt_and_says_so(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence", "silence", ACCEPTED) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        sent = await through(here, mail_id, 60)
        doubts = await here.outbox.doubts()

    assert doubts == {("keyed", Resolution.SAME_KEY): 2}
    assert [event.type for event in sent.events] == ["uncertain", "resolved"]
    assert sent.events[1].detail == "asked again with the same key: accepted"
    assert (sent.error, sent.provider_message_id) == (None, "p-1")


@BOTH
async def test_a_refusal_of_the_same_request_proves_that_it_was_never_taken(
    tmp_path: Path, policy: OnUncertain
) -> None:
    async with doubting(tmp_path, "silence", Result(Outcome.REFUSED, "422: bad", 422)) as here:
        mail_id = await here.add(policy)
        await here.go(mail_id)
        sent = await through(here, mail_id, 10)

    assert (sent.status, outcomes(sent)) == (
        Status.SENT,
        [("keyed", "unanswered"), ("keyed", "refused"), ("other", "accepted")],
    )
    assert [attempt.resolved for attempt in sent.attempts] == [Resolution.SAME_KEY, None, None]


async def test_a_refusal_of_the_same_request_by_the_only_provider_is_the_end(tmp_path: Path) -> None:
    answers = script("silence", Result(Outcome.REFUSED, "422: bad", 422))
    async with world(tmp_path, answers, ("keyed",), ("keyed",)) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        failed = await through(here, mail_id, 10)

    assert (failed.status, failed.error) == (Status.FAILED, "keyed: 422: bad")


async def test_a_key_that_stands_for_another_body_is_left_to_a_person(tmp_path: Path) -> None:
    taken = Result(Outcome.UNANSWERED, "409: invalid_idempotent_request", 409, key_taken=True)
    async with doubting(tmp_path, taken, **RARELY) as here:
        first = await here.go(await here.add())
        here.script = script("silence", taken)
        second_id = await here.add()
        await here.go(second_id)
        second = await through(here, second_id, WINDOW + 5000)
        health = here.selector.survey(here.monotonic)[0]

    assert [(record.status, record.due_at) for record in (first, second)] == [(Status.UNCERTAIN, None)] * 2
    assert {name for name, _ in here.asked} == {"keyed"}
    assert health.state == "open"


async def test_an_answer_about_the_key_costs_the_provider_no_health(tmp_path: Path) -> None:
    busy = Result(Outcome.UNANSWERED, "409: concurrent_idempotent_requests", 409)
    async with doubting(tmp_path, busy, ACCEPTED) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        scores = [candidate.score for candidate in here.selector.survey(here.monotonic)]
        sent = await through(here, mail_id, 10)

    assert scores == [50.0, 40.0]
    assert sent.status is Status.SENT


@BOTH
async def test_a_provider_that_says_it_has_got_the_mail_already_settles_the_doubt(
    tmp_path: Path, policy: OnUncertain
) -> None:
    async with doubting(tmp_path, "silence", HAS_IT) as here:
        mail_id = await here.add(policy)
        await here.go(mail_id)
        sent = await through(here, mail_id, 10)

    assert (sent.status, outcomes(sent)) == (Status.SENT, [("keyed", "unanswered"), ("keyed", "accepted")])
    assert sent.attempts[0].resolved is Resolution.SAME_KEY
    assert {name for name, _ in here.asked} == {"keyed"}


async def test_a_provider_that_says_so_of_a_mail_it_refused_is_not_believed(tmp_path: Path) -> None:
    async with world(tmp_path, script(DOWN, HAS_IT), ("keyed",), ("keyed",)) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        score = here.selector.survey(here.monotonic)[0].score
        doubt = await through(here, mail_id, 100)
        after = here.selector.survey(here.monotonic)[0].score

    assert (doubt.status, outcomes(doubt)) == (Status.UNCERTAIN, [("keyed", "down"), ("keyed", "unanswered")])
    assert doubt.due_at is None
    assert after >= score


async def test_a_mail_in_doubt_waits_for_its_provider_while_that_is_paused(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence", ACCEPTED) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        here.selector.pause("keyed")
        waiting = await through(here, mail_id, 600)
        here.selector.resume("keyed")
        sent = await through(here, mail_id, 60)

    assert (waiting.status, outcomes(waiting)) == (Status.UNCERTAIN, [("keyed", "unanswered")])
    assert waiting.due_at is not None
    assert waiting.due_at - here.wall < 60
    assert outcomes(sent) == [("keyed", "unanswered"), ("keyed", "accepted")]


async def test_a_mail_in_doubt_waits_until_its_provider_is_open_again(tmp_path: Path) -> None:
    limited = Result(Outcome.RATE_LIMITED, "slow down", 429, retry_after=120.0)
    async with doubting(tmp_path, "silence", limited, ACCEPTED) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        await through(here, mail_id, 10)
        closed = here.wall
        sent = await through(here, mail_id, 300)

    assert sent.status is Status.SENT
    assert sent.attempts[-1].started_at >= closed + 110


async def test_a_mail_in_doubt_waits_for_the_end_of_a_bench(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence", "silence", ACCEPTED) as here:
        mail_id = await here.add()
        other = await here.add()
        await here.go(mail_id)
        candidate = here.selector.survey(here.monotonic)[0]
        until = here.wall + (candidate.until or 0.0) - here.monotonic
        sent = await through(here, mail_id, 100)
        await through(here, other, 100)

    assert candidate.state == "benched"
    assert sent.status is Status.SENT
    assert sent.attempts[1].started_at >= until


async def test_mails_that_wait_for_one_provider_take_no_room_from_others(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence", MAILSVC_CONCURRENCY="2") as here:
        doubtful = [await here.add() for _ in range(2)]
        await here.go(doubtful[0])
        here.selector.pause("keyed")
        here.pass_time(60)
        mail_id = await here.add()
        with here.feed.listen(mail_id) as news:
            here.drain.start()
            while (await news.get()).data.get("status") != Status.SENT:
                pass
        await here.drain.stop(1)
        records = [await here.record(each) for each in doubtful]

    assert {record.status for record in records} == {Status.UNCERTAIN}


async def test_a_mail_that_must_be_held_is_held_by_the_drain(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence") as here:
        mail_id = await here.add(OnUncertain.HOLD)
        await here.go(mail_id)
        here.pass_time(WINDOW + 5000)
        with here.feed.listen(mail_id) as news:
            here.drain.start()
            await news.get()
        await here.drain.stop(1)
        record = await here.record(mail_id)

    assert (record.status, record.due_at, len(record.attempts)) == (Status.UNCERTAIN, None, 1)


async def unconfigured(here: World, mail_id: str) -> None:
    """The keyed provider is taken out of the configuration while the mail is in doubt."""
    await here.go(mail_id)
    here.providers.pop("keyed")


async def test_without_the_provider_the_mail_is_given_to_another_after_the_usual_wait(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence") as here:
        mail_id = await here.add()
        begun = here.wall
        await unconfigured(here, mail_id)
        here.selector.pause("keyed")
        early = await through(here, mail_id, 50)
        sent = await through(here, mail_id, 60)

    assert outcomes(early) == [("keyed", "unanswered")]
    assert outcomes(sent) == [("keyed", "unanswered"), ("other", "accepted")]
    assert sent.attempts[1].started_at >= begun + 60


async def test_without_the_provider_a_mail_that_says_hold_is_held(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence") as here:
        mail_id = await here.add(OnUncertain.HOLD)
        await unconfigured(here, mail_id)
        held = await through(here, mail_id, 100)

    assert (held.status, held.due_at) == (Status.UNCERTAIN, None)
    assert len(here.asked) == 1


async def test_a_mail_that_is_too_old_is_not_asked_about_any_more_and_stays_in_doubt(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence", MAILSVC_GIVE_UP="1h") as here:
        mail_id = await here.add()
        await here.go(mail_id)
        record = await through(here, mail_id, 5000)

    assert (record.status, record.due_at) == (Status.UNCERTAIN, None)
    assert (record.error or "").startswith("gave up after")
    assert {name for name, _ in here.asked} == {"keyed"}


async def test_a_provider_that_was_down_gets_the_same_bytes_when_its_turn_comes_again(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: DOWN, ("keyed",), ("keyed",)) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        here.providers["keyed"].layout = "new"
        here.pass_time(10)
        await here.go(mail_id)

    assert here.requests[0] == here.requests[1]


async def test_a_mail_that_was_refused_elsewhere_has_not_failed_while_somebody_may_have_it(tmp_path: Path) -> None:
    def said(name: str, mail: object) -> Result:
        if name == "first":
            raise Unanswered("no answer")
        return Result(Outcome.REFUSED, "400: bad mail", 400)

    async with world(tmp_path, said) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        record = await through(here, mail_id, 100)

    assert outcomes(record) == [("first", "unanswered"), ("second", "refused"), ("third", "refused")]
    assert (record.status, record.due_at) == (Status.UNCERTAIN, None)


async def test_what_was_considered_says_why_the_provider_was_asked_again(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence", ACCEPTED) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        sent = await through(here, mail_id, 10)

    chosen, other = sent.attempts[1].considered
    assert (chosen["state"], chosen["reason"]) == ("chosen", "may have this mail, and knows it by its key")
    assert (other["provider"], other["state"]) == ("other", "open")


async def test_a_mail_that_was_settled_meanwhile_is_not_sent(tmp_path: Path) -> None:
    async with doubting(tmp_path, "silence", ACCEPTED) as here:
        mail_id = await here.add()
        await here.go(mail_id)
        here.pass_time(10)
        (mail,) = await here.outbox.claim(1, here.wall, 60)
        decided = Settlement(mail_id, 0, None, Status.SENT, None, 0, here.wall, expected=Status.UNCERTAIN)
        await here.outbox.settle([decided])
        choice = here.courier.choose(mail, set())
        assert await here.courier.deliver(mail, choice) is None  # type: ignore[arg-type]
        record = await here.record(mail_id)

    assert (record.status, len(here.asked)) == (Status.SENT, 1)
    assert here.selector.snapshot(here.monotonic)[0].in_flight == 0
