"""Several processes on one PostgreSQL: what one learns of a provider, and says of a mail, holds for all."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from mailsvc.feed import Feed
from tests.e2e.process import Mailsvc
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import opened


async def provider(service: Mailsvc, name: str = "sendgrid") -> dict[str, Any]:
    """A provider, as this process shows it."""
    _, _, rows = await service.call("GET", "/providers")
    return next(dict(row) for row in rows if row["name"] == name)


async def shows(service: Mailsvc, state: str) -> None:
    """Wait until this process shows sendgrid in a state."""
    while (await provider(service))["state"] != state:
        await asyncio.sleep(0.02)


async def test_three_processes_try_a_dead_provider_no_more_often_than_one(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill, AsyncExitStack() as stack:
        sendgrid.fault("answer", status=503)
        settings = live(sendgrid, mandrill, DATABASE_URL=postgres.create(), MAILSVC_TIMEOUT="2")
        made = [await stack.enter_async_context(Mailsvc(tmp_path, **settings)) for _ in range(3)]

        async def send(number: int) -> None:
            ids = [await made[each % 3].post(to=f"user{each}@example.com") for each in range(number)]
            await asyncio.gather(*(made[each % 3].settled(mail_id) for each, mail_id in enumerate(ids)))

        while (await provider(made[0]))["state"] != "benched":  # whichever process has had three failures
            await made[0].settled(await made[0].post())
        for each in made:
            await shows(each, "benched")
        benched_after = len(sendgrid.ledger)
        sendgrid.clear()
        sendgrid.fault("hang")  # so that the probe of one process is under way while others have mails to send
        while len(sendgrid.ledger) == benched_after:
            await send(30)
        await send(60)
        probes = len(sendgrid.ledger) - benched_after

    assert probes == 1


async def test_the_feed_of_one_process_tells_what_happens_in_another(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.create()
    async with FakeProvider() as sendgrid:
        # One cannot send them all before the other has taken its part.
        sendgrid.fault("delay", seconds=0.2)
        settings = live(sendgrid, DATABASE_URL=url, MAILSVC_CONCURRENCY="2")
        async with Mailsvc(tmp_path, **settings) as here, Mailsvc(tmp_path, **settings) as there:
            async with there.http.get(there.url + "/events") as stream:
                await stream.content.readuntil(b"\n\n")
                here_ids = [await here.post(to=f"user{number}@example.com") for number in range(20)]
                wanted = {("mail", mail_id, status) for mail_id in here_ids for status in ("queued", "sent")}
                wanted |= {("attempt", mail_id, outcome) for mail_id in here_ids for outcome in (None, "accepted")}
                providers = set[str]()
                while wanted or len(providers) < 2:
                    kind, data = event(await stream.content.readuntil(b"\n\n"))
                    wanted.discard((kind, data.get("id"), data.get("status" if kind == "mail" else "outcome")))
                    providers |= {row["process"] for row in data.get("processes", ()) if row["sent"]}
            mine, others = [(await provider(each))["processes"] for each in (here, there)]

    assert {row["process"] for row in mine} == {row["process"] for row in others}
    assert len(mine) == 2


async def test_who_comes_back_to_another_process_has_missed_nothing(tmp_path: Path, postgres: PostgresServer) -> None:
    settings = {"DATABASE_URL": postgres.create()}
    async with Mailsvc(tmp_path, **settings) as here, Mailsvc(tmp_path, **settings) as there:
        async with here.http.get(here.url + "/events") as stream:
            await here.post()
            last, data = "", dict[str, Any]()
            while data.get("status") != "sent":
                text = await stream.content.readuntil(b"\n\n")
                _, data = event(text)
                last = next((line[4:] for line in text.decode().splitlines() if line.startswith("id: ")), last)
        missed = await here.post()
        await here.settled(missed)
        async with there.http.get(there.url + "/events", headers={"Last-Event-ID": last}) as stream:
            told = []
            while ("mail", {"id": missed, "status": "sent"}) not in told:
                told.append(event(await stream.content.readuntil(b"\n\n")))

    assert ("attempt", {"id": missed, "n": 1, "provider": "capture", "outcome": "accepted"}) in told


def event(text: bytes) -> tuple[str, dict[str, Any]]:
    """The kind of an event, and what it says."""
    fields = dict(line.split(": ", 1) for line in text.decode().strip().splitlines() if ": " in line)
    return fields.get("event", ""), json.loads(fields.get("data", "{}"))


async def test_who_waits_at_one_process_is_answered_when_another_has_sent_the_mail(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.create()
    async with FakeProvider() as sendgrid, FakeProvider() as other, AsyncExitStack() as stack:
        other.fault("hang")
        # One that can send nothing more: its only attempt never ends.
        busy = live(other, DATABASE_URL=url, MAILSVC_CONCURRENCY="1", MAILSVC_TIMEOUT="300")
        busy["MANDRILL_API_KEY"], busy["MANDRILL_URL"] = busy.pop("SENDGRID_API_KEY"), busy.pop("SENDGRID_URL")
        waited_at = await stack.enter_async_context(Mailsvc(tmp_path, **busy))
        stuck = await waited_at.post()
        await waited_at.until(stuck, "sending")
        posted_at = await stack.enter_async_context(Mailsvc(tmp_path, **live(sendgrid, DATABASE_URL=url)))
        await posted_at.call("POST", "/providers/sendgrid/pause")
        mail_id = await posted_at.post()
        waiting = asyncio.create_task(waited_at.settled(mail_id))
        before = (await waited_at.mail(mail_id))["status"], waiting.done()
        await posted_at.call("POST", "/providers/sendgrid/resume")
        mail = await waiting
        still = (await waited_at.mail(stuck))["status"]

    assert before == ("queued", False)
    assert (mail["status"], still, sendgrid.accepted(mail_id)) == ("sent", "sending", 1)


async def test_who_waits_for_a_mail_is_woken_by_another_process(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as one, opened(url) as other:
        feeds = [Feed(), Feed()]
        for outbox, feed in zip((one, other), feeds, strict=True):
            outbox.listen(lambda change: None)
            outbox.council.relay(feed)
        with feeds[1].listen("mail-1") as news:
            await other.council.tuned()
            feeds[0].say("mail", "mail-2", status="sent")
            feeds[0].say("provider", "sendgrid")
            for number in range(500):
                feeds[0].say("attempt", "mail-1", n=number, detail="x" * 50)
            heard = [(await asyncio.wait_for(news.get(), 20)).data["n"] for _ in range(500)]

        assert heard == list(range(500))
        assert news.empty()
