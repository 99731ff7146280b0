"""Lists by several filters: whole if one goes on, and none of them looks at more than it may."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from mailsvc.address import Mailbox
from mailsvc.listing import Listing, Page
from mailsvc.model import Record, Status, new_id
from mailsvc.outbox import postgres, sqlite
from mailsvc.outbox.base import Outbox
from tests.contract.samples import NOW, OpenStore, addition, beginning, settlement, store

WALK = 4
FILTERS: dict[str, Any] = {
    "owner": "one",
    "status": Status.SENT,
    "to": "ann@example.com",
    "provider": "alpha",
    "tag": "welcome",
    "metadata": ("order", "1"),
    "since": NOW + 5,
    "until": NOW + 70,
}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists look at few mails."""
    monkeypatch.setattr(sqlite.lists, "WALK", WALK)
    monkeypatch.setattr(postgres.lists, "WALK", WALK)


async def fill(outbox: Outbox) -> list[str]:
    """Mails of which each passes some filters by chance; their ids, newest first."""
    rng, rows = random.Random(3), []
    ann = Mailbox("Ann@example.com")
    for number in range(80):
        fields: dict[str, Any] = {
            "to": rng.choice([(ann,), (ann, Mailbox("bob@example.com")), (Mailbox("bob@example.com"),)]),
            "cc": rng.choice([(), (ann,)]),
            "tags": rng.choice([(), ("welcome",), ("welcome", "shop")]),
            "metadata": rng.choice([{}, {"order": "1"}, {"order": "2"}]),
        }
        at = NOW + number
        rows.append(addition(NOW, owner=rng.choice(["one", "two"]), created_at=at, id=new_id(at), **fields))
    ids = await store(outbox, *rows)
    begun = [mail_id for mail_id in ids if rng.random() < 0.7]
    await outbox.begin([beginning(mail_id) for mail_id in begun])
    ends = [{"provider": "alpha"}, {"provider": "beta"}, {"status": Status.FAILED}]
    await outbox.settle([settlement(mail_id, **rng.choice(ends)) for mail_id in begun])
    return ids[::-1]


def passes(record: Record, owner: str, wanted: dict[str, Any]) -> bool:
    """Whether a mail passes all filters."""
    found = {
        "owner": owner,
        "status": record.status,
        "provider": record.provider,
        "to": wanted.get("to") if any(each.address == "Ann@example.com" for each in record.recipients) else None,
        "tag": wanted.get("tag") if wanted.get("tag") in record.tags else None,
        "metadata": wanted.get("metadata") if record.metadata.get("order") == "1" else None,
        "since": wanted.get("since") if record.created_at >= wanted.get("since", 0) else None,
        "until": wanted.get("until") if record.created_at < wanted.get("until", 0) else None,
    }
    return all(found[name] == value for name, value in wanted.items())


def combinations() -> Iterator[dict[str, Any]]:
    """Each filter, each pair, each three of them, and all."""
    for size in (0, 1, 2, 3, len(FILTERS)):
        for names in itertools.combinations(FILTERS, size):
            yield {name: FILTERS[name] for name in names}


async def through(outbox: Outbox, limit: int, wanted: dict[str, Any]) -> list[Listing]:
    """All pages of a list."""
    pages = [await outbox.list(Page(limit=limit, **wanted))]
    while pages[-1].next and len(pages) < 100:
        pages.append(await outbox.list(Page(limit=limit, after=pages[-1].next, **wanted)))
    return pages


@pytest.mark.usefixtures("short")
async def test_whoever_goes_on_to_the_end_sees_each_mail_once_and_no_other(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        ids = await fill(outbox)
        owners = {mail_id: "one" if await outbox.get(mail_id, "one") else "two" for mail_id in ids}
        everything = (await outbox.list(Page(limit=100))).records
        assert [record.id for record in everything] == ids

        for wanted in combinations():
            pages = await through(outbox, 3, wanted)
            seen = [record.id for page in pages for record in page.records]
            assert seen == [each.id for each in everything if passes(each, owners[each.id], wanted)], wanted
            assert all(len(page.records) <= 3 for page in pages)
            if "owner" in wanted:
                assert all(owners[page.next] == "one" for page in pages if page.next)


@pytest.mark.usefixtures("short")
async def test_a_list_that_finds_little_of_much_is_short_and_says_where_to_look_on(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        rows = [addition(tags=("odd" if n % 2 else "even",), metadata={"n": str(n % 2)}) for n in range(4 * WALK)]
        ids = await store(outbox, *rows)
        disjoint = await outbox.list(Page(tag="even", metadata=("n", "1")))
        some = await outbox.list(Page(tag="even", status=Status.QUEUED, limit=100))
        alone = await outbox.list(Page(tag="even", limit=100))

    assert (disjoint.records, disjoint.next) == ([], ids[2 * WALK])
    assert [record.id for record in some.records] == ids[::2][::-1][:WALK]
    assert some.next == some.records[-1].id
    assert (len(alone.records), alone.next) == (2 * WALK, None)


async def test_mails_of_the_same_millisecond_are_all_of_the_time_that_begins_with_it(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await store(outbox, addition(created_at=NOW - 900, id=new_id(NOW - 900)))
        ids = await store(outbox, *(addition(id=new_id(NOW)) for _ in range(20)))
        found = await outbox.list(Page(since=NOW, limit=100))
        moved = await outbox.moved(NOW, 100)

    assert {record.id for record in found.records} == {mail.id for mail in moved.mails} == set(ids)


@pytest.mark.usefixtures("short")
async def test_the_filter_that_finds_least_leads(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        rows = [addition(tags=("all",), metadata={"n": str(n)}) for n in range(4 * WALK)]
        ids = await store(outbox, *rows)
        rare = await outbox.list(Page(tag="all", status=Status.QUEUED, metadata=("n", "0")))
        none = await outbox.list(Page(tag="all", status=Status.FAILED))

    assert ([record.id for record in rare.records], rare.next) == ([ids[0]], None)
    assert (none.records, none.next) == ([], None)
