"""What every outbox forgets, and what it never does: a mail that is not final."""

from dataclasses import replace

from mailsvc.address import Mailbox
from mailsvc.listing import Page
from mailsvc.model import Event, Outcome, Status
from mailsvc.outbox.base import ERASED_ADDRESS, ERASED_SUBJECT, Erasure, Outbox
from tests.contract.samples import NOW, OpenStore, addition, beginning, failure, settlement, shown, start, store

DAY = 86_400.0
NEVER = float("-inf")
ANN, BOB = Mailbox("Ann@example.com", "Ann Lee"), Mailbox("bob@example.com", "Bob")


async def sent(outbox: Outbox, number: int = 1, at: float = NOW, **fields: object) -> list[str]:
    """Mails that are final since a time."""
    ids = await start(outbox, *(addition(**fields) for _ in range(number)))
    await outbox.settle([settlement(mail_id, ended_at=at) for mail_id in ids])
    return ids


async def forgotten(outbox: Outbox, bodies_before: float, mails_before: float = NEVER) -> int:
    """Forget in as many steps as it takes; how many."""
    steps = 1
    while await outbox.forget(NOW + 900 * DAY, bodies_before, mails_before):
        steps += 1
    return steps


async def test_bodies_of_mails_that_are_final_for_long_are_erased_and_the_rest_of_them_stays(
    open_store: OpenStore,
) -> None:
    async with open_store() as outbox:
        old, young = [*await sent(outbox, at=NOW), *await sent(outbox, at=NOW + DAY)]
        before = await shown(outbox, old)
        await forgotten(outbox, NOW + 1)
        mails = [await outbox.mail(old), await outbox.mail(young)]
        records = [await shown(outbox, old), await shown(outbox, young)]
        listed = {record.id: record.erased_at for record in (await outbox.list(Page())).records}

    assert [bool(mail and (mail.content or mail.html or mail.text)) for mail in mails] == [False, True]
    assert records[0] == replace(before, erased_at=NOW + 900 * DAY)
    assert records[1].erased_at is None
    assert listed == {old: NOW + 900 * DAY, young: None}


async def test_mails_without_bodies_are_deleted_and_counted_no_more(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        old, young = [*await sent(outbox, at=NOW), *await sent(outbox, at=NOW + DAY)]
        await forgotten(outbox, NOW + 1, NOW + 1)
        gone = [await outbox.get(old), await outbox.mail(old)]
        counts = await outbox.counts()
        left = (await outbox.list(Page())).records
    async with open_store() as outbox:
        again = await outbox.counts()

    assert gone == [None, None]
    assert [record.id for record in left] == [young]
    assert counts[Status.SENT] == again[Status.SENT] == 1


async def test_a_mail_that_is_not_final_is_never_forgotten(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        sending, doubtful, asked = await start(outbox, *(addition(to=(ANN,)) for _ in range(3)))
        await outbox.settle(
            [
                settlement(doubtful, outcome=Outcome.UNANSWERED, status=Status.UNCERTAIN, due_at=None),
                failure(asked),
            ]
        )
        queued, scheduled = await store(outbox, addition(to=(ANN,)), addition(due_at=NOW + 60, to=(ANN,)))
        await forgotten(outbox, NOW + 800 * DAY, NOW + 800 * DAY)
        erasure = await outbox.erase("ann@example.com", NOW)
        ids = (sending, doubtful, asked, queued, scheduled)
        mails = [await outbox.mail(mail_id) for mail_id in ids]
        records = [await shown(outbox, mail_id) for mail_id in ids]

    assert erasure == Erasure(0, 5)
    assert all(mail and mail.content for mail in mails)
    assert [record.recipients[0].address for record in records] == ["Ann@example.com"] * 5
    assert [record.erased_at for record in records] == [None] * 5


async def test_forgetting_takes_small_steps_and_says_when_more_is_left(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await sent(outbox, 90, at=NOW)
        for _ in range(5):
            await sent(outbox, 90, at=NOW)
        steps = await forgotten(outbox, NOW + 1, NOW + 1)
        counts = await outbox.counts()

    assert 3 <= steps <= 10
    assert counts[Status.SENT] == 0


async def test_for_ever_is_for_ever(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await sent(outbox)
        more = await outbox.forget(NOW + 900 * DAY, NEVER, NEVER)
        mail = await outbox.mail(mail_id)

    assert more is False
    assert mail is not None
    assert mail.content


async def test_an_erased_recipient_leaves_the_counts_and_the_other_recipients(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        both, other = [*await start(outbox, addition(to=(ANN, BOB), subject="Dear Ann"))], await sent(outbox, to=(BOB,))
        told = {
            "detail": "no mailbox ann@example.com",
            "error": "no ann@example.com",
            "recipients": {"Ann@example.com": Status.REJECTED},
            "events": (Event("rejected", NOW, "alpha", "ANN@example.com", "ann@example.com?"),),
        }
        await outbox.settle([settlement(*both, provider="alpha", provider_message_id="m-1", **told)])
        counts = await outbox.counts()
        steps = [await outbox.erase("ann@EXAMPLE.com", NOW + 5), await outbox.erase("ann@EXAMPLE.com", NOW + 6)]
        record, untouched = await shown(outbox, both[0]), await outbox.mail(other[0])
        mail = await outbox.mail(both[0])
        found = (await outbox.list(Page(to="ann@example.com"))).records
        after = await outbox.counts()

    assert steps == [Erasure(1, 0), Erasure(0, 0)]
    assert [(r.address, r.name, r.status) for r in record.recipients] == [
        (ERASED_ADDRESS, "", Status.REJECTED),
        ("bob@example.com", "Bob", Status.SENT),
    ]
    assert (record.subject, record.error, record.erased_at) == (ERASED_SUBJECT, None, NOW + 5)
    assert [attempt.detail for attempt in record.attempts] == [None]
    assert [(e.type, e.recipient, e.detail) for e in record.events] == [("rejected", ERASED_ADDRESS, None)]
    assert (record.provider, record.provider_message_id, record.status) == ("alpha", "m-1", Status.SENT)
    assert mail is not None
    assert (mail.content, mail.html, mail.text) == (None, None, None)
    assert untouched is not None
    assert untouched.content
    assert found == []
    assert counts == after


async def test_erasing_takes_small_steps_too(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        for _ in range(5):
            await sent(outbox, 90, to=(ANN,))
        erased = []
        while step := (await outbox.erase("ann@example.com", NOW)).erased:
            erased.append(step)

    assert len(erased) > 1
    assert sum(erased) == 450


async def test_a_mail_whose_bodies_are_gone_can_still_lose_its_recipient(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await sent(outbox, to=(ANN,))
        await forgotten(outbox, NOW + 1)
        erasure = await outbox.erase("ann@example.com", NOW + 9)
        record = await shown(outbox, mail_id)

    assert erasure == Erasure(1, 0)
    assert (record.recipients[0].address, record.erased_at) == (ERASED_ADDRESS, NOW + 900 * DAY)


async def test_nobody_of_that_address_is_nothing_to_erase(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await sent(outbox, to=(ANN,))

        for address in ("nobody@example.com", "%", "", "\x00", "ann@example.co"):
            assert await outbox.erase(address, NOW) == Erasure(0, 0)


async def test_a_running_attempt_keeps_its_mail(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox, addition(to=(ANN,)))
        await outbox.claim(1, NOW, 60)
        await outbox.begin([beginning(mail_id)])
        erasure = await outbox.erase("ann@example.com", NOW)
        await outbox.settle([settlement(mail_id)])
        later = await outbox.erase("ann@example.com", NOW)

    assert (erasure, later) == (Erasure(0, 1), Erasure(1, 0))
