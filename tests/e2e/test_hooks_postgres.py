"""Reports at several processes on one PostgreSQL: each counts once, whoever took it in, also after a kill."""

import asyncio
import time
from collections import Counter
from pathlib import Path

from tests.e2e.process import Mailsvc
from tests.e2e.test_hooks import TO, about, settings, tell
from tests.fakes import FakeProvider
from tests.postgres import PostgresServer
from tests.providers import hooks


async def test_two_processes_take_the_same_reports_and_each_counts_once(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with FakeProvider() as fake:
        how = settings(fake, "sendgrid", DATABASE_URL=postgres.create(), MAILSVC_LEASE="2")
        async with Mailsvc(tmp_path, **how) as one, Mailsvc(tmp_path, **how) as other:
            ids = [await one.post(to=TO) for _ in range(10)]
            for mail_id in ids:
                await one.until(mail_id, "sent")
            posted = [
                about("sendgrid", kind, mail_id, number + 10 * place)
                for place, kind in enumerate(("deferred", "delivered", "open"))
                for number, mail_id in enumerate(ids)
            ]
            answers = await asyncio.gather(
                *(tell(service, "sendgrid", each) for each in posted for service in (one, other, one))
            )
            mails = [await other.until(mail_id, "delivered") for mail_id in ids]
            errors = [line for line in (*one.log, *other.log) if '"level":"error"' in line]

    assert {status for status, _ in answers} == {200}
    assert sum(body["new"] for _, body in answers) == 30
    for mail in mails:
        told = [event["type"] for event in mail["events"]]
        assert sorted(set(told)) == sorted(told)
        assert set(told) >= {"delivered"}
    assert errors == []


async def test_what_a_killed_process_took_in_is_worked_off_by_another(tmp_path: Path, postgres: PostgresServer) -> None:
    async with FakeProvider() as fake:
        how = settings(fake, "sendgrid", DATABASE_URL=postgres.create())
        async with Mailsvc(tmp_path, **how) as one, Mailsvc(tmp_path, **how) as other:
            mail_id = await one.post(to=TO)
            await one.until(mail_id, "sent")
            batch = [hooks.body("sendgrid", "deferred", number, mail_id)[0] for number in range(900)]
            batch += hooks.body("sendgrid", "delivered", 1000, mail_id)
            answer = await tell(one, "sendgrid", hooks.sign("sendgrid", batch, time.time()))
            await one.kill()
            # What the other one had in its hands comes last.
            while len((mail := await other.until(mail_id, "delivered", "delayed", "sent"))["events"]) < 901:
                await asyncio.sleep(0.05)

    assert answer == (200, {"new": 901})
    assert Counter(event["type"] for event in mail["events"]) == {"delayed": 900, "delivered": 1}
    assert mail["status"] == "delivered"
