"""The drain on a store that others use, too: it says that it lives, and takes over from those that do not."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mailsvc.attempt import Beginning
from mailsvc.errors import StorageUnavailable
from mailsvc.model import Message, Outcome, Status
from mailsvc.outbox.postgres import PostgresOutbox
from mailsvc.providers.base import Result
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import opened
from tests.unit.world import START, Script, World

LEASE = 0.2  # seconds; signs of life come every 50 ms
ACCEPTED = Result(Outcome.ACCEPTED)


class Watched:
    """The outbox of a process: which calls it gets, and trouble when a test wants it."""

    def __init__(self, outbox: PostgresOutbox) -> None:
        self._outbox, self.calls, self.trouble = outbox, list[str](), False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)

    async def renew(self, ids: Sequence[str], now: float) -> None:
        self.calls.append("renew")
        if self.trouble:
            raise StorageUnavailable("for a test")
        await self._outbox.renew(ids, now)

    async def recover(self, now: float, on_uncertain_after: float) -> list[str]:
        self.calls.append("recover")
        return await self._outbox.recover(now, on_uncertain_after)


@asynccontextmanager
async def two_processes(
    postgres: PostgresServer, script: Script
) -> AsyncIterator[tuple[World, Watched, PostgresOutbox]]:
    """One with a drain that has started, and the outbox of another one."""
    url = postgres.create()
    async with opened(url, lease=LEASE) as outbox, opened(url, lease=LEASE) as other:
        watched = Watched(outbox)
        here = World(watched, script, ("first",))  # type: ignore[arg-type]
        here.drain.start()
        yield here, watched, other
        await here.drain.stop(5)


async def turns(watched: Watched, number: int) -> None:
    """Until so many more signs of life were given."""
    until = watched.calls.count("renew") + number
    while watched.calls.count("renew") < until:
        await asyncio.sleep(0.01)


async def test_mails_in_flight_stay_ones_own_however_long_their_provider_takes(postgres: PostgresServer) -> None:
    gate = asyncio.Event()

    async def slow(name: str, message: Message) -> Result:
        await gate.wait()
        return ACCEPTED

    async with two_processes(postgres, slow) as (here, watched, other):
        sending = await here.add()
        here.drain.wake()
        while here.drain.in_flight < 1:
            await asyncio.sleep(0.01)
        for _ in range(5):
            here.pass_time(LEASE * 0.9)
            await turns(watched, 2)
        stolen = await other.recover(here.wall, 60)
        gate.set()
        while (await here.record(sending)).status is not Status.SENT:
            await asyncio.sleep(0.01)
        attempts = len((await here.record(sending)).attempts)

    assert (stolen, attempts) == ([], 1)


async def test_what_a_dead_process_left_is_taken_over_and_sent(postgres: PostgresServer) -> None:
    async with two_processes(postgres, lambda name, message: ACCEPTED) as (here, _, other):
        here.selector.pause("first")
        mail_id = await here.add()
        left = await other.begin([Beginning(mail_id, 1, "gone", 50.0, [], START)])
        here.selector.resume("first")
        here.pass_time(LEASE)
        while (await here.record(mail_id)).status is not Status.UNCERTAIN:
            await asyncio.sleep(0.01)
        here.pass_time(120)
        while (await here.record(mail_id)).status is not Status.SENT:
            await asyncio.sleep(0.01)
        record = await other.get(mail_id)

    assert left == [None]
    assert record is not None
    assert [attempt.outcome for attempt in record.attempts] == [Outcome.INTERRUPTED, Outcome.ACCEPTED]


async def test_after_a_start_and_after_trouble_others_have_a_turn_to_say_that_they_live(
    postgres: PostgresServer,
) -> None:
    async with two_processes(postgres, lambda name, message: ACCEPTED) as (_, watched, _):
        await turns(watched, 3)
        first = watched.calls[:4]
        watched.trouble = True
        await turns(watched, 2)
        watched.trouble = False
        watched.calls.clear()
        await turns(watched, 3)
        after = watched.calls[:4]

    assert first == ["renew", "renew", "recover", "renew"]
    assert after == ["renew", "renew", "recover", "renew"]
