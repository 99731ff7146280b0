"""The drain: how much is in flight, who waits, and how it stops."""

import asyncio
from pathlib import Path

import pytest

from mailsvc import drain
from mailsvc.model import Message, Outcome, Status
from mailsvc.providers.base import Result
from tests.unit.world import World, world

ACCEPTED = Result(Outcome.ACCEPTED)


class Gate:
    """A provider that answers when it is told to. `most` is how many mails it had at a time."""

    def __init__(self) -> None:
        self.open, self.inside, self.most = asyncio.Event(), 0, 0

    async def __call__(self, name: str, message: Message) -> Result:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.open.wait()
        self.inside -= 1
        return ACCEPTED


async def settled(here: World, ids: list[str]) -> list[Status]:
    """Wait until all mails have left the queue; where they are then."""
    with here.feed.listen() as news:
        while not all(status.settled for status in await _statuses(here, ids)):
            await news.get()
    return await _statuses(here, ids)


async def _statuses(here: World, ids: list[str]) -> list[Status]:
    return [(await here.record(mail_id)).status for mail_id in ids]


async def test_no_more_than_allowed_are_in_flight_and_all_are_sent(tmp_path: Path) -> None:
    gate = Gate()
    async with world(tmp_path, gate, MAILSVC_CONCURRENCY="5") as here:
        ids = [await here.add() for _ in range(23)]
        here.drain.start()
        while gate.inside < 5:
            await asyncio.sleep(0.01)
        claimed = here.drain.in_flight
        gate.open.set()
        states = await settled(here, ids)
        await here.drain.stop(1)

    assert (claimed, gate.most) == (5, 5)
    assert states == [Status.SENT] * 23
    assert sorted(mail_id for _, mail_id in here.asked) == sorted(ids)


async def test_a_new_mail_wakes_the_drain_before_its_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "HEARTBEAT", 3600.0)
    async with world(tmp_path, lambda name, mail: ACCEPTED) as here:
        here.drain.start()
        await asyncio.sleep(0.02)
        mail_id = await here.add()
        here.drain.wake()
        (state,) = await asyncio.wait_for(settled(here, [mail_id]), 30)
        await here.drain.stop(1)

    assert state is Status.SENT


async def test_what_becomes_due_without_a_bell_is_found_by_the_heartbeat(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: ACCEPTED) as here:
        here.drain.start()
        await asyncio.sleep(0.02)
        mail_id = await here.add()
        (state,) = await asyncio.wait_for(settled(here, [mail_id]), 30)
        await here.drain.stop(1)

    assert state is Status.SENT


async def test_stopping_lets_what_is_in_flight_finish_and_gives_back_the_rest(tmp_path: Path) -> None:
    gate = Gate()
    async with world(tmp_path, gate, MAILSVC_CONCURRENCY="2") as here:
        ids = [await here.add() for _ in range(5)]
        here.drain.start()
        while gate.inside < 2:
            await asyncio.sleep(0.01)
        stopping = asyncio.create_task(here.drain.stop(10))
        await asyncio.sleep(0.02)
        gate.open.set()
        await stopping
        records = [await here.record(mail_id) for mail_id in ids]
        due = await here.outbox.claim(10, here.wall, 60)

    assert sorted(record.status for record in records) == [Status.QUEUED] * 3 + [Status.SENT] * 2
    assert {mail.id for mail in due} == {record.id for record in records if record.status is Status.QUEUED}
    assert gate.most == 2


async def test_what_does_not_finish_in_time_is_interrupted_and_in_doubt(tmp_path: Path) -> None:
    gate = Gate()
    async with world(tmp_path, gate) as here:
        mail_id = await here.add()
        here.drain.start()
        while gate.inside < 1:
            await asyncio.sleep(0.01)
        await here.drain.stop(0.02)
        record = await here.record(mail_id)

    assert (record.status, record.attempts[0].outcome) == (Status.UNCERTAIN, Outcome.INTERRUPTED)
    assert here.drain.in_flight == 0


async def test_while_nobody_may_be_asked_mails_wait_and_go_out_when_somebody_may(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: ACCEPTED, names=("first",)) as here:
        here.selector.pause("first")
        ids = [await here.add() for _ in range(3)]
        here.drain.start()
        await asyncio.sleep(0.05)
        waiting = [await here.record(mail_id) for mail_id in ids]
        here.selector.resume("first")
        here.drain.wake()
        states = await settled(here, ids)
        await here.drain.stop(1)

    assert [(record.status, record.attempts) for record in waiting] == [(Status.QUEUED, ())] * 3
    assert states == [Status.SENT] * 3


async def test_a_mail_that_one_provider_may_not_get_does_not_hold_up_the_others(tmp_path: Path) -> None:
    refused = Result(Outcome.SENDER_REFUSED, "domain not verified")

    def script(name: str, mail: Message) -> Result:
        return refused if mail.sender.domain == "unverified.example" else ACCEPTED

    async with world(tmp_path, script, names=("first",)) as here:
        blocked = await here.add(sender="x@unverified.example")
        here.drain.start()
        while not (await here.record(blocked)).attempts:
            await asyncio.sleep(0.01)
        again = await here.add(sender="y@unverified.example")
        other = await here.add()
        here.drain.wake()
        states = await settled(here, [other])
        await here.drain.stop(1)
        waits = await here.record(again)

    assert states == [Status.SENT]
    assert (waits.status, waits.attempts) == (Status.QUEUED, ())


async def test_a_clock_that_jumps_an_hour_makes_no_mail_go_out_twice(tmp_path: Path) -> None:
    gate = Gate()
    async with world(tmp_path, gate, MAILSVC_CONCURRENCY="10") as here:
        ids = [await here.add() for _ in range(3)]
        here.drain.start()
        while gate.inside < 3:
            await asyncio.sleep(0.01)
        here.wall += 3 * 86_400
        here.drain.wake()
        await asyncio.sleep(0.05)
        gate.open.set()
        states = await settled(here, ids)
        await here.drain.stop(1)

    assert states == [Status.SENT] * 3
    assert len(here.asked) == 3
