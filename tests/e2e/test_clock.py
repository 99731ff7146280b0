"""Somebody sets the clock of the running service: mail goes out all the same, once, and not before its time."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.process import Mailsvc
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider

HOUR = 3600
# A gap that a step has made would be an hour; on a busy machine, seconds may pass for other reasons.
NO_GAP = 15.0
STEPS = (-HOUR, HOUR, 0, 12 * HOUR, -HOUR)


def library() -> str:
    """Where libfaketime is; without it the test is skipped, or fails where nothing may be left out."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail("faketime is not installed: apt-get install faketime")
        pytest.skip("faketime is not installed, so steps of the clock WERE NOT TESTED")
    return str(found[0])


class WallClock:
    """The wall clock of a process that runs with `settings`; its monotonic clock stays true, as in life."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._ahead = 0
        self.set(0)
        self.settings = {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # it would make every wait for Python's lock a busy one
        }

    def set(self, seconds: int) -> None:
        """From now on it is so many seconds ahead of the true time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)  # at once, since the process reads it whenever it looks at its clock


async def test_steps_of_an_hour_neither_stop_the_drain_nor_send_anything_twice(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    async with FakeProvider() as sendgrid:
        sendgrid.fault("delay", seconds=0.05)
        settings = live(sendgrid, MAILSVC_CONCURRENCY="2", MAILSVC_LOG="warning")
        async with Mailsvc(tmp_path, **settings, **clock.settings) as service:
            ids: list[str] = []
            for ahead in STEPS:
                before = len(ids)
                ids += [await service.post() for _ in range(8)]
                while len(sendgrid.ledger) <= before:
                    await asyncio.sleep(0.01)
                clock.set(ahead)  # while some of them wait
            mails = [await service.until(mail_id, "sent") for mail_id in ids]

    times = [entry.at for entry in sendgrid.ledger]
    hours = [datetime.fromisoformat(mail["created_at"]).timestamp() / HOUR for mail in mails[::8]]
    assert [round(later - earlier) for earlier, later in pairwise(hours)] == [-1, 2, -1, 12]  # the steps were seen
    assert max(later - earlier for earlier, later in pairwise(times)) < NO_GAP
    assert [len(mail["attempts"]) for mail in mails] == [1] * len(ids)
    assert [sendgrid.accepted(mail_id) for mail_id in ids] == [1] * len(ids)


async def test_a_mail_that_waits_for_its_next_round_does_not_wait_an_hour_more(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    async with FakeProvider() as sendgrid:
        sendgrid.fault("answer", status=503)
        settings = live(sendgrid, MAILSVC_RETRY="4", MAILSVC_SELECTOR="classic")
        async with Mailsvc(tmp_path, **settings, **clock.settings) as service:
            mail_id = await service.post()
            while not (await service.mail(mail_id))["error"]:
                await asyncio.sleep(0.01)
            await service.until(mail_id, "queued")
            clock.set(-HOUR)
            sendgrid.clear()
            mail = await service.until(mail_id, "sent")

    assert mail["attempts"][-1]["outcome"] == "accepted"


@pytest.mark.sqlite("PostgreSQL goes by its own clock, which is not set here")
async def test_nothing_is_sent_earlier_than_by_what_the_clock_was_set(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("hang", times=1)
        settings = live(sendgrid, mandrill, MAILSVC_TIMEOUT="2", MAILSVC_UNCERTAIN_AFTER=str(2 * HOUR))
        async with Mailsvc(tmp_path, **settings, **clock.settings) as service:
            mail_id = await service.post()
            await service.until(mail_id, "uncertain")
            clock.set(HOUR)
            others = [await service.settled(await service.post()) for _ in range(4)]
            await asyncio.sleep(0.05)
            waits = await service.mail(mail_id)
            clock.set(2 * HOUR + 1)
            sent = await service.until(mail_id, "sent")

    assert {mail["status"] for mail in others} == {"sent"}
    assert (waits["status"], len(waits["attempts"])) == ("uncertain", 1)
    assert [attempt["outcome"] for attempt in sent["attempts"]] == ["unanswered", "accepted"]
