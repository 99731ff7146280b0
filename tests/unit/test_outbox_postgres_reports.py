"""Reports on PostgreSQL: several processes that write about the same people at the same time."""

from __future__ import annotations

import asyncio
import random

from mailsvc.address import Mailbox
from mailsvc.model import Report, ReportType
from mailsvc.outbox.postgres import PostgresOutbox
from mailsvc.suppression import Reason, Suppression
from tests.contract.samples import NOW, addition, beginning, settlement, store
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import opened

PEOPLE = [f"p{number:02}@example.com" for number in range(40)]


async def test_processes_that_learn_about_the_same_people_do_not_wait_for_each_other_for_ever(
    postgres: PostgresServer,
) -> None:
    rng = random.Random(7)
    reports = list[Report]()

    async def fold(outbox: PostgresOutbox) -> int:
        number = 0
        while folded := await outbox.fold(40, NOW + 100):
            number += len(folded)
        return number

    async def put(outbox: PostgresOutbox) -> None:
        for _ in range(60):
            some = rng.sample(PEOPLE, 30)
            await outbox.suppressions.put([Suppression(each, Reason.MANUAL, "api", NOW, NOW + 1) for each in some])

    url = postgres.create()
    async with opened(url) as one, opened(url) as two:
        for _ in range(40):
            some = rng.sample(PEOPLE, 8)
            (mail_id,) = await store(one, addition(to=tuple(map(Mailbox, some))))
            await one.begin([beginning(mail_id)])
            await one.settle([settlement(mail_id, provider="alpha")])
            for person in some:
                event = f"{mail_id} {person}"
                told = Report(
                    ReportType.BOUNCED, NOW + 50, "alpha", event, mail_id=mail_id, recipient=person, permanent=True
                )
                reports.append(told)
        rng.shuffle(reports)
        await one.report(reports, NOW + 60)

        folded = await asyncio.gather(fold(one), fold(two), fold(two))
        await asyncio.gather(put(one), put(two), put(two), put(one))

    # Without an order, PostgreSQL ends some of them after a second: StorageUnavailable.
    assert sum(folded) == len(reports)
