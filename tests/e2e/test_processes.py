"""Several processes on one PostgreSQL: what one learns of a provider, and says of a mail, holds for all."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.e2e.process import Mailsvc
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider
from tests.postgres import PostgresServer


async def provider(service: Mailsvc, name: str = "sendgrid") -> dict[str, object]:
    """A provider, as this process shows it."""
    _, _, rows = await service.call("GET", "/providers")
    return next(dict(row) for row in rows if row["name"] == name)


async def shows(service: Mailsvc, state: str) -> None:
    """Wait until this process shows sendgrid in a state."""
    while (await provider(service))["state"] != state:
        await asyncio.sleep(0.02)


@pytest.mark.gen_test(timeout=115)
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

        for _ in range(3):
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
