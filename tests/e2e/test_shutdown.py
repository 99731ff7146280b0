"""How a process ends, and how the next one takes over."""

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.process import FORM, Mailsvc
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider


async def test_a_provider_that_hangs_past_the_grace_leaves_doubts_and_holds_nobody_up(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        sendgrid.fault("hang")
        async with Mailsvc(tmp_path, **live(sendgrid, MAILSVC_GRACE="1", MAILSVC_UNCERTAIN_AFTER="0.1")) as service:
            ids = [await service.post() for _ in range(5)]
            await sendgrid.until(lambda: sendgrid.opened >= 5)
            begun = time.monotonic()
            service.terminate()
            code = await service.ended()
            took = time.monotonic() - begun
            sendgrid.clear()
            await service.start()
            mails = [await service.until(mail_id, "sent") for mail_id in ids]

    assert code == 0
    assert 0.9 <= took < 24  # less than the usual grace: the grace, three seconds to write it down, and a slow machine
    outcomes = [[attempt["outcome"] for attempt in mail["attempts"]] for mail in mails]
    assert outcomes == [["interrupted", "accepted"]] * 5
    named = [line for line in service.log if '"event":"delivery_interrupted"' in line]
    assert all(any(mail_id in line for line in named) for mail_id in ids)


async def test_deliveries_that_end_within_the_grace_are_no_doubts(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        sendgrid.fault("delay", seconds=2.0)
        async with Mailsvc(tmp_path, **live(sendgrid, MAILSVC_CONCURRENCY="4")) as service:
            ids = [await service.post() for _ in range(10)]
            await sendgrid.until(lambda: sendgrid.opened >= 4)
            for _ in range(3):
                service.terminate()
            code = await service.ended()
            done = len(sendgrid.ledger)
            sendgrid.clear()
            await service.start()
            mails = [await service.until(mail_id, "sent") for mail_id in ids]

    assert (code, done) == (0, 4)
    assert [[attempt["outcome"] for attempt in mail["attempts"]] for mail in mails] == [["accepted"]] * 10
    assert [sendgrid.accepted(mail_id) for mail_id in ids] == [1] * 10


async def test_the_next_instance_waits_for_the_file_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        sendgrid.fault("delay", seconds=0.3)
        settings = live(sendgrid, MAILSVC_LOCK_WAIT="60", MAILSVC_CONCURRENCY="8")
        async with Mailsvc(tmp_path, **settings) as old:
            accepted: list[str] = []
            clients = [asyncio.create_task(_posting(old, accepted)) for _ in range(4)]
            while len(accepted) < 20:
                await asyncio.sleep(0.01)
            async with aiohttp.ClientSession() as session:
                new = Mailsvc(tmp_path, **settings)
                new.http = session
                starting = asyncio.create_task(new.start())
                while new._process is None:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
                waited = not starting.done()
                old.terminate()
                code = await old.ended()
                refused = await asyncio.gather(*clients)
                await starting
                mails = [await new.until(mail_id, "sent") for mail_id in accepted]
                new.terminate()
                last = await new.ended()

    assert waited
    assert (code, last) == (0, 0)
    assert set(refused) <= {"shutting_down", "gone"}
    assert [sendgrid.accepted(mail_id) for mail_id in accepted] == [1] * len(accepted)
    assert {len(mail["attempts"]) for mail in mails} == {1}


async def _posting(service: Mailsvc, accepted: list[str]) -> str:
    """Post until it is refused; how."""
    while True:
        try:
            status, _, body = await service.call("POST", "/email", json=FORM)
        except aiohttp.ClientError:
            return "gone"
        if status != 202:
            return str(body["code"])
        accepted.append(body["id"])


@pytest.mark.sqlite
async def test_an_instance_that_waits_for_the_file_ends_at_once_when_it_is_told_to(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as owner:
        waiting = Mailsvc(tmp_path, MAILSVC_LOCK_WAIT="60")
        starting = asyncio.create_task(waiting.start())
        while not (tmp_path / "mailsvc.db.lock").exists() or waiting._process is None:
            await asyncio.sleep(0.01)
        while not _sleeps(waiting):
            await asyncio.sleep(0.05)
        waiting.terminate()
        code = await asyncio.wait_for(waiting.ended(), 10)
        await asyncio.gather(starting, return_exceptions=True)
        alive = await owner.post()

    assert code == 0
    assert alive


def _sleeps(service: Mailsvc) -> bool:
    """Whether it has its signal handlers by now: what it catches shows in /proc."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(caught >> 14 & 1)  # SIGTERM is 15, and signals count from 1
