"""How attempts begin and end in every outbox."""

import asyncio
from dataclasses import replace

from mailsvc.addition import Added
from mailsvc.address import Mailbox
from mailsvc.errors import Conflict
from mailsvc.model import Attempt, Event, Outcome, Status
from tests.contract.samples import (
    CONSIDERED,
    NOW,
    OpenStore,
    addition,
    beginning,
    failure,
    settlement,
    shown,
    start,
    status,
    store,
)


async def test_a_begun_attempt_is_seen_and_the_mail_is_sending(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox, now=NOW + 2)
        record = await shown(outbox, mail_id)

    assert (record.status, record.updated_at) == (Status.SENDING, NOW + 2)
    assert record.attempts == (Attempt(1, "alpha", None, None, None, NOW + 2, None, 50.0, CONSIDERED),)


async def test_attempts_are_numbered_in_turn(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox)
        too_high = await outbox.begin([beginning(mail_id, 2)])
        first = await outbox.begin([beginning(mail_id, 1)])
        same_again = await outbox.begin([beginning(mail_id, 1)])
        while_it_runs = await outbox.begin([beginning(mail_id, 2)])
        await outbox.settle([failure(mail_id, 1)])
        second = await outbox.begin([beginning(mail_id, 2)])

    assert (first, second) == ([None], [None])
    assert [type(result) for (result,) in (too_high, same_again, while_it_runs)] == [Conflict] * 3


async def test_a_mail_that_is_settled_or_unknown_cannot_begin_and_spoils_no_other(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (sent,) = await start(outbox)
        await outbox.settle([settlement(sent)])
        (waiting,) = await store(outbox)
        results = await outbox.begin([beginning(sent, 2), beginning(waiting), beginning("unknown")])

        assert [type(result) for result in results] == [Conflict, type(None), Conflict]
        assert (await status(outbox, sent), await status(outbox, waiting)) == (Status.SENT, Status.SENDING)


async def test_of_two_that_claimed_one_mail_only_the_first_can_begin(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await store(outbox)
        (one,) = await outbox.claim(1, NOW, 60)
        (other,) = await outbox.claim(1, NOW + 61, 60)
        results = await outbox.begin([beginning(each.id, each.attempts + 1) for each in (one, other)])

    assert [type(result) for result in results] == [type(None), Conflict]


async def test_what_was_considered_comes_back_as_it_was(open_store: OpenStore) -> None:
    considered = [{"provider": "alpha", "score": 12.345, "state": "benched", "reason": "é", "until": None}]
    async with open_store() as outbox:
        (mail_id,) = await store(outbox)
        await outbox.begin([replace(beginning(mail_id), considered=considered, score=12.345)])
        record = await shown(outbox, mail_id)

    assert (record.attempts[0].considered, record.attempts[0].score) == (considered, 12.345)


async def test_a_settled_attempt_and_its_mail_say_how_it_ended(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        details = {"provider": "alpha", "provider_message_id": "m-1", "http_status": 202, "detail": "taken"}
        applied = await outbox.settle([settlement(mail_id, **details)])
        record = await shown(outbox, mail_id)

    assert applied == [True]
    assert (record.status, record.updated_at, record.due_at) == (Status.SENT, NOW + 1, None)
    assert (record.provider, record.provider_message_id, record.error) == ("alpha", "m-1", None)
    assert record.attempts == (Attempt(1, "alpha", Outcome.ACCEPTED, 202, "taken", NOW, NOW + 1, 50.0, CONSIDERED),)
    assert [recipient.status for recipient in record.recipients] == [Status.SENT]


async def test_settling_again_changes_nothing_and_says_so(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        row = settlement(mail_id, events=(Event("stuck", NOW),))
        first = await outbox.settle([row])
        before = await outbox.get(mail_id)
        again = await outbox.settle([row, replace(row, outcome=Outcome.DOWN, status=Status.FAILED)])

        assert (first, again) == ([True], [False, False])
        assert await outbox.get(mail_id) == before


async def test_settling_what_is_unknown_says_so_and_spoils_no_other(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        rows = [settlement("unknown"), settlement(mail_id, 7), settlement(mail_id), settlement("unknown", 0)]

        assert await outbox.settle(rows) == [False, False, True, False]
        assert await status(outbox, mail_id) is Status.SENT


async def test_a_result_that_cannot_be_stored_fails_alone_and_leaves_its_mail_as_it_is(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        good, bad = await start(outbox, addition(), addition())
        results = await outbox.settle([settlement(bad, events=(Event("\ud800", NOW),)), settlement(good)])
        counts = await outbox.counts()

        assert [type(result) for result in results] == [UnicodeEncodeError, bool]
        assert (await status(outbox, good), await status(outbox, bad)) == (Status.SENT, Status.SENDING)
        assert (counts[Status.SENT], counts[Status.SENDING]) == (1, 1)


async def test_while_another_provider_is_asked_the_mail_is_sending_and_keeps_its_time(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        await outbox.settle([failure(mail_id, due_at=NOW + 99, provider="alpha", error="503")])
        record = await shown(outbox, mail_id)

    assert (record.status, record.due_at, record.error) == (Status.SENDING, NOW, "503")
    assert record.attempts[0].outcome is Outcome.DOWN


async def test_a_mail_whose_round_failed_is_due_again_with_its_rounds(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        await outbox.settle([failure(mail_id)])
        again = {"status": Status.QUEUED, "due_at": NOW + 5, "rounds": 1, "error": "all down"}
        applied = await outbox.settle([settlement(mail_id, 0, **again)])
        record = await shown(outbox, mail_id)
        early, (claimed,) = await outbox.claim(1, NOW + 4, 60), await outbox.claim(1, NOW + 5, 60)

    assert applied == [True]
    assert (record.status, record.due_at, record.error, len(record.attempts)) == (Status.QUEUED, NOW + 5, "all down", 1)
    assert (early, claimed.rounds) == ([], 1)


async def test_a_standing_without_an_attempt_applies_once_and_not_to_a_final_mail(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox)
        later = settlement(mail_id, 0, status=Status.QUEUED, due_at=NOW + 5, rounds=1, events=(Event("waited", NOW),))
        given_up = settlement(mail_id, 0, status=Status.FAILED, error="gave up")
        results = await outbox.settle([later, later, given_up, given_up, later])
        record = await shown(outbox, mail_id)

    assert results == [True, False, True, False, False]
    assert (record.status, record.error, len(record.events)) == (Status.FAILED, "gave up", 1)


async def test_a_standing_without_an_attempt_ends_a_claim_although_nothing_else_changes(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox)
        await outbox.claim(1, NOW, 60)

        assert await outbox.settle([settlement(mail_id, 0, status=Status.QUEUED, due_at=NOW)]) == [True]
        assert [mail.id for mail in await outbox.claim(1, NOW, 60)] == [mail_id]


async def test_a_standing_without_an_attempt_does_not_touch_a_mail_in_an_attempt(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)

        assert await outbox.settle([settlement(mail_id, 0, status=Status.QUEUED, due_at=NOW, rounds=1)]) == [False]
        assert await status(outbox, mail_id) is Status.SENDING


async def test_recipients_may_have_a_status_of_their_own_which_stays(open_store: OpenStore) -> None:
    people = tuple(Mailbox(f"{name}@example.com") for name in ("ann", "bob", "cid"))
    async with open_store() as outbox:
        (mail_id,) = await start(outbox, addition(to=people))
        await outbox.settle([failure(mail_id, recipients={"ANN@example.com": Status.REJECTED})])
        await outbox.begin([beginning(mail_id, 2)])
        await outbox.settle([settlement(mail_id, 2, recipients={"cid@example.com": Status.BOUNCED})])
        record = await shown(outbox, mail_id)

    assert [recipient.status for recipient in record.recipients] == [Status.REJECTED, Status.SENT, Status.BOUNCED]


async def test_events_are_kept_in_order(open_store: OpenStore) -> None:
    events = [Event("stuck", NOW + 1, "alpha", "ann@example.com", "why"), Event("late", NOW), Event("stuck", NOW + 2)]
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        await outbox.settle([failure(mail_id, events=tuple(events[:2]))])
        await outbox.begin([beginning(mail_id, 2)])
        await outbox.settle([settlement(mail_id, 2, events=tuple(events[2:]))])
        record = await shown(outbox, mail_id)

    assert list(record.events) == events


async def test_a_providers_words_are_kept_without_what_cannot_be_stored(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        odd = {"detail": "a\x00b", "error": "c\ud800d", "provider_message_id": "\x00m\x00"}
        event = Event("stuck", NOW, detail="e\x00\udfff")
        results = await outbox.settle([settlement(mail_id, events=(event,), **odd)])
        record = await shown(outbox, mail_id)

    assert results == [True]
    assert (record.attempts[0].detail, record.error, record.provider_message_id) == ("ab", "c?d", "m")
    assert record.events[0].detail == "e?"


async def test_a_provider_is_kept_until_the_next_is_named_an_error_until_the_next_word(
    open_store: OpenStore,
) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        await outbox.settle([failure(mail_id, provider="alpha", provider_message_id="m-1", error="odd")])
        await outbox.settle([settlement(mail_id, 0, status=Status.UNCERTAIN)])
        record = await shown(outbox, mail_id)

    assert (record.provider, record.provider_message_id, record.error) == ("alpha", "m-1", None)


async def test_many_calls_at_the_same_time_each_get_their_own_results(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        known = await start(outbox, *(addition() for _ in range(20)))
        calls = [outbox.settle([settlement(mail_id), settlement("unknown")]) for mail_id in known]
        adds = [outbox.add([addition(), addition(subject="\ud800")]) for _ in range(5)]
        settled, added = await asyncio.gather(asyncio.gather(*calls), asyncio.gather(*adds))

    assert settled == [[True, False]] * 20
    assert [[isinstance(result, Added) for result in results] for results in added] == [[True, False]] * 5
