"""A mail is not sent after its time: before an attempt, between two, between rounds, and in doubt."""

import asyncio
from dataclasses import replace
from pathlib import Path

from mailsvc.addition import Addition
from mailsvc.address import Mailbox
from mailsvc.model import Mail, Message, OnUncertain, Outcome, Priority, Status, new_id
from mailsvc.providers.base import Result
from tests.unit.test_drain import Gate, settled
from tests.unit.world import DAY, World, world

DOWN = Result(Outcome.DOWN, "out of order")


async def added(here: World, due_in: float = 0.0, **fields: object) -> str:
    mail = Mail(
        new_id(here.wall),
        here.wall,
        Mailbox("shop@example.com"),
        (Mailbox("ann@example.com"),),
        "Hi",
        OnUncertain.RESEND,
    )
    (done,) = await here.outbox.add([Addition(replace(mail, text="hello", **fields), here.wall + due_in)])  # type: ignore[arg-type]
    assert not isinstance(done, Exception)
    return done.id


async def test_a_claimed_mail_whose_time_passes_is_not_sent(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: DOWN) as here:
        mail_id = await added(here, expires_at=here.wall + 5)
        here.wall += 5
        here.drain.start()
        (state,) = await settled(here, [mail_id])
        await here.drain.stop(1)
        record = await here.record(mail_id)

    assert (state, here.asked) == (Status.EXPIRED, [])
    assert [event.type for event in record.events] == ["expired"]


async def test_no_other_provider_is_asked_once_the_time_has_passed(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: _slow(here)) as here:
        mail_id = await added(here, expires_at=here.wall + 5)
        record = await here.go(mail_id)

    assert (record.status, len(here.asked)) == (Status.EXPIRED, 1)
    assert record.attempts[0].outcome is Outcome.DOWN
    assert record.due_at is None


def _slow(here: World) -> Result:
    here.pass_time(6)
    return DOWN


async def test_a_mail_in_doubt_is_not_sent_again_after_its_time(tmp_path: Path) -> None:
    unanswered = Result(Outcome.UNANSWERED, "silence")
    async with world(tmp_path, lambda name, mail: unanswered, names=("first", "second")) as here:
        mail_id = await added(here, expires_at=here.wall + 5)
        await here.go(mail_id)
        here.pass_time(100)
        here.drain.start()
        while (record := await here.record(mail_id)).due_at is not None:
            with here.feed.listen(mail_id) as news:
                await news.get()
        await here.drain.stop(1)

    assert (record.status, len(here.asked)) == (Status.UNCERTAIN, 1)
    assert record.error is not None
    assert "a provider may have it" in record.error


async def test_giving_up_counts_from_when_a_mail_was_to_be_sent(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: DOWN, MAILSVC_GIVE_UP="24h") as here:
        mail_id = await added(here, due_in=3 * DAY)
        here.pass_time(3 * DAY)
        first = await here.go(mail_id)
        here.pass_time(DAY)
        last = await here.go(mail_id)

    assert (first.status, last.status) == (Status.QUEUED, Status.FAILED)


async def test_a_retried_mail_has_another_key_for_the_provider() -> None:
    people = (Mailbox("ann@example.com"),)
    id_ = "01890000-0000-7000-8000-000000000001"
    messages = [
        Message(id_, Mailbox("shop@example.com"), people, "Hi", None, "x", retries=retries) for retries in (0, 1, 2, 1)
    ]
    keys = [message.key for message in messages]

    assert keys[0] == id_
    assert len(set(keys)) == 3
    assert keys[1] == keys[3]


async def test_a_flood_of_low_holds_up_a_high_mail_by_one_mail_in_flight(tmp_path: Path) -> None:
    gate = Gate()
    async with world(tmp_path, gate, MAILSVC_CONCURRENCY="2") as here:
        flood = [await added(here, priority=Priority.LOW) for _ in range(40)]
        here.drain.start()
        while gate.inside < 2:
            await asyncio.sleep(0.01)
        high = await added(here, priority=Priority.HIGH)
        gate.open.set()
        await settled(here, [*flood, high])
        await here.drain.stop(1)

    order = [mail_id for _, mail_id in here.asked]
    assert order.index(high) <= 3  # two were in flight, and both may have ended before it was claimed


async def test_high_mails_overtake_those_that_wait_here_for_a_provider(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: Result(Outcome.ACCEPTED), names=("first",)) as here:
        low = [await added(here, priority=Priority.LOW) for _ in range(70)]
        here.drain._held = list(await here.outbox.claim(64, here.wall, 60.0))
        high = await added(here, priority=Priority.HIGH)
        await here.drain._claim(64)
        first, *others = here.drain._held

    assert first.id == high
    assert [mail.id for mail in others] == low[:64]
