"""What a kill may cost: nothing that was accepted, and no second hand-over without a doubt on record before it."""

import asyncio
import random
import sqlite3
from collections import Counter
from pathlib import Path

import aiohttp

from tests.e2e.process import FORM, Mailsvc
from tests.e2e.test_main_path import live
from tests.e2e.truth import judged
from tests.fakes import FakeProvider

MAILS, CLIENTS, KILLS = 1000, 32, 3
LEASE = {"MAILSVC_LEASE": "2"}  # on PostgreSQL, what a process that was killed has begun is found after that


async def _client(service: Mailsvc, numbers: "asyncio.Queue[int]", accepted: list[str]) -> None:
    """Post until all numbers are posted; what got no 202 is posted again with the same key, as clients should."""
    while not numbers.empty():
        number = numbers.get_nowait()
        mail, key = FORM | {"to": f"user{number}@example.com"}, {"Idempotency-Key": f"mail-{number}"}
        for _ in range(1000):
            try:
                status, _, body = await service.call("POST", "/email", json=mail, headers=key)
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)
                continue
            assert status in (202, 503), body
            if status == 202:
                accepted.append(body["id"])
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError(f"mail {number} was never accepted")


async def _killer(service: Mailsvc, accepted: list[str]) -> None:
    """kill -9 and start again, each time after another part of the mails."""
    for turn in range(1, KILLS + 1):
        while len(accepted) < MAILS * turn // (KILLS + 2):
            await asyncio.sleep(0.01)
        await service.kill()
        await service.start()


async def test_a_thousand_mails_survive_three_kills(tmp_path: Path) -> None:
    accepted: list[str] = []
    numbers: asyncio.Queue[int] = asyncio.Queue()
    for number in range(MAILS):
        numbers.put_nowait(number)
    async with FakeProvider(ledger=tmp_path / "ledger.jsonl") as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("delay", seconds=0.02)
        settings = live(sendgrid, mandrill, MAILSVC_UNCERTAIN_AFTER="1", MAILSVC_LOG="warning", **LEASE)
        async with Mailsvc(tmp_path, **settings) as service:
            clients = [_client(service, numbers, accepted) for _ in range(CLIENTS)]
            await asyncio.gather(*clients, _killer(service, accepted))
            for mail_id in accepted:
                await service.until(mail_id, "sent")
            # On PostgreSQL, kills that follow each other within a lease are found together.
            together = KILLS if service.database else 1
            findings = await judged(service, accepted, sendgrid, mandrill, dead=together)

    assert findings.broken == ()
    assert (findings.accepted, findings.handed_over, findings.lost, findings.unexplained) == (MAILS, MAILS, 0, 0)
    assert findings.doubled <= findings.in_doubt
    if together == 1:
        with sqlite3.connect(tmp_path / "mailsvc.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()


async def test_a_mail_whose_provider_was_asked_when_the_process_died_is_in_doubt_and_then_resent(
    tmp_path: Path,
) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        settings = live(sendgrid, mandrill, MAILSVC_UNCERTAIN_AFTER="2", **LEASE)
        async with Mailsvc(tmp_path, **settings) as service:
            sendgrid.fault("kill", pid=service.process.pid, at="answer", times=1)
            mail_id = await service.post()
            await service.ended()
            await service.start()
            sent = await service.until(mail_id, "sent")
            findings = await judged(service, [mail_id], sendgrid, mandrill)

    assert (findings.broken, findings.doubled, findings.in_doubt) == ((), 1, 1)
    assert [event["type"] for event in sent["events"]] == ["uncertain"]
    assert [(a["provider"], a["outcome"]) for a in sent["attempts"]] == [
        ("sendgrid", "interrupted"),
        ("mandrill", "accepted"),
    ]
    assert sendgrid.accepted(mail_id) + mandrill.accepted(mail_id) == 2


async def test_fifty_parallel_posts_with_one_key_make_one_mail_also_after_a_kill(tmp_path: Path) -> None:
    key = {"Idempotency-Key": "order-4711"}
    async with FakeProvider() as sendgrid, Mailsvc(tmp_path, **live(sendgrid)) as service:
        answers = await asyncio.gather(*(service.call("POST", "/email", json=FORM, headers=key) for _ in range(50)))
        first = answers[0][2]["id"]
        await service.settled(first)
        await service.kill()
        await service.start()
        again = await asyncio.gather(*(service.call("POST", "/email", data=FORM, headers=key) for _ in range(50)))
        other = await service.call("POST", "/email", json=FORM | {"subject": "other"}, headers=key)
        _, _, mails = await service.call("GET", "/email")

    assert {answer[0] for answer in answers + again} == {202}
    assert {tuple(sorted(answer[2].items())) for answer in answers + again} == {tuple(sorted(answers[0][2].items()))}
    replayed = [answer[1].get("Idempotent-Replayed") for answer in answers + again]
    assert Counter(replayed) == {"true": 99, None: 1}
    assert (other[0], other[2]["code"]) == (422, "idempotency_key_reused")
    assert [mail["id"] for mail in mails["data"]] == [first]
    assert sendgrid.accepted(first) == 1


async def test_a_start_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    rng = random.Random(7)
    async with FakeProvider() as sendgrid:
        sendgrid.fault("delay", seconds=0.3)
        async with Mailsvc(tmp_path, **live(sendgrid, MAILSVC_UNCERTAIN_AFTER="0.1", **LEASE)) as service:
            ids = [await service.post() for _ in range(20)]
            for _ in range(5):
                await asyncio.sleep(rng.uniform(0, 0.05))
                await service.kill()
                await service.start()
            sendgrid.clear()
            for mail_id in ids:
                await service.until(mail_id, "sent")
            findings = await judged(service, ids, sendgrid)

    assert (findings.handed_over, findings.broken) == (20, ())
