"""How long the oldest mail is due, how large everything is, and where a copy of it all is to be had."""

import pytest

from mailsvc.errors import Conflict
from tests.contract.samples import NOW, OpenStore, addition, start, store


async def test_nothing_is_due_in_an_empty_outbox(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        extent = await outbox.extent(NOW)

    assert extent.oldest_due_at is None
    assert extent.bytes is not None
    assert extent.bytes > 0


async def test_the_mail_that_is_due_longest_counts(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await store(outbox, addition(NOW - 5), addition(NOW - 60), addition(NOW + 60))
        now = await outbox.extent(NOW)
        before = await outbox.extent(NOW - 61)

    assert now.oldest_due_at == pytest.approx(NOW - 60, abs=10)  # clocks of two machines are told apart by tens
    assert before.oldest_due_at is None


async def test_a_mail_that_has_been_claimed_or_is_in_an_attempt_waits_no_more(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await start(outbox, addition(NOW - 60))
        await store(outbox, addition(NOW - 50))
        await outbox.claim(1, NOW, 60)
        extent = await outbox.extent(NOW)

    assert extent.oldest_due_at is None


async def test_a_copy_is_to_be_had_or_the_tool_for_it_is_named(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await store(outbox)
        if outbox.shared:
            with pytest.raises(Conflict, match="pg_dump --format=custom"):
                await outbox.copy()
        else:
            with await outbox.copy() as copy:
                assert copy.read(15) == b"SQLite format 3"
