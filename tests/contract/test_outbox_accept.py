"""How mails get into every outbox: what is stored, what fails alone, what a repeated request is told."""

import asyncio
from dataclasses import replace

import pytest

from mailsvc.addition import KEEP_IDEMPOTENCY_KEYS, Added, Addition, Batch
from mailsvc.address import Mailbox
from mailsvc.errors import IdempotencyKeyReused
from mailsvc.listing import Page
from mailsvc.model import Recipient, Status
from tests.contract.samples import (
    NOW,
    OpenStore,
    addition,
    mail,
    settlement,
    shown,
    start,
    status,
    store,
)


async def test_a_mail_comes_back_as_it_was_stored(open_store: OpenStore) -> None:
    people = (Mailbox("ann@example.com", "Änn, “the” Bold"), Mailbox("bob@example.org"))
    stored = mail(to=people, subject="Grüße 🎉 ' \" \\", content=None, html="<p>\n\té</p>", text="é\r\n\u2028")
    async with open_store() as outbox:
        await store(outbox, Addition(stored, NOW))

        assert await outbox.mail(stored.id) == stored


async def test_an_added_mail_is_queued_and_its_record_says_all_that_is_known(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        added = addition(created_at=NOW - 5, due_at=NOW - 5, to=(Mailbox("ann@example.com", "Ann"),), subject="Hi")
        (result,) = await outbox.add([added])
        record = await shown(outbox, added.mail.id)

    assert result == Added(added.mail.id, Status.QUEUED, NOW - 5)
    assert (record.id, record.status) == (added.mail.id, Status.QUEUED)
    assert record.sender == "The Sender <sender@example.com>"
    assert (record.subject, record.created_at, record.updated_at, record.due_at) == ("Hi", NOW - 5, NOW - 5, NOW - 5)
    assert record.recipients == (Recipient("ann@example.com", "Ann", "to", Status.QUEUED),)
    assert (record.provider, record.provider_message_id, record.error) == (None, None, None)
    assert (record.attempts, record.events) == ((), ())


async def test_a_mail_that_is_due_later_is_scheduled(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (result,) = await outbox.add([addition(due_at=NOW + 60)])

        assert isinstance(result, Added)
        assert (result.status, await status(outbox, result.id)) == (Status.SCHEDULED, Status.SCHEDULED)


async def test_nothing_is_a_batch_too(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        assert (await outbox.add([]), await outbox.begin([]), await outbox.settle([])) == ([], [], [])
        await outbox.release([], NOW)


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "a lone surrogate \ud800"},
        {"content": "a lone surrogate \udfff"},
        {"to": (Mailbox("ann@example.com"), Mailbox("bob@example.com", "\ud800"))},
        {"content": None, "html": "U+0000 \x00 in the middle"},
        {"sender": Mailbox("a@example.com", "\x00")},
    ],
    ids=["subject", "content", "recipient", "html", "sender"],
)
async def test_a_row_that_cannot_be_stored_fails_alone(open_store: OpenStore, fields: dict[str, object]) -> None:
    good, bad, also_good = addition(), addition(**fields), addition()
    async with open_store() as outbox:
        results = await outbox.add([good, bad, also_good])

        assert [type(result) for result in results if isinstance(result, Added)] == [Added, Added]
        assert isinstance(results[1], Exception)
        assert {record.id for record in (await outbox.list(Page())).records} == {good.mail.id, also_good.mail.id}
        assert (await outbox.counts())[Status.QUEUED] == 2
        assert await outbox.mail(bad.mail.id) is None


async def test_an_id_that_is_taken_fails_alone_and_leaves_the_first_mail_as_it_is(open_store: OpenStore) -> None:
    first, twin = addition(subject="first"), addition(subject="twin")
    twin = Addition(replace(twin.mail, id=first.mail.id), NOW)
    async with open_store() as outbox:
        await store(outbox, first)
        results = await outbox.add([addition(), twin])

        assert isinstance(results[0], Added)
        assert isinstance(results[1], Exception)
        assert await outbox.mail(first.mail.id) == first.mail


async def test_the_same_key_and_body_get_the_first_answer_again(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (first,) = await outbox.add([addition(key="k", due_at=NOW + 9)])
        (again,) = await outbox.add([addition(key="k", due_at=NOW + 99, created_at=NOW + 50)])

        assert isinstance(first, Added)
        assert again == Added(first.id, Status.SCHEDULED, NOW, replayed=True)
        assert len((await outbox.list(Page())).records) == 1


async def test_the_first_answer_stays_although_the_mail_has_moved_on(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox, addition(key="k"))
        await outbox.settle([settlement(mail_id)])

        assert await outbox.add([addition(key="k")]) == [Added(mail_id, Status.QUEUED, NOW, replayed=True)]


async def test_a_key_is_known_after_a_restart(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox, addition(key="k"))
    async with open_store() as outbox:
        assert await outbox.add([addition(key="k")]) == [Added(mail_id, Status.QUEUED, NOW, replayed=True)]


async def test_a_key_with_another_body_is_refused_alone(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await store(outbox, addition(key="k", fingerprint="one"))
        results = await outbox.add([addition(), addition(key="k", fingerprint="two"), addition()])

        assert [type(result) for result in results] == [Added, IdempotencyKeyReused, Added]
        assert len((await outbox.list(Page())).records) == 3


async def test_the_first_answer_is_found_by_a_look_alone(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox, addition(key="k", owner="one", fingerprint="f"))
        answers = [
            await outbox.first_answer("one", "k", "f"),
            await outbox.first_answer("two", "k", "f"),
            await outbox.first_answer("one", "other", "f"),
        ]
        with pytest.raises(IdempotencyKeyReused):
            await outbox.first_answer("one", "k", "g")
        batch = Batch([addition(), addition()], NOW, "[1, 2]", "one", "b", "f")
        await outbox.add_batch(batch)

        assert answers == [Added(mail_id, Status.QUEUED, NOW, replayed=True), None, None]
        assert await outbox.first_answer("one", "b", "f") == "[1, 2]"


async def test_two_owners_may_use_the_same_key(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        results = await outbox.add([addition(key="k", owner="one"), addition(key="k", owner="two", fingerprint="g")])

    assert [isinstance(result, Added) and result.replayed for result in results] == [False, False]


async def test_fifty_of_one_batch_with_one_key_make_one_mail(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        results = await outbox.add([addition(key="k") for _ in range(50)])

        assert len({result.id for result in results if isinstance(result, Added)}) == 1
        assert [isinstance(result, Added) and result.replayed for result in results] == [False] + [True] * 49
        assert (await outbox.counts())[Status.QUEUED] == 1


async def test_fifty_at_the_same_time_with_one_key_make_one_mail(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        results = await asyncio.gather(*(outbox.add([addition(key="k")]) for _ in range(50)))
        added = [result for (result,) in results if isinstance(result, Added)]

        assert len({result.id for result in added}) == 1
        assert sum(not result.replayed for result in added) == 1
        assert len(added) == 50


async def test_two_bodies_with_one_key_in_one_batch_make_the_first_mail(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        results = await outbox.add([addition(key="k", fingerprint="one"), addition(key="k", fingerprint="two")])

    assert [type(result) for result in results] == [Added, IdempotencyKeyReused]


async def test_a_row_that_fails_leaves_its_key_to_the_next_one(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        results = await outbox.add([addition(key="k", subject="\ud800"), addition(key="k"), addition(key="k")])

        assert isinstance(results[0], UnicodeEncodeError)
        assert [isinstance(result, Added) and result.replayed for result in results[1:]] == [False, True]
        assert len((await outbox.list(Page())).records) == 1


async def test_tidying_forgets_keys_older_than_a_day_and_no_others(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await store(outbox, addition(key="old", created_at=NOW), addition(key="young", created_at=NOW + 60))
        more = await outbox.tidy(NOW + KEEP_IDEMPOTENCY_KEYS + 30)
        results = await outbox.add([addition(key="old"), addition(key="young")])

    assert more is False
    assert [isinstance(result, Added) and result.replayed for result in results] == [False, True]


async def test_tidying_takes_small_steps_and_says_when_more_is_left(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await store(outbox, *(addition(key=f"key {number}") for number in range(1200)))
        steps = 1
        while await outbox.tidy(NOW + 2 * KEEP_IDEMPOTENCY_KEYS):
            steps += 1
        results = await outbox.add([addition(key=f"key {number}") for number in range(1200)])

    assert 1 < steps <= 20
    assert not any(isinstance(result, Added) and result.replayed for result in results)
