"""The bell between processes: who hears what, and when."""

import asyncio
import time

from mailsvc.council import Proposal
from mailsvc.outbox.base import Change
from mailsvc.outbox.postgres import PostgresOutbox
from mailsvc.outbox.postgres.bell import APART
from tests.contract.samples import NOW, addition, store
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import Wire, opened, session


async def ears(outbox: PostgresOutbox) -> "asyncio.Queue[Change]":
    """What this outbox hears from now on. What may have been missed before it listened is not in it."""
    heard: asyncio.Queue[Change] = asyncio.Queue()
    outbox.listen(heard.put_nowait)
    assert {await heard.get() for _ in Change} == set(Change)
    return heard


async def test_a_new_mail_is_heard_by_other_processes_and_not_by_its_own(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as one, opened(url) as other:
        here, there = await ears(one), await ears(other)
        await one.council.found(["alpha"])
        await one.council.agree("one", [Proposal("alpha", paused=True)])
        first = await asyncio.wait_for(there.get(), 10)
        await store(other)
        second = await asyncio.wait_for(here.get(), 10)

    assert (first, second) == (Change.PROVIDERS, Change.DUE)
    assert (here.qsize(), there.qsize()) == (0, 0)


async def test_a_thousand_mails_ring_a_few_times(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as one, opened(url) as other:
        await ears(one)
        heard = await ears(other)
        begun = time.monotonic()
        for _ in range(100):
            await store(one, *(addition() for _ in range(10)))
        await asyncio.wait_for(heard.get(), 10)
        await one._bell.close()
        took = time.monotonic() - begun

        assert heard.qsize() < 10 + took / APART


async def test_a_mail_that_is_due_later_rings_nothing_and_a_changed_provider_does(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as one, opened(url) as other:
        await ears(one)
        heard = await ears(other)
        await store(one, addition(due_at=NOW + 60))
        await one.council.found(["alpha"])
        await one.council.agree("one", [Proposal("alpha", paused=True)])
        changed = await asyncio.wait_for(heard.get(), 10)
        await one.council.agree("one", [])
        await one.save_providers([{"name": "alpha", "until": 1.0}])
        await store(one)
        next_news = await asyncio.wait_for(heard.get(), 10)

    assert (changed, next_news) == (Change.PROVIDERS, Change.DUE)


async def test_after_a_cut_the_bell_is_heard_again_and_what_may_have_been_missed_is_said(
    postgres: PostgresServer,
) -> None:
    url = postgres.create()
    async with Wire(postgres) as wire, opened(url) as one, opened(wire.url(url)) as other, session(url) as third:
        await ears(one)
        heard = await ears(other)
        await third.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mailsvc bell'"
        )
        missed = {await asyncio.wait_for(heard.get(), 20) for _ in Change}
        await store(one)
        await asyncio.wait_for(heard.get(), 20)

    assert missed == set(Change)


async def test_what_nobody_knows_yet_is_not_heard(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as one, opened(url) as other, session(url) as newer:
        await ears(one)
        heard = await ears(other)
        await newer.execute("SELECT pg_notify('mailsvc', 'something new')")
        await store(one)

        assert await asyncio.wait_for(heard.get(), 10) is Change.DUE
