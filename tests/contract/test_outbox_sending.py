"""Scheduling, expiry, lanes, batches, retries and sensitive mails, in every outbox."""

import asyncio
from dataclasses import replace

import pytest

from mailsvc.addition import Batch
from mailsvc.address import Mailbox
from mailsvc.errors import IdempotencyKeyReused
from mailsvc.listing import Page
from mailsvc.model import Attachment, Outcome, Payload, Priority, Status, new_id
from mailsvc.suppression import Reason, Suppression
from tests.contract.samples import (
    NOW,
    OpenStore,
    addition,
    beginning,
    settlement,
    shown,
    start,
    status,
    store,
)

HIGH, NORMAL, LOW = Priority.HIGH, Priority.NORMAL, Priority.LOW


# Lanes.


async def test_a_better_lane_goes_first_and_in_each_the_oldest(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        rows = [(LOW, -50), (NORMAL, -20), (HIGH, -1), (LOW, -60), (NORMAL, -30), (HIGH, -2)]
        low, normal, high, older_low, older_normal, older_high = await store(
            outbox, *(addition(NOW + seconds, created_at=NOW - 99, priority=lane) for lane, seconds in rows)
        )
        claims = [await outbox.claim(2, NOW, 60), await outbox.claim(3, NOW, 60), await outbox.claim(3, NOW, 60)]

    assert [[mail.id for mail in claimed] for claimed in claims] == [
        [older_high, high],
        [older_normal, normal, older_low],
        [low],
    ]
    assert [mail.priority for claimed in claims for mail in claimed] == [HIGH, HIGH, NORMAL, NORMAL, LOW, LOW]


async def test_a_claim_goes_by_the_order_of_lanes_that_it_is_given(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        high, normal, low = await store(outbox, *(addition(priority=lane) for lane in (HIGH, NORMAL, LOW)))
        first = await outbox.claim(1, NOW, 60, [LOW, HIGH, NORMAL])
        none = await outbox.claim(9, NOW, 60, [LOW])
        rest = await outbox.claim(9, NOW, 60, [NORMAL, HIGH])

    assert [[mail.id for mail in claimed] for claimed in (first, none, rest)] == [[low], [], [normal, high]]


async def test_the_oldest_mail_that_waits_is_found_in_any_lane(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        empty = await outbox.extent(NOW)
        await store(outbox, addition(NOW - 5, created_at=NOW - 9), addition(NOW - 7, created_at=NOW - 9, priority=LOW))
        extent = await outbox.extent(NOW)

    assert (empty.oldest_due_at, extent.oldest_due_at) == (None, NOW - 7)


# Scheduled and expired.


async def test_a_scheduled_mail_is_tried_since_it_was_due(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await store(outbox, addition(NOW + 100), addition())
        (now,), (later,) = await outbox.claim(9, NOW, 1e6), await outbox.claim(9, NOW + 150, 1000)

    assert (now.tried_since, later.tried_since) == (None, NOW + 100)


async def test_what_waits_beyond_its_time_expires_and_nothing_else(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        over, later, scheduled, claimed = await store(
            outbox,
            addition(expires_at=NOW + 10),
            addition(expires_at=NOW + 11),
            addition(NOW + 500, expires_at=NOW + 5),
            addition(expires_at=NOW + 10),
        )
        (running,) = await start(outbox, addition(expires_at=NOW + 1))
        gone = await outbox.expire(NOW + 10)
        again = await outbox.expire(NOW + 10)
        record, counts = await shown(outbox, over), await outbox.counts()
        left = [mail.id for mail in await outbox.claim(9, NOW + 1e6, 60)]

        assert sorted(gone) == sorted((each, Status.EXPIRED) for each in (over, scheduled, claimed))
        assert (again, left) == ([], [later])
        assert (record.status, record.due_at, record.updated_at) == (Status.EXPIRED, None, NOW + 10)
        assert record.error == "it was not sent by expires_at"
        assert [(event.type, event.at) for event in record.events] == [("expired", NOW + 10)]
        assert (counts[Status.EXPIRED], counts[Status.SENDING], counts[Status.QUEUED]) == (3, 1, 1)
        assert await status(outbox, running) is Status.SENDING
        (conflict,) = await outbox.begin([beginning(claimed)])
        assert conflict is not None


async def test_what_somebody_may_have_does_not_expire_for_sure(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox, addition(expires_at=NOW + 50))
        unclear = {"outcome": Outcome.UNANSWERED, "status": Status.UNCERTAIN, "due_at": NOW + 5}
        await outbox.settle([settlement(mail_id, **unclear)])
        in_doubt = await outbox.expire(NOW + 60)
        await outbox.begin([beginning(mail_id, 2, "beta")])
        await outbox.settle([settlement(mail_id, 2, outcome=Outcome.DOWN, status=Status.QUEUED, due_at=NOW + 99)])
        gone = await outbox.expire(NOW + 60)
        record = await shown(outbox, mail_id)

    assert (in_doubt, gone) == ([], [(mail_id, Status.UNCERTAIN)])
    assert record.due_at is None
    assert record.error is not None
    assert "a provider may have it" in record.error


# Retries.


@pytest.mark.parametrize("state", [Status.FAILED, Status.CANCELED, Status.EXPIRED, Status.REJECTED])
async def test_a_mail_that_has_ended_is_sent_on_its_way_again_with_its_history(
    open_store: OpenStore, state: Status
) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox, addition(expires_at=NOW + 50))
        people = {f"reader{int(mail_id[-12:])}@example.com": state} if state is Status.REJECTED else None
        await outbox.settle([settlement(mail_id, status=state, rounds=4, error="why", recipients=people)])
        done = await outbox.retry([mail_id], NOW + 60)
        again = await outbox.retry([mail_id], NOW + 61)
        record, counts = await shown(outbox, mail_id), await outbox.counts()
        (mail,) = await outbox.claim(9, NOW + 60, 60)
        (refusal,) = await outbox.begin([beginning(mail_id, 2)])

    assert (done, again) == ([True], [False])
    assert (record.status, record.due_at, record.error, record.expires_at) == (Status.QUEUED, NOW + 60, None, None)
    assert [recipient.status for recipient in record.recipients] == [Status.QUEUED]
    assert [(event.type, event.detail) for event in record.events] == [("retried", f"it was {state}")]
    assert len(record.attempts) == 1
    assert (mail.rounds, mail.attempts, mail.tried_since, mail.retries, len(mail.to)) == (0, 1, NOW + 60, 1, 1)
    assert refusal is None
    assert {state: number for state, number in counts.items() if number} == {Status.QUEUED: 1}


async def test_an_expiry_that_is_still_ahead_stays_after_a_retry(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox, addition(expires_at=NOW + 500))
        await outbox.settle([settlement(mail_id, status=Status.FAILED)])
        await outbox.retry([mail_id], NOW + 60)

        assert (await shown(outbox, mail_id)).expires_at == NOW + 500


async def test_what_waits_has_arrived_or_was_erased_is_not_retried(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        sent, running, erased = await start(outbox, addition(), addition(), addition())
        (queued,) = await store(outbox)
        await outbox.settle([settlement(sent), settlement(erased, status=Status.FAILED)])
        while await outbox.forget(NOW + 100, NOW + 50, NOW - 1):
            pass

        assert await outbox.retry([sent, running, queued, erased, "unknown"], NOW + 100) == [False] * 5


async def test_a_mail_is_retried_once_however_many_ask_at_the_same_time(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        await outbox.settle([settlement(mail_id, status=Status.FAILED)])
        done = await asyncio.gather(*(outbox.retry([mail_id], NOW + 9 + turn) for turn in range(8)))

        assert sum(each == [True] for each in done) == 1
        assert len((await shown(outbox, mail_id)).events) == 1


# By hand.


async def test_a_waiting_mail_is_canceled_and_never_sent_even_if_it_was_claimed(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        queued, scheduled = await store(outbox, addition(), addition(NOW + 50))
        await outbox.claim(1, NOW, 60)
        ends = [
            settlement(queued, 0, status=Status.CANCELED, expected=Status.QUEUED),
            settlement(scheduled, 0, status=Status.CANCELED, expected=Status.QUEUED),
        ]
        done = await outbox.settle(ends)
        done += await outbox.settle([replace(ends[1], expected=Status.SCHEDULED)])
        begun = await outbox.begin([beginning(queued)])

        assert done == [True, False, True]
        assert begun[0] is not None
        assert await outbox.claim(9, NOW + 1e6, 60) == []
        assert [await status(outbox, each) for each in (queued, scheduled)] == [Status.CANCELED] * 2


async def test_a_scheduled_mail_is_put_to_another_time(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox, addition(NOW + 50))
        row = settlement(mail_id, 0, status=Status.SCHEDULED, due_at=NOW + 20, expected=Status.SCHEDULED)
        done = [await outbox.settle([row]), await outbox.settle([row])]
        early, due = await outbox.claim(9, NOW + 19, 60), await outbox.claim(9, NOW + 20, 60)
        late = await outbox.settle([replace(row, due_at=NOW + 90)])

    assert done[0] == [True]
    assert (early, [mail.id for mail in due], late) == ([], [mail_id], [False])


# Sensitive mails.


ENDED = [Status.SENT, Status.REJECTED, Status.FAILED]
GOING_ON = [Status.QUEUED, Status.UNCERTAIN]


@pytest.mark.parametrize("state", [*ENDED, *GOING_ON])
async def test_the_body_of_a_sensitive_mail_is_gone_when_it_ends(open_store: OpenStore, state: Status) -> None:
    file = Attachment("a.txt", "text/plain", None, 3, b"abc")
    async with open_store() as outbox:
        secret, other = await start(outbox, addition(sensitive=True, attachments=(file,)), addition())
        before = await outbox.mail(secret)
        await outbox.settle([settlement(secret, status=state), settlement(other, status=state)])
        after, record = await outbox.mail(secret), await shown(outbox, secret)
        untouched = await outbox.mail(other)
        files = await outbox.attachments(secret)

    assert before is not None
    assert after is not None
    assert untouched is not None
    assert before.sensitive
    assert (before.content is None, untouched.content is None) == (False, False)
    stays = state in GOING_ON
    assert (after.content is not None, record.erased_at is None, len(files) == 1) == (stays, stays, stays)
    assert record.sensitive


async def test_a_sensitive_mail_that_was_canceled_expired_or_suppressed_has_no_body_and_is_not_retried(
    open_store: OpenStore,
) -> None:
    ann = (Mailbox("ann@example.com"),)
    async with open_store() as outbox:
        await outbox.suppressions.put([Suppression("ann@example.com", Reason.MANUAL, "api", NOW, None, None)])
        times = [{}, {"due_at": NOW + 50, "expires_at": NOW + 60}, {"to": ann}]
        canceled, expired, suppressed = await store(outbox, *(addition(sensitive=True, **how) for how in times))  # type: ignore[arg-type]
        await outbox.settle([settlement(canceled, 0, status=Status.CANCELED)])
        await outbox.expire(NOW + 60)
        ids = [canceled, expired, suppressed]
        states = [await status(outbox, mail_id) for mail_id in ids]
        mails, records = [await outbox.mail(each) for each in ids], [await shown(outbox, each) for each in ids]
        retried = await outbox.retry(ids, NOW + 70)

    assert states == [Status.CANCELED, Status.EXPIRED, Status.SUPPRESSED]
    assert [mail.content for mail in mails if mail] == [None] * 3
    assert [record.erased_at for record in records] == [record.updated_at for record in records]
    assert retried == [False] * 3


async def test_what_was_kept_for_a_repeated_request_goes_with_the_suppressed_mail(open_store: OpenStore) -> None:
    ann = Mailbox("ann@example.com")
    payload = Payload("alpha", "key", b"the secret", NOW)
    async with open_store() as outbox:
        (mail_id,) = await store(outbox, addition(to=(ann,)))
        await outbox.begin([replace(beginning(mail_id), payload=payload)])
        await outbox.settle([settlement(mail_id, outcome=Outcome.DOWN, status=Status.QUEUED, due_at=NOW + 1)])
        waiting = await outbox.mail(mail_id)
        await outbox.suppressions.put([Suppression("ann@example.com", Reason.MANUAL, "api", NOW, None, None)])
        claimed = await outbox.claim(5, NOW + 2, 60)
        ended, state = await outbox.mail(mail_id), await status(outbox, mail_id)

    assert waiting is not None
    assert ended is not None
    assert (claimed, state) == ([], Status.SUPPRESSED)
    assert (waiting.payloads, ended.payloads) == ((payload,), ())


# Batches.


def batch(count: int = 3, key: str | None = None, fingerprint: str = "f", answer: str = "") -> Batch:
    additions = [addition(id=new_id(NOW)) for _ in range(count)]
    return Batch(additions, NOW, answer or additions[0].mail.id, "owner", key, fingerprint)


async def test_a_batch_is_stored_whole_and_its_answer_given_back(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        many = batch(500)
        told, counts = await outbox.add_batch(many), await outbox.counts()
        claimed = await outbox.claim(999, NOW, 60)

    assert told == many.answer
    assert counts[Status.QUEUED] == 500
    assert {mail.id for mail in claimed} == {each.mail.id for each in many.additions}


async def test_a_batch_with_one_mail_that_cannot_be_stored_leaves_nothing(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        good = batch(3, "key")
        bad = replace(good, additions=[*good.additions, addition(subject="a\x00b", id=new_id(NOW))])
        with pytest.raises(ValueError, match=r"U\+0000"):
            await outbox.add_batch(bad)
        counts = await outbox.counts()

        assert sum(counts.values()) == 0
        assert await outbox.add_batch(good) == good.answer


async def test_a_batch_with_a_known_key_is_answered_as_the_first_time(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        first = batch(3, "key")
        told = [await outbox.add_batch(each) for each in (first, batch(3, "key"), batch(3, "other"))]
        with pytest.raises(IdempotencyKeyReused):
            await outbox.add_batch(batch(3, "key", "g"))
        (single,) = await outbox.add([addition(key="key", owner="owner")])
        await outbox.add([addition(key="taken", owner="owner")])
        with pytest.raises(IdempotencyKeyReused):
            await outbox.add_batch(batch(3, "taken"))
        counts = await outbox.counts()

    assert told[:2] == [first.answer] * 2
    assert told[2] != first.answer
    assert isinstance(single, IdempotencyKeyReused)
    assert counts[Status.QUEUED] == 7


async def test_fifty_batches_at_once_with_one_key_are_one(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        told = await asyncio.gather(*(outbox.add_batch(batch(2, "key")) for _ in range(50)))
        counts = await outbox.counts()

    assert len(set(told)) == 1
    assert counts[Status.QUEUED] == 2


async def test_who_is_on_the_suppression_list_is_left_out_of_a_batch(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        entry = Suppression("ann@example.com", Reason.MANUAL, "by hand", NOW - 9, None, None)
        await outbox.suppressions.put([entry])
        rows = [addition(to=(Mailbox("ann@example.com"),)), addition()]
        await outbox.add_batch(Batch(rows, NOW, "told"))

        assert [await status(outbox, each.mail.id) for each in rows] == [Status.SUPPRESSED, Status.QUEUED]


# Lists of a time.


async def test_a_list_of_a_time_holds_what_was_accepted_in_it(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        times = [NOW - 200, NOW - 100, NOW - 50.0004, NOW, NOW + 100]
        ids = await store(outbox, *(addition(at, created_at=at, id=new_id(at)) for at in times))

        async def listed(**wanted: float) -> list[str]:
            return [record.id for record in (await outbox.list(Page(**wanted))).records]

        assert await listed(since=NOW - 100, until=NOW) == [ids[2], ids[1]]
        assert await listed(since=NOW) == [ids[4], ids[3]]
        assert await listed(until=NOW - 100) == [ids[0]]
        assert await listed(since=NOW + 101) == []


# Lists by label.


async def test_mails_are_found_by_tag_and_by_metadata(open_store: OpenStore) -> None:
    ann = (Mailbox("ann@example.com"),)
    async with open_store() as outbox:
        one, two, three, _ = await store(
            outbox,
            addition(tags=("welcome", "first"), metadata={"order": "1"}, to=ann),
            addition(tags=("welcome",), metadata={"order": "2", "shop": "1"}),
            addition(tags=("Welcome",), metadata={"order": "1", "é": "ü"}, to=ann),
            addition(),
        )

        async def listed(**wanted: object) -> list[str]:
            return [record.id for record in (await outbox.list(Page(**wanted))).records]  # type: ignore[arg-type]

        assert await listed(tag="welcome") == [two, one]
        assert await listed(tag="welcome", after=two) == [one]
        assert await listed(metadata=("order", "1")) == [three, one]
        assert await listed(metadata=("shop", "1")) == [two]
        assert await listed(metadata=("é", "ü")) == [three]
        assert await listed(metadata=("order", "1"), tag="first") == [one]
        assert await listed(to="ANN@example.com", tag="welcome", metadata=("order", "1")) == [one]
        assert await listed(tag="welcome", status=Status.SENT) == []
        assert await listed(tag="\x00") == []
        assert await listed(metadata=("order", "' OR 1")) == []


async def test_a_recipient_who_is_erased_is_found_by_no_metadata(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(
            outbox, addition(to=(Mailbox("ann@example.com"),), metadata={"name": "Ann"}, tags=("welcome",))
        )
        await outbox.settle([settlement(mail_id)])
        await outbox.erase("ann@example.com", NOW + 5)
        found = [
            (await outbox.list(Page(metadata=("name", "Ann")))).records,
            (await outbox.list(Page(tag="welcome"))).records,
        ]

    assert [len(records) for records in found] == [0, 1]
