"""The drain when the store or a provider makes trouble for some mails: the others go on, and none is forgotten."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mailsvc.drain import HEARTBEAT
from mailsvc.errors import StorageUnavailable
from mailsvc.model import Message, Outcome, Status
from mailsvc.providers.base import Result
from tests.unit.world import World, world

ACCEPTED = Result(Outcome.ACCEPTED)
DOWN = Result(Outcome.DOWN, "503: out", http_status=503)


class Troubled:
    """An outbox whose methods can fail: `fails` maps their names to how many calls will."""

    def __init__(self, outbox: Any, **fails: int) -> None:
        self._outbox, self.fails, self.calls = outbox, fails, dict.fromkeys(fails, 0)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._outbox, name)
        if name not in self.fails:
            return method

        async def troubled(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            if self.fails[name] > 0:
                self.fails[name] -= 1
                raise StorageUnavailable("the disk makes trouble")
            return await method(*arguments, **named)

        return troubled


async def until(here: World, mail_id: str, status: Status) -> None:
    """Wait until a mail is in a state, while time passes quickly."""
    for _ in range(200):
        if (await here.record(mail_id)).status is status:
            return
        here.pass_time(60)
        here.drain.wake()
        await asyncio.sleep(0.02)
    raise AssertionError(f"not {status}: {await here.record(mail_id)}")


async def test_many_mails_of_a_refused_sender_do_not_keep_others_from_being_sent(tmp_path: Path) -> None:
    def script(name: str, mail: Message) -> Result:
        return Result(Outcome.SENDER_REFUSED, "no") if mail.sender.domain == "bad.example" else ACCEPTED

    async with world(tmp_path, script, names=("first",), MAILSVC_CONCURRENCY="4") as here:
        bad = [await here.add(sender="x@bad.example") for _ in range(20)]
        here.drain.start()
        while not here.asked:
            await asyncio.sleep(0.01)
        good = await here.add()
        for _ in range(200):
            here.drain.wake()
            await asyncio.sleep(0.01)
            if (await here.record(good)).status is Status.SENT:
                break
        record = await here.record(good)
        await here.drain.stop(1)
        waiting = [await here.record(mail_id) for mail_id in bad]

    assert record.status is Status.SENT
    assert {mail.status for mail in waiting} == {Status.QUEUED}


async def test_mails_that_could_not_be_given_back_are_kept(tmp_path: Path) -> None:
    async with world(tmp_path, lambda name, mail: ACCEPTED, names=("first",)) as here:
        mail_id = await here.add()
        here.drain._outbox = Troubled(here.outbox, release=1)
        here.drain._held = list(await here.outbox.claim(1, here.wall, 86_400.0))
        here.selector.pause("first")
        here.drain.start()
        while here.drain._outbox.calls["release"] < 1:
            await asyncio.sleep(0.01)
        here.selector.resume("first")
        await until(here, mail_id, Status.SENT)
        await here.drain.stop(1)

    assert len(here.asked) == 1


async def test_a_mail_whose_second_attempt_could_not_be_written_down_is_tried_again_later(tmp_path: Path) -> None:
    class Journal:
        """Cannot begin a second attempt, for a while."""

        def __init__(self, outbox: Any) -> None:
            self.outbox, self.broken = outbox, True

        async def begin(self, rows: Sequence[Any]) -> Any:
            if self.broken and any(row.n == 2 for row in rows):
                here.selector.pause("first")
                here.selector.pause("second")
                raise StorageUnavailable("the disk makes trouble")
            return await self.outbox.begin(rows)

    async with world(
        tmp_path, lambda name, mail: DOWN if name == "first" else ACCEPTED, names=("first", "second")
    ) as here:
        mail_id, journal = await here.add(), Journal(here.outbox)
        here.courier._journal._beginnings._flush = journal.begin
        here.drain.start()
        await until(here, mail_id, Status.QUEUED)
        while not (await here.record(mail_id)).attempts:
            await asyncio.sleep(0.01)
        journal.broken = False
        here.selector.resume("first")
        here.selector.resume("second")
        await until(here, mail_id, Status.SENT)
        await here.drain.stop(1)


async def test_a_store_that_cannot_be_written_is_not_asked_again_at_once(tmp_path: Path) -> None:
    calls = 0

    async def begin(rows: Sequence[Any]) -> Any:
        nonlocal calls
        calls += 1
        raise StorageUnavailable("read-only")

    async with world(tmp_path, lambda name, mail: ACCEPTED) as here:
        await here.add()
        here.courier._journal._beginnings._flush = begin
        here.drain.start()
        begun = time.monotonic()
        for _ in range(50):
            await asyncio.sleep(0.02)
        await here.drain.stop(1)
        heartbeats = (time.monotonic() - begun) / HEARTBEAT

    assert 1 <= calls <= 8 + heartbeats
