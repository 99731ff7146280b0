"""What every outbox shows, keeps over a restart, and does at its end."""

import asyncio
from dataclasses import replace

import pytest

from mailsvc.addition import Added
from mailsvc.address import Mailbox
from mailsvc.errors import Unavailable
from mailsvc.listing import Page
from mailsvc.model import Event, Outcome, Status
from tests.contract.samples import (
    NOW,
    OpenStore,
    addition,
    beginning,
    settlement,
    shown,
    start,
    store,
)


async def test_a_mail_is_shown_to_its_owner_or_to_anybody_when_no_owner_is_asked_for(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox, addition(owner="one"))
        seen = [await outbox.get(mail_id, "one"), await outbox.get(mail_id), await outbox.get(mail_id, "two")]
        listed = [len((await outbox.list(Page(owner=owner))).records) for owner in ("one", None, "two")]

    assert [record is not None for record in seen] == [True, True, False]
    assert listed == [1, 1, 0]


async def test_there_is_no_record_and_no_mail_of_an_unknown_id(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        for unknown in ("", "nonsense", "01890000-0000-7000-8000-999999999999", "\x00", "%"):
            assert (await outbox.get(unknown), await outbox.mail(unknown)) == (None, None)


async def test_a_list_is_newest_first_and_goes_on_after_an_id(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        ids = await store(outbox, *(addition(created_at=NOW + number) for number in range(7)))
        pages, after = [], None
        while page := (await outbox.list(Page(limit=3, after=after))).records:
            pages.append([record.id for record in page])
            after = page[-1].id
        lost = (await outbox.list(Page(after="unknown"))).records

    newest = ids[::-1]
    assert pages == [newest[:3], newest[3:6], newest[6:]]
    assert lost == []


async def test_a_listed_record_is_the_mails_own_without_its_history(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        await outbox.settle([settlement(mail_id, provider="alpha", events=(Event("stuck", NOW),))])
        record = await shown(outbox, mail_id)

        assert (await outbox.list(Page())).records == [replace(record, attempts=(), events=())]


async def test_a_list_can_be_narrowed_by_status_recipient_and_provider(open_store: OpenStore) -> None:
    ann, bob = Mailbox("Ann@example.com"), Mailbox("bob@example.com")
    async with open_store() as outbox:
        rows = [addition(to=(ann,)), addition(to=(bob, ann)), addition(to=(bob,)), addition(to=(ann, ann))]
        to_ann, to_both, to_bob, twice = await start(outbox, *rows)
        await outbox.settle([settlement(to_ann, provider="alpha"), settlement(to_both, provider="beta")])
        await outbox.settle([settlement(to_bob, provider="alpha", status=Status.FAILED)])

        async def listed(**filters: object) -> list[str]:
            return [record.id for record in (await outbox.list(Page(**filters))).records]

        assert await listed(status=Status.SENT) == [to_both, to_ann]
        assert await listed(status=Status.SENDING) == [twice]
        assert await listed(to="ann@EXAMPLE.com") == [twice, to_both, to_ann]
        assert await listed(provider="alpha") == [to_bob, to_ann]
        assert await listed(provider="alpha", status=Status.SENT, to="ann@example.com") == [to_ann]
        assert await listed(to="ann@example.com", after=twice, limit=1) == [to_both]
        assert await listed(status=Status.SENT, after=to_both) == [to_ann]
        assert await listed(to="a%") == await listed(provider="gamma") == await listed(status=Status.CANCELED) == []


async def test_counts_name_every_status_and_follow_every_change(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        empty = await outbox.counts()
        sent, failed = await start(outbox, addition(), addition())
        await store(outbox, addition(), addition(due_at=NOW + 60), addition())
        await outbox.settle([settlement(sent), settlement(failed, status=Status.FAILED, outcome=Outcome.REFUSED)])
        counts = await outbox.counts()

    assert empty == dict.fromkeys(Status, 0)
    assert {each: number for each, number in counts.items() if number} == {
        Status.SENT: 1,
        Status.FAILED: 1,
        Status.QUEUED: 2,
        Status.SCHEDULED: 1,
    }


async def test_everything_is_there_after_a_restart(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        sent, waiting = await store(outbox, addition(), addition())
        await outbox.begin([beginning(sent)])
        await outbox.settle([settlement(sent, provider="alpha", events=(Event("stuck", NOW),))])
        before = [await outbox.get(sent), await outbox.get(waiting), await outbox.mail(sent), await outbox.counts()]
    async with open_store() as outbox:
        assert [
            *(await outbox.get(sent), await outbox.get(waiting), await outbox.mail(sent), await outbox.counts())
        ] == before


async def test_what_is_known_of_providers_survives_a_restart(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        nothing = await outbox.load_providers()
        await outbox.save_providers([{"name": "beta", "health": 0.5, "until": None}, {"name": "alpha", "health": 1.0}])
        await outbox.save_providers([{"name": "beta", "health": 0.25, "until": 7.0}])
    async with open_store() as outbox:
        states = await outbox.load_providers()

    assert nothing == []
    assert states == [{"name": "alpha", "health": 1.0}, {"name": "beta", "health": 0.25, "until": 7.0}]


async def test_a_store_that_can_be_written_answers_a_ping(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.ping()

        assert (await outbox.list(Page())).records == []


async def test_a_closed_store_is_unavailable_and_can_be_closed_again(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.close()

        for call in (outbox.add([addition()]), outbox.claim(1, NOW, 60), outbox.get("x"), outbox.ping()):
            with pytest.raises(Unavailable):
                await call


async def test_close_finishes_what_is_under_way(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        rows = [addition() for _ in range(30)]
        adding = [asyncio.create_task(outbox.add([row])) for row in rows]
        await asyncio.sleep(0)
        await outbox.close()
        results = await asyncio.gather(*adding)
    async with open_store() as outbox:
        assert all(isinstance(result, Added) for (result,) in results)
        assert len((await outbox.list(Page(limit=100))).records) == 30


async def test_a_cancelled_caller_leaves_a_row_that_is_whole_or_not_there(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        row = addition(key="k")
        adding = asyncio.create_task(outbox.add([row]))
        await asyncio.sleep(0)
        adding.cancel()
        await asyncio.wait([adding])
        results = await outbox.add([addition(key="k")])

        assert len((await outbox.list(Page())).records) == 1
        assert isinstance(results[0], Added)
        assert await outbox.mail(results[0].id) is not None
