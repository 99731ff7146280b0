"""On PostgreSQL: processes killed and frozen, the server crashed, and what that may cost.

One test has it all at once, in a short form; `make faulttest` runs it with 5,000 mails, and has a server away for 30 s.
"""

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.process import FORM, Mailsvc
from tests.e2e.test_main_path import live
from tests.e2e.truth import judged
from tests.fakes import FakeProvider
from tests.postgres import PostgresServer

MAILS, CLIENTS, KILLS = 500, 16, 3
WHOLE = 5000 if os.environ.get("FAULTS") == "all" else 400  # mails of the test of everything at once
DOWN = 30.0 if os.environ.get("FAULTS") == "all" else 0.0  # seconds that a crashed server stays away, at least
RATE = 100.0  # of these mails a second, at most: so many kills, one a second, meet them
QUICK = {"MAILSVC_LEASE": "2", "MAILSVC_UNCERTAIN_AFTER": "1", "MAILSVC_LOG": "warning", "MAILSVC_RETRY": "0.5"}


class Posting:
    """Clients that post mails to services in turn, and post again with the same key what got no 202."""

    def __init__(self, *services: Mailsvc, mails: int, rate: float = float("inf")) -> None:
        self.services, self.mails, self.accepted = services, mails, list[str]()
        self.refused = 0  # answers with 503
        self._numbers, self._rate, self._start = iter(range(mails)), rate, time.monotonic()

    async def run(self) -> None:
        """Until all mails are accepted."""
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))

    async def until(self, share: float) -> None:
        """Until so much of all mails is accepted."""
        while len(self.accepted) < self.mails * share:
            await asyncio.sleep(0.01)

    async def _client(self) -> None:
        for number in self._numbers:
            await asyncio.sleep(self._start + number / self._rate - time.monotonic())
            mail, key = FORM | {"to": f"user{number}@example.com"}, {"Idempotency-Key": f"mail-{number}"}
            for turn in range(4000):
                service = self.services[(number + turn) % len(self.services)]
                try:
                    status, headers, body = await service.call("POST", "/email", json=mail, headers=key)
                except (aiohttp.ClientError, OSError):
                    await asyncio.sleep(0.05)
                    continue
                if status == 202:
                    self.accepted.append(body["id"])
                    break
                assert (status, body["code"], "Retry-After" in headers) == (503, "storage_unavailable", True), body
                self.refused += 1
                await asyncio.sleep(0.05)


async def test_five_hundred_mails_survive_three_kills(tmp_path: Path, postgres: PostgresServer) -> None:
    async with FakeProvider(ledger=tmp_path / "ledger.jsonl") as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("delay", seconds=0.02)
        settings = live(sendgrid, mandrill, DATABASE_URL=postgres.create(), **QUICK)
        async with Mailsvc(tmp_path, **settings) as service:
            posting = Posting(service, mails=MAILS)

            async def kill() -> None:
                for turn in range(1, KILLS + 1):
                    await posting.until(turn / (KILLS + 2))
                    await service.kill()
                    await service.start()

            await asyncio.gather(posting.run(), kill())
            for mail_id in posting.accepted:
                await service.until(mail_id, "sent")
            # Kills that follow each other within a lease are found together.
            findings = await judged(service, posting.accepted, sendgrid, mandrill, dead=KILLS)

    assert findings.broken == ()
    assert (findings.accepted, findings.handed_over, findings.lost, findings.unexplained) == (MAILS, MAILS, 0, 0)
    assert findings.doubled <= findings.in_doubt


async def test_a_crash_of_the_server_loses_nothing_and_doubles_nothing_without_a_doubt(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("delay", seconds=0.02)
        settings = live(sendgrid, mandrill, DATABASE_URL=postgres.create(), **QUICK)
        async with Mailsvc(tmp_path, **settings) as one, Mailsvc(tmp_path, **settings) as other:
            posting = Posting(one, other, mails=300)

            async def crash() -> None:
                await posting.until(0.3)
                async with postgres.down("immediate"):
                    status, headers, _ = await one.call("GET", "/readyz")
                    assert (status, "Retry-After" in headers) == (503, True)
                    await asyncio.sleep(DOWN)

            await asyncio.gather(posting.run(), crash())
            for mail_id in posting.accepted:
                await one.until(mail_id, "sent")
            findings = await judged(one, posting.accepted, sendgrid, mandrill)

    assert findings.broken == ()
    assert (findings.accepted, findings.handed_over, findings.lost, findings.unexplained) == (300, 300, 0, 0)


class Killing:
    """Every second one of the services is killed with -9 and replaced; at least one always serves."""

    def __init__(self, *services: Mailsvc, at_least: int) -> None:
        self.kills, self._at_least = 0, at_least
        self._serving = list(services)

    async def run(self, posting: Posting) -> None:
        """Until all mails are accepted and there were enough kills; then all serve again."""
        async with asyncio.TaskGroup() as replacing:
            while len(posting.accepted) < posting.mails or self.kills < self._at_least:
                await asyncio.sleep(1)
                if len(self._serving) > 1:
                    victim = self._serving.pop(0)
                    await victim.kill()
                    self.kills += 1
                    replacing.create_task(self._replace(victim))

    async def _replace(self, service: Mailsvc) -> None:
        """Start it until it serves, as a platform does: a start fails while the database is down."""
        for _ in range(60):
            try:
                await service.start()
            except RuntimeError:
                assert service.process.returncode in (75, 78), service.log[-5:]
                continue
            self._serving.append(service)
            return
        raise AssertionError(service.log[-5:])


@pytest.mark.timeout(600)
@pytest.mark.gen_test(timeout=590)
async def test_three_processes_of_which_one_is_killed_every_second_outlive_two_crashes_of_the_server(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("delay", seconds=0.02)
        settings = live(sendgrid, mandrill, DATABASE_URL=postgres.create(), **QUICK)
        async with (
            Mailsvc(tmp_path, **settings) as one,
            Mailsvc(tmp_path, **settings) as two,
            Mailsvc(tmp_path, **settings) as three,
        ):
            posting, killing = Posting(one, two, three, mails=WHOLE, rate=RATE), Killing(one, two, three, at_least=3)

            async def crash() -> None:
                for share in (0.3, 0.6):
                    await posting.until(share)
                    async with postgres.down("immediate"):
                        before = posting.refused
                        while posting.refused == before:
                            await asyncio.sleep(0.01)

            begun = time.monotonic()
            await asyncio.gather(posting.run(), killing.run(posting), crash())
            seconds = time.monotonic() - begun
            for mail_id in posting.accepted:
                await one.until(mail_id, "sent")
            findings = await judged(one, posting.accepted, sendgrid, mandrill, dead=killing.kills)

    print(f"{killing.kills} kills in {seconds:.0f} s, {posting.refused} answers with 503; {findings}")
    assert killing.kills >= 3
    assert findings.broken == ()
    assert (findings.accepted, findings.handed_over) == (WHOLE, WHOLE)
    assert (findings.lost, findings.unexplained) == (0, 0)
    assert findings.doubled <= findings.in_doubt


async def test_a_frozen_process_that_wakes_up_changes_no_final_status(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.create()
    async with FakeProvider() as slow, FakeProvider() as quick:
        slow.fault("delay", seconds=6)  # within which it is frozen and its mails are taken over
        frozen = Mailsvc(tmp_path, **live(slow, DATABASE_URL=url, **QUICK))
        other = Mailsvc(tmp_path, **live(quick, DATABASE_URL=url, **QUICK))
        async with frozen:
            ids = [await frozen.post(to=f"user{number}@example.com") for number in range(5)]
            for mail_id in ids:
                await frozen.until(mail_id, "sending")
            frozen.process.send_signal(signal.SIGSTOP)
            async with other:
                taken_over = [await other.until(mail_id, "sent") for mail_id in ids]
                frozen.process.send_signal(signal.SIGCONT)
                for mail_id in ids:
                    await _event(other, mail_id, "late")
                after = [await other.mail(mail_id) for mail_id in ids]
                findings = await judged(other, ids, slow, quick)

    for before, now in zip(taken_over, after, strict=True):
        assert now | {"events": []} == before | {"events": []}
        assert [(attempt["n"], attempt["outcome"]) for attempt in now["attempts"]] == [
            (1, "interrupted"),
            (2, "accepted"),
        ]
    assert (findings.broken, findings.lost, findings.unexplained) == ((), 0, 0)
    assert findings.doubled <= findings.in_doubt


async def _event(service: Mailsvc, mail_id: str, kind: str) -> None:
    """Wait until the mail has such an event."""
    for _ in range(600):
        if any(event["type"] == kind for event in (await service.mail(mail_id))["events"]):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"no event {kind}: {await service.mail(mail_id)}")
