"""Who may send which mail, in every outbox: claims, leases, releases, and what an ended owner left."""

import asyncio

from mailsvc.address import Mailbox
from mailsvc.model import OnUncertain, Outcome, Status
from tests.contract.samples import (
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


async def test_a_claim_takes_what_is_due_oldest_first_and_no_more_than_there_is_room(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        third, first, later, second = await store(
            outbox, *(addition(created_at=NOW - 100, due_at=NOW + seconds) for seconds in (-10, -30, 1, -20))
        )
        one_by_one = [await outbox.claim(2, NOW, 60), await outbox.claim(2, NOW, 60), await outbox.claim(2, NOW, 60)]
        after = await outbox.claim(2, NOW + 1, 60)

    assert [[mail.id for mail in claimed] for claimed in one_by_one] == [[first, second], [third], []]
    assert [mail.id for mail in after] == [later]


async def test_a_claimed_mail_is_the_mail_that_was_stored(open_store: OpenStore) -> None:
    rows = [
        addition(to=(Mailbox("a@example.com", "A"), Mailbox("b@example.com"))),
        addition(content=None, text="plain"),
    ]
    async with open_store() as outbox:
        await store(outbox, *rows)

        assert await outbox.claim(10, NOW, 60) == [row.mail for row in rows]


async def test_a_claim_without_room_takes_nothing(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await store(outbox)

        assert (await outbox.claim(0, NOW, 60), await outbox.claim(-1, NOW, 60)) == ([], [])


async def test_two_claims_at_the_same_time_share_no_mail(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await store(outbox, *(addition() for _ in range(40)))
        claims = await asyncio.gather(*(outbox.claim(7, NOW, 60) for _ in range(10)))
        ids = [mail.id for claimed in claims for mail in claimed]

    assert len(ids) == len(set(ids)) == 40


async def test_a_claim_that_is_lost_is_due_again_after_its_lease(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox)
        await outbox.claim(1, NOW, 60)
        early, late = await outbox.claim(1, NOW + 59, 60), await outbox.claim(1, NOW + 60, 60)

    assert (early, [mail.id for mail in late]) == ([], [mail_id])


async def test_a_claim_changes_neither_the_status_nor_when_the_mail_is_said_to_be_due(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox, addition(due_at=NOW - 5, created_at=NOW - 5))
        before = await outbox.get(mail_id)
        await outbox.claim(1, NOW, 60)

        assert await outbox.get(mail_id) == before


async def test_a_scheduled_mail_is_queued_once_it_is_claimed(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox, addition(due_at=NOW + 10))
        early = await outbox.claim(1, NOW + 9, 60)
        (claimed,) = await outbox.claim(1, NOW + 10, 60)
        counts = await outbox.counts()

        assert (early, claimed.id, await status(outbox, mail_id)) == ([], mail_id, Status.QUEUED)
        assert (counts[Status.SCHEDULED], counts[Status.QUEUED]) == (0, 1)


async def test_a_mail_in_an_attempt_is_never_claimed_not_even_after_its_lease(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        running = await outbox.claim(1, NOW + 1e6, 60)
        await outbox.settle([failure(mail_id)])
        between = await outbox.claim(1, NOW + 1e6, 60)

    assert (running, between) == ([], [])


async def test_a_claimed_mail_knows_its_rounds_its_attempts_and_whom_it_doubts(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        await outbox.settle([failure(mail_id)])
        await outbox.begin([beginning(mail_id, 2, "beta")])
        unclear = {"outcome": Outcome.UNANSWERED, "status": Status.UNCERTAIN, "due_at": NOW + 60, "rounds": 3}
        await outbox.settle([settlement(mail_id, 2, **unclear)])
        early, (claimed,) = await outbox.claim(1, NOW + 59, 60), await outbox.claim(1, NOW + 60, 60)

    assert early == []
    assert (claimed.rounds, claimed.attempts, claimed.doubted) == (3, 2, frozenset({"beta"}))


async def test_a_recipient_that_was_refused_is_not_asked_for_again(open_store: OpenStore) -> None:
    people = (Mailbox("ann@example.com", "Ann"), Mailbox("bob@example.com", "Bob"))
    async with open_store() as outbox:
        (mail_id,) = await start(outbox, addition(to=people))
        again = {"status": Status.QUEUED, "outcome": Outcome.DOWN, "due_at": NOW, "rounds": 1}
        await outbox.settle([settlement(mail_id, recipients={"ann@example.com": Status.REJECTED}, **again)])
        (claimed,) = await outbox.claim(1, NOW, 60)
        whole = await outbox.mail(mail_id)

    assert claimed.to == people[1:]
    assert whole is not None
    assert whole.to == people


async def test_a_released_mail_is_due_when_the_caller_says_and_has_lost_nothing(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox)
        (claimed,) = await outbox.claim(1, NOW, 60)
        await outbox.release([mail_id], NOW + 10)
        record = await shown(outbox, mail_id)
        early, again = await outbox.claim(1, NOW + 9, 60), await outbox.claim(1, NOW + 10, 60)

    assert (record.due_at, record.status) == (NOW + 10, Status.QUEUED)
    assert (early, again) == ([], [claimed])


async def test_an_uncertain_mail_stays_uncertain_when_it_is_released(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        unclear = {"outcome": Outcome.UNANSWERED, "status": Status.UNCERTAIN, "due_at": NOW + 60}
        await outbox.settle([settlement(mail_id, **unclear)])
        await outbox.claim(1, NOW + 60, 60)
        await outbox.release([mail_id], NOW + 70)

        assert await status(outbox, mail_id) is Status.UNCERTAIN
        assert [mail.id for mail in await outbox.claim(1, NOW + 70, 60)] == [mail_id]


async def test_release_leaves_mails_alone_that_are_settled_in_an_attempt_held_or_unknown(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        sent, running, held = await start(outbox, addition(), addition(), addition())
        unclear = {"outcome": Outcome.UNANSWERED, "status": Status.UNCERTAIN, "due_at": None}
        await outbox.settle([settlement(sent), settlement(held, **unclear)])
        before = [await outbox.get(mail_id) for mail_id in (sent, running, held)]
        await outbox.release([sent, running, held, "unknown"], NOW)

        assert [await outbox.get(mail_id) for mail_id in (sent, running, held)] == before
        assert await outbox.claim(10, NOW + 1e6, 60) == []


async def test_recovery_gives_claims_back_when_they_were_due(open_store: OpenStore, gone: float) -> None:
    async with open_store() as outbox:
        ids = await store(outbox, addition(), addition(due_at=NOW + 500))
        await outbox.claim(1, NOW, outbox.lease)
    async with open_store() as outbox:
        doubtful = await outbox.recover(gone, 60)
        record = await outbox.get(ids[0])
        claimed = await outbox.claim(10, gone, 60)

    assert doubtful == []
    assert (record.status, record.due_at) == (Status.QUEUED, NOW)
    assert [mail.id for mail in claimed] == ids[:1]


async def test_an_attempt_whose_owner_ended_is_interrupted_and_its_mail_uncertain(
    open_store: OpenStore, gone: float
) -> None:
    async with open_store() as outbox:
        resend, hold = await start(outbox, addition(), addition(on_uncertain=OnUncertain.HOLD))
    async with open_store() as outbox:
        doubtful = await outbox.recover(gone, 60)
        records = [await shown(outbox, mail_id) for mail_id in (resend, hold)]
        claimed = [await outbox.claim(10, now, 1e9) for now in (gone + 59, gone + 60, NOW + 1e6)]
        counts = await outbox.counts()

    assert sorted(doubtful) == sorted([resend, hold])
    for record, due_at in zip(records, (gone + 60, None), strict=True):
        assert (record.status, record.due_at, record.updated_at) == (Status.UNCERTAIN, due_at, gone)
        assert (record.attempts[0].outcome, record.attempts[0].ended_at) == (Outcome.INTERRUPTED, gone)
    assert [[(mail.id, mail.doubted) for mail in each] for each in claimed] == [[], [(resend, {"alpha"})], []]
    assert (counts[Status.SENDING], counts[Status.UNCERTAIN]) == (0, 2)


async def test_a_mail_between_two_attempts_is_due_again_after_a_recovery(open_store: OpenStore, gone: float) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        await outbox.settle([failure(mail_id)])
    async with open_store() as outbox:
        doubtful = await outbox.recover(gone, 60)
        record = await shown(outbox, mail_id)
        (claimed,) = await outbox.claim(1, gone, 60)

    assert doubtful == []
    assert (record.status, record.due_at) == (Status.QUEUED, NOW)
    assert (claimed.attempts, claimed.doubted) == (1, frozenset())


async def test_a_late_word_about_an_interrupted_attempt_changes_nothing(open_store: OpenStore, gone: float) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        await outbox.recover(gone, 60)

        assert await outbox.settle([settlement(mail_id)]) == [False]
        assert await status(outbox, mail_id) is Status.UNCERTAIN


async def test_recovery_leaves_what_is_settled_waiting_or_scheduled_as_it_is(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (sent,) = await start(outbox)
        await outbox.settle([settlement(sent)])
        ids = [sent, *await store(outbox, addition(due_at=NOW + 5), addition())]
        before = [await outbox.get(mail_id) for mail_id in ids]
        again = [await outbox.recover(NOW + 1, 60), await outbox.recover(NOW + 1, 60)]

        assert again == [[], []]
        assert [await outbox.get(mail_id) for mail_id in ids] == before
