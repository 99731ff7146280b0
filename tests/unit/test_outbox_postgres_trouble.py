"""What the outbox does when PostgreSQL is slow, full of others, restarted, gone, or cut off in mid-commit."""

import asyncio
import time
from dataclasses import replace

import asyncpg
import pytest

from mailsvc.addition import Added
from mailsvc.errors import Conflict, StorageBroken, StorageUnavailable
from mailsvc.listing import Page
from mailsvc.model import Event, Status
from mailsvc.outbox.postgres.trouble import Lost, storage_trouble
from tests.contract.samples import NOW, addition, beginning, failure, settlement, shown, start, status, store
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import Wire, opened, session


async def test_a_mail_whose_commit_got_no_answer_is_looked_up_and_there_once(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with Wire(postgres) as wire, opened(wire.url(url)) as outbox:
        await store(outbox)
        row, keyed = addition(), addition(key="k")
        wire.cut_answers = 1
        results = await outbox.add([row, keyed])
        listed, counts = (await outbox.list(Page())).records, await outbox.counts()
        again = await outbox.add([addition(key="k")])

    assert results == [Added(row.mail.id, Status.QUEUED, NOW), Added(keyed.mail.id, Status.QUEUED, NOW)]
    assert {record.id for record in listed} >= {row.mail.id, keyed.mail.id}
    assert (len(listed), counts[Status.QUEUED]) == (3, 3)
    assert again == [Added(keyed.mail.id, Status.QUEUED, NOW, replayed=True)]


async def test_a_mail_that_never_reached_the_server_is_sent_there_again(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with Wire(postgres) as wire, opened(wire.url(url)) as outbox:
        await store(outbox)
        row = addition()
        wire.cut_requests = 1
        results = await outbox.add([row])

        assert results == [Added(row.mail.id, Status.QUEUED, NOW)]
        assert await outbox.mail(row.mail.id) == row.mail


async def test_a_mail_whose_fate_cannot_be_found_out_is_not_said_to_be_stored(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with Wire(postgres) as wire, opened(wire.url(url), patience=0.3) as outbox:
        await store(outbox)
        row = addition(key="k")
        wire.down = True
        with pytest.raises(StorageUnavailable, match="whether this was stored is not known"):
            await outbox.add([row])
        wire.down = False
        (result,) = await outbox.add([addition(key="k")])

    assert isinstance(result, Added)


async def test_an_attempt_whose_beginning_got_no_answer_has_begun_once(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with Wire(postgres) as wire, opened(wire.url(url)) as outbox:
        await start(outbox)
        (mail_id,) = await store(outbox)
        wire.cut_answers = 1
        results = await outbox.begin([beginning(mail_id), beginning("unknown")])
        other = await outbox.begin([replace(beginning(mail_id), provider="beta", started_at=NOW + 1)])
        record = await shown(outbox, mail_id)

    assert [type(result) for result in results + other] == [type(None), Conflict, Conflict]
    assert [(attempt.n, attempt.provider) for attempt in record.attempts] == [(1, "alpha")]


async def test_an_attempt_that_another_process_began_meanwhile_is_not_taken_for_ones_own(
    postgres: PostgresServer,
) -> None:
    url = postgres.create()
    async with Wire(postgres) as wire, opened(wire.url(url)) as outbox, opened(url) as other:
        (mail_id,) = await start(outbox)
        await outbox.settle([failure(mail_id)])
        wire.down = True
        beginning_again = asyncio.create_task(outbox.begin([beginning(mail_id, 2)]))
        await asyncio.sleep(0.05)
        theirs = await other.begin([beginning(mail_id, 2, "beta", NOW + 1)])
        wire.down = False
        ours = await beginning_again

    assert [type(result) for result in theirs + ours] == [type(None), Conflict]


async def test_a_result_that_comes_after_a_cut_and_a_lease_is_late(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with Wire(postgres) as wire, opened(wire.url(url)) as outbox, opened(url) as other:
        warm, mail_id = await start(outbox, addition(), addition())
        await outbox.settle([settlement(warm)])
        wire.down = True
        settling = asyncio.create_task(outbox.settle([settlement(mail_id)]))
        await asyncio.sleep(0.05)
        doubtful = await other.recover(NOW + other.lease, 60)
        wire.down = False
        results = await settling
        record = await shown(other, mail_id)

    assert (doubtful, results, record.status) == ([mail_id], [False], Status.UNCERTAIN)
    assert [event.type for event in record.events] == ["uncertain", "late"]


async def test_a_result_that_got_no_answer_is_written_down_once(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with Wire(postgres) as wire, opened(wire.url(url)) as outbox:
        warm, sent, failed, waits = await start(outbox, *(addition() for _ in range(4)))
        await outbox.settle([settlement(warm)])
        await outbox.settle([failure(waits)])
        event = Event("stuck", NOW)
        wire.cut_answers = 1
        later = settlement(waits, 0, status=Status.QUEUED, due_at=NOW + 5, rounds=1)
        results = await outbox.settle([settlement(sent, events=(event,)), failure(failed), later])
        records = [await shown(outbox, mail_id) for mail_id in (sent, failed, waits)]
        counts = await outbox.counts()

    assert results == [True, True, True]
    assert [record.status for record in records] == [Status.SENT, Status.SENDING, Status.QUEUED]
    assert records[0].events == (event,)
    assert (counts[Status.SENT], counts[Status.SENDING], counts[Status.QUEUED]) == (2, 1, 1)


async def test_a_read_whose_connection_is_cut_is_read_again(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with Wire(postgres) as wire, opened(wire.url(url)) as outbox:
        (mail_id,) = await store(outbox)
        wire.cut_answers = 1

        assert await status(outbox, mail_id) is Status.QUEUED


async def test_a_server_that_crashes_and_comes_back_is_used_again_soon(postgres: PostgresServer) -> None:
    async with opened(postgres.create()) as outbox:
        ids = await start(outbox, addition(), addition())
        await outbox.settle([settlement(ids[0])])
        async with postgres.down("immediate"):
            began = time.monotonic()
            with pytest.raises(StorageUnavailable, match="PostgreSQL cannot be reached"):
                await outbox.add([addition()])
            refused_after = time.monotonic() - began
            with pytest.raises(StorageUnavailable):
                await outbox.ping()
        began = time.monotonic()
        await store(outbox)
        back_after = time.monotonic() - began
        states = [await status(outbox, mail_id) for mail_id in ids]
        await outbox.ping()

    assert states == [Status.SENT, Status.SENDING]
    assert (refused_after < 10, back_after < 20) == (True, True)  # at once, unless the machine is busy


async def test_a_crash_under_load_loses_nothing_that_was_said_to_be_stored(postgres: PostgresServer) -> None:
    async with opened(postgres.create(), patience=10) as outbox:
        stored: list[str] = []
        restarted = asyncio.Event()

        async def client() -> None:
            while not restarted.is_set():
                try:
                    stored.extend(await store(outbox))
                except StorageUnavailable:
                    await asyncio.sleep(0.01)

        clients = [asyncio.create_task(client()) for _ in range(8)]
        while len(stored) < 50:
            await asyncio.sleep(0.01)
        async with postgres.down("immediate"):
            pass
        before = len(stored)
        while len(stored) < before + 50:
            await asyncio.sleep(0.01)
        restarted.set()
        await asyncio.gather(*clients)
        found = [await outbox.get(mail_id) for mail_id in stored]
        counts = await outbox.counts()

    assert all(found)
    assert len(set(stored)) == len(stored)
    assert counts[Status.QUEUED] >= len(stored)


async def test_a_lock_of_another_program_and_a_pool_that_is_used_up_are_told_apart(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as outbox, session(url) as other:
        await store(outbox)
        async with other.transaction():
            await other.execute("LOCK TABLE mail IN ACCESS EXCLUSIVE MODE")
            calls = [outbox.get("01890000-0000-7000-8000-000000000000") for _ in range(7)]
            results = await asyncio.gather(*calls, return_exceptions=True)
        await outbox.ping()

    said = sorted(str(result) for result in results)
    assert {type(result) for result in results} == {StorageUnavailable}
    assert said[0] == "all 6 connections to PostgreSQL are busy"
    assert set(said[1:]) == {"another program holds a lock on the tables of mailsvc [55P03]"}


async def test_a_statement_that_takes_too_long_is_given_up_by_the_server(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as outbox:
        (limit,) = await outbox._server.look("SHOW statement_timeout")
        sleeping = asyncio.create_task(outbox._server.look("SELECT pg_sleep(50)"))
        async with session(url) as other:
            while not await other.fetchval(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(50)'"
            ):
                await asyncio.sleep(0.01)
        with pytest.raises(StorageUnavailable, match="took too long"):
            await sleeping

        assert limit[0] == "10s"
        assert (await outbox.list(Page())).records == []


async def test_a_database_that_has_become_read_only_takes_no_mail_and_can_be_read(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url, patience=0.2) as outbox, session(url) as other:
        (mail_id,) = await store(outbox)
        name = await other.fetchval("SELECT current_database()")
        await other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mailsvc'")
        with pytest.raises(StorageUnavailable, match="the database is read-only"):
            await outbox.add([addition()])
        with pytest.raises(StorageUnavailable, match="the database is read-only"):
            await outbox.ping()

        assert await status(outbox, mail_id) is Status.QUEUED


async def test_tables_that_are_gone_are_trouble_of_the_store(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as outbox, session(url) as other:
        await other.execute("DROP SCHEMA mailsvc CASCADE")

        with pytest.raises(StorageUnavailable, match="the tables of mailsvc are gone"):
            await outbox.add([addition()])


async def test_a_connection_that_an_administrator_ends_is_replaced(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as outbox, session(url) as other:
        for _ in range(3):
            await store(outbox)
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mailsvc'"
            )

        assert len((await outbox.list(Page())).records) == 3


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncpg.ConnectionDoesNotExistError, Lost),
        (asyncpg.AdminShutdownError, Lost),
        (asyncpg.CrashShutdownError, Lost),
        (TimeoutError, Lost),
        (ConnectionResetError, Lost),
        (asyncpg.CannotConnectNowError, StorageUnavailable),
        (asyncpg.TooManyConnectionsError, StorageUnavailable),
        (asyncpg.DiskFullError, StorageUnavailable),
        (asyncpg.OutOfMemoryError, StorageUnavailable),
        (asyncpg.QueryCanceledError, StorageUnavailable),
        (asyncpg.ReadOnlySQLTransactionError, StorageUnavailable),
        (asyncpg.DeadlockDetectedError, StorageUnavailable),
        (asyncpg.SerializationError, StorageUnavailable),
        (asyncpg.DataCorruptedError, StorageUnavailable),
        (asyncpg.PostgresIOError, StorageUnavailable),
        (MemoryError, StorageUnavailable),
        (asyncpg.UniqueViolationError, None),
        (asyncpg.NotNullViolationError, None),
        (asyncpg.DataError, None),
        (asyncpg.PostgresSyntaxError, None),
        (UnicodeEncodeError, None),
    ],
)
def test_each_error_is_trouble_of_the_store_or_a_fault_of_the_row(
    error: type[BaseException], kind: type[StorageUnavailable] | None
) -> None:
    raised = error("utf-8", "x", 0, 1, "why") if error is UnicodeEncodeError else error("why")
    trouble = storage_trouble(raised)

    assert (type(trouble) if trouble else None) is kind
    assert not isinstance(trouble, StorageBroken)
