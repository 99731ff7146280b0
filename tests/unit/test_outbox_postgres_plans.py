"""What the outbox costs the server: how statements find their rows, how many there are; and that counts are right."""

import asyncio
import importlib
import itertools
import pkgutil
import random
import re
import time

from mailsvc.hours import HOUR, Hour
from mailsvc.model import Outcome, Status
from mailsvc.outbox import postgres as package
from mailsvc.outbox.postgres import PostgresOutbox, accept, deliver, inbox, leases, renewal, tally
from mailsvc.outbox.postgres.server import SETTINGS
from tests.contract.samples import NOW, addition, beginning, failure, settlement, start, store
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import opened, session

SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")


def statements() -> dict[str, str]:
    """Every statement of the outbox, by where it is: whoever writes a new one does not have to think of this test."""
    names = [f"{package.__name__}.{each.name}" for each in pkgutil.iter_modules(package.__path__)]
    return {
        f"{module.__name__.rpartition('.')[2]} {name}": value
        for module in (package, *map(importlib.import_module, names))
        for name, value in vars(module).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, str) and SQL.match(value)
    }


STATEMENTS = statements()
KEYS = itertools.count()
# Reads of what the statement itself has, not of a table; and of tables that have a few rows, whatever they are asked:
# for each provider, process, connection, callback or API key one or some.
SMALL = "provider|agreement|process|tally|callback|api_key|schema_version"
HARMLESS = re.compile(rf"(CTE|Function|Subquery|Values) Scan|Seq Scan on ({SMALL})( |$)")
INDEXED = re.compile(rf"Index .*Scan .*on (?!({SMALL}|pg_\w+)( |$))")  # in tables that grow


async def test_plans_made_for_empty_tables_go_by_indexes(postgres: PostgresServer) -> None:
    url = postgres.create()
    reading, joining = dict[str, list[str]](), dict[str, list[str]]()
    async with opened(url), session(url) as other:
        for setting, value in SETTINGS.items():
            await other.execute(f"SET {setting} = '{value}'")
        await other.execute("SET plan_cache_mode = force_generic_plan")
        for number, (name, sql) in enumerate(STATEMENTS.items()):
            nulls = ", ".join("NULL" for _ in (await other.prepare(sql)).get_parameters())
            await other.execute(f"PREPARE planned_{number} AS {sql}")
            execute = f"EXECUTE planned_{number} {f'({nulls})' if nulls else ''}"
            plan = [row[0] for row in await other.fetch(f"EXPLAIN (COSTS OFF) {execute}")]
            scans = [line for line in plan if "Scan" in line and "Index" not in line and not HARMLESS.search(line)]
            if scans:
                reading[name] = scans
            joins = re.findall(r"Hash Join|Merge Join|Materialize", "\n".join(plan))
            if joins and any(map(INDEXED.search, plan)):
                joining[name] = joins

    assert len(STATEMENTS) > 90
    assert (reading, joining) == ({}, {})


async def test_a_claim_reads_no_more_of_the_due_mails_than_it_takes(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as outbox, session(url) as other:
        for _ in range(10):
            await store(outbox, *(addition() for _ in range(500)))
        for setting, value in SETTINGS.items():
            await other.execute(f"SET {setting} = '{value}'")
        plan = await other.fetch(
            f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {deliver.CLAIM}", NOW, time.time(), 10, 60.0, 1, 0, 2
        )

    claimable, *others = [row[0] for row in plan if "mail_claimable" in row[0]]
    assert "actual rows=10 " in claimable
    assert not any("actual rows=10 " in other for other in others)


async def test_what_expires_is_found_in_its_index(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as outbox, session(url) as other:
        await store(outbox, *(addition() for _ in range(500)))
        for setting, value in SETTINGS.items():
            await other.execute(f"SET {setting} = '{value}'")
        plan = await other.fetch(f"EXPLAIN (COSTS OFF) {renewal.EXPIRE}", NOW, 100, "why", "why")

    assert any("mail_expires" in row[0] for row in plan)


async def life(outbox: PostgresOutbox, mails: int) -> None:
    """From acceptance to the end, all at once."""
    ids = await store(outbox, *(addition(key=f"key {next(KEYS)}") for _ in range(mails)))
    await outbox.claim(mails, NOW, 60)
    await outbox.begin([beginning(mail_id) for mail_id in ids])
    await outbox.settle([settlement(mail_id) for mail_id in ids])
    await outbox.renew(ids, NOW)
    await outbox.recover(NOW, 60)


async def test_one_method_sends_one_statement_however_many_rows(postgres: PostgresServer) -> None:
    sent: list[str] = []
    async with opened(postgres.create()) as outbox:
        await life(outbox, 1)  # the first time, asyncpg asks for the types
        async with outbox._server._pool.acquire() as connection:
            connection.add_query_logger(lambda record: sent.append(record.query))
        await life(outbox, 50)

    assert sent == [accept.ADD, deliver.CLAIM, deliver.BEGIN, deliver.SETTLE, leases.RENEW, leases.RECOVER]


async def test_counts_are_right_after_many_processes_moved_many_mails_at_once(postgres: PostgresServer) -> None:
    url = postgres.create()
    rng = random.Random(5)
    async with opened(url, lease=5.0) as one, opened(url, lease=5.0) as other:
        clock = itertools.count(int(NOW))

        async def work(outbox: PostgresOutbox) -> None:
            for _ in range(12):
                now = float(next(clock))
                await store(outbox, *(addition(due_at=NOW + rng.choice([-1, 40])) for _ in range(5)))
                ids = [mail.id for mail in await outbox.claim(7, now, 5)]
                begun = await outbox.begin([beginning(mail_id, at=now) for mail_id in ids])
                going = [mail_id for mail_id, refusal in zip(ids, begun, strict=True) if refusal is None]
                ends = [{"status": Status.UNCERTAIN, "outcome": Outcome.UNANSWERED}, {"status": Status.FAILED}, {}]
                await outbox.settle([settlement(mail_id, **rng.choice(ends)) for mail_id in going[:4]])
                await outbox.settle([failure(mail_id, ended_at=now) for mail_id in going[4:5]])
                await outbox.recover(now, 60)

        await asyncio.gather(*(work(outbox) for outbox in (one, other) * 4))
        counts = {status: number for status, number in (await one.counts()).items() if number}
        async with session(url) as third:
            truth = dict(await third.fetch("SELECT status, count(*) FROM mail GROUP BY status"))

    assert counts == truth
    assert len(truth) >= 4


async def test_tidying_adds_up_what_connections_that_are_gone_have_counted(postgres: PostgresServer) -> None:
    url = postgres.create()
    counts = []
    async with opened(url) as outbox, session(url) as other:
        await store(outbox)
        for _ in range(3):
            for _ in range(2):
                async with opened(url) as short:
                    await start(short, addition())
            counts.append(await outbox.counts())
            while await other.fetchval("SELECT count(DISTINCT connection) FROM tally") > 2:
                await outbox.tidy(NOW)
            counts.append(await outbox.counts())
        rows = await other.fetch("SELECT status, number FROM tally WHERE connection = 0")

    assert [count[Status.SENDING] for count in counts] == [2, 2, 4, 4, 6, 6]
    assert [count[Status.QUEUED] for count in counts] == [1] * 6
    assert dict(rows)["sending"] == 6


async def test_tidying_adds_up_the_hours_that_are_long_past(postgres: PostgresServer) -> None:
    url, past = postgres.create(), NOW - 9 * HOUR
    async with opened(url) as one, opened(url) as two, session(url) as other:
        await store(one, *(addition(past, created_at=past) for _ in range(3)), addition())
        await store(two, *(addition(past, created_at=past) for _ in range(4)))
        before = await one.hours(past, NOW)
        await one.tidy(NOW)
        after = await two.hours(past, NOW)
        rows = await other.fetch("SELECT hour - $1, connection = 0 FROM hourly ORDER BY 1", int(NOW // HOUR))

    assert before == after == [Hour(past, {Status.QUEUED: 7}), Hour(NOW, {Status.QUEUED: 1})]
    assert [tuple(row) for row in rows] == [(-9, True), (0, False)]


async def test_there_are_never_less_mails_than_none(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as outbox, session(url) as other:
        (mail_id,) = await start(outbox, addition())
        await other.execute("DELETE FROM hourly")  # as if a process of an earlier version had done that
        await outbox.settle([settlement(mail_id)])
        hours = await outbox.hours(NOW, NOW)

    assert hours == [Hour(NOW, {Status.SENT: 1})]


def test_every_statement_that_moves_mails_keeps_the_counts() -> None:
    moving = [accept.ADD, accept.ADD_AGAIN, deliver.CLAIM, deliver.BEGIN, deliver.SETTLE, leases.RECOVER, inbox.MERGE]
    moving += [accept.ADD_BATCH, accept.ADD_BATCH_AGAIN, renewal.RETRY, renewal.EXPIRE]

    assert all(tally.TALLY in sql for sql in moving)
