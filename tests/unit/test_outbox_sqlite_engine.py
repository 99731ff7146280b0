"""The engine below the SQLite outbox: its thread, its shared commits, its errors, its log of writes."""

import asyncio
import inspect
import logging
import os
import sqlite3
import threading
from pathlib import Path

import aiosqlite
import pytest

from mailsvc.addition import Added
from mailsvc.errors import StorageBroken, StorageUnavailable
from mailsvc.listing import Page
from mailsvc.model import Outcome, Status
from mailsvc.outbox.sqlite.trouble import storage_trouble
from mailsvc.outbox.sqlite.wal import CUT, KEEP
from tests.contract.samples import NOW, addition, beginning, mail, settlement, shown, start, status, store
from tests.unit.outbox_sqlite import parts

MIB = 1 << 20


def test_aiosqlite_still_has_the_call_that_runs_a_whole_function_in_its_thread() -> None:
    assert inspect.iscoroutinefunction(aiosqlite.Connection._execute)
    assert isinstance(inspect.getattr_static(aiosqlite.Connection, "_conn"), property)


async def test_a_function_runs_in_the_connections_thread_with_the_connection_itself(tmp_path: Path) -> None:
    async with parts(tmp_path / "outbox.db") as (_, engine):
        connection, thread = await engine.run(lambda connection: (connection, threading.get_ident()))

    assert isinstance(connection, sqlite3.Connection)
    assert thread != threading.get_ident()


async def test_no_content_of_a_mail_gets_into_the_log_of_aiosqlite(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "aiosqlite")
    async with parts(tmp_path / "outbox.db") as (outbox, _):
        await store(outbox, addition(content="CANARY", subject="CANARY"))

    assert caplog.records
    assert "CANARY" not in caplog.text


async def test_writes_of_the_same_moment_share_one_commit(tmp_path: Path) -> None:
    async with parts(tmp_path / "outbox.db") as (outbox, engine):
        ids = await start(outbox, *(addition() for _ in range(3)))
        commits: list[str] = []
        await engine.run(lambda connection: connection.set_trace_callback(commits.append))
        await asyncio.gather(
            *(outbox.settle([settlement(mail_id)]) for mail_id in ids),
            *(outbox.add([addition()]) for _ in range(3)),
            outbox.claim(1, NOW, 60),
        )
        await engine.run(lambda connection: connection.set_trace_callback(None))

    assert [sql for sql in commits if sql.startswith(("BEGIN", "COMMIT", "ROLLBACK"))] == ["BEGIN IMMEDIATE", "COMMIT"]


async def test_a_faulty_row_in_a_shared_commit_fails_alone_and_is_not_counted(tmp_path: Path) -> None:
    async with parts(tmp_path / "outbox.db") as (outbox, _):
        ids = await start(outbox, addition(), addition())
        results = await asyncio.gather(
            outbox.settle([settlement(ids[0])]),
            outbox.add([addition(subject="\ud800"), addition()]),
            outbox.settle([settlement(ids[1])]),
        )
        counts = await outbox.counts()

    assert (results[0], results[2]) == ([True], [True])
    assert [type(result) for result in results[1]] == [UnicodeEncodeError, Added]
    assert (counts[Status.SENT], counts[Status.QUEUED], counts[Status.SENDING]) == (2, 1, 0)


async def test_a_full_disk_stops_new_mails_but_not_the_results_of_old_ones(tmp_path: Path) -> None:
    async with parts(tmp_path / "outbox.db") as (outbox, engine):
        ids = await start(outbox, *(addition() for _ in range(3)))
        await engine.run(lambda connection: connection.execute("PRAGMA max_page_count = 1"))  # no more than there are
        big = addition(content="x" * 100_000)
        results = await asyncio.gather(
            *(outbox.settle([settlement(mail_id)]) for mail_id in ids), outbox.add([big]), return_exceptions=True
        )
        await engine.run(lambda connection: connection.execute("PRAGMA max_page_count = 1000000"))

        assert results[:3] == [[True]] * 3
        assert isinstance(results[3], StorageUnavailable)
        assert "disk is full" in str(results[3])
        assert isinstance((await outbox.add([big]))[0], Added)


async def test_an_almost_full_disk_takes_no_new_mails_and_everything_else(tmp_path: Path) -> None:
    async with parts(tmp_path / "outbox.db") as (outbox, _):
        (mail_id,) = await store(outbox)
    async with parts(tmp_path / "outbox.db", reserve=1 << 60) as (outbox, _):
        with pytest.raises(StorageUnavailable, match="almost full"):
            await outbox.add([addition()])
        with pytest.raises(StorageUnavailable, match="almost full"):
            await outbox.ping()
        (claimed,) = await outbox.claim(1, NOW, 60)
        await outbox.begin([beginning(claimed.id)])

        assert await outbox.settle([settlement(mail_id)]) == [True]


async def test_another_programs_lock_is_waited_for_in_the_thread_and_then_reported(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)
    async with parts(tmp_path / "outbox.db") as (outbox, engine):
        await engine.run(lambda connection: connection.executescript("PRAGMA busy_timeout = 200"))
        other.execute("BEGIN IMMEDIATE")
        adding = asyncio.create_task(outbox.add([addition()]))
        turns = 0
        while not adding.done():
            await asyncio.sleep(0.01)
            turns += 1
        other.execute("ROLLBACK")

        with pytest.raises(StorageUnavailable, match="another program holds a lock"):
            await adding
        assert turns > 5
        assert isinstance((await outbox.add([addition()]))[0], Added)
    other.close()


async def test_a_database_that_has_become_read_only_is_unavailable_and_can_be_read(tmp_path: Path) -> None:
    async with parts(tmp_path / "outbox.db") as (outbox, engine):
        (mail_id,) = await store(outbox)
        await engine.run(lambda connection: connection.executescript("PRAGMA query_only = ON"))

        with pytest.raises(StorageUnavailable, match="read-only"):
            await outbox.add([addition()])
        assert await status(outbox, mail_id) is Status.QUEUED


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("SQLITE_IOERR_FSYNC", StorageBroken),
        ("SQLITE_IOERR_DIR_FSYNC", StorageBroken),
        ("SQLITE_CORRUPT", StorageBroken),
        ("SQLITE_CORRUPT_INDEX", StorageBroken),
        ("SQLITE_NOTADB", StorageBroken),
        ("SQLITE_FULL", StorageUnavailable),
        ("SQLITE_IOERR_WRITE", StorageUnavailable),
        ("SQLITE_IOERR_READ", StorageUnavailable),
        ("SQLITE_BUSY", StorageUnavailable),
        ("SQLITE_BUSY_SNAPSHOT", StorageUnavailable),
        ("SQLITE_LOCKED", StorageUnavailable),
        ("SQLITE_READONLY_DBMOVED", StorageUnavailable),
        ("SQLITE_CANTOPEN", StorageUnavailable),
        ("SQLITE_CONSTRAINT_UNIQUE", None),
        ("SQLITE_ERROR", None),
        ("SQLITE_MISMATCH", None),
    ],
)
def test_each_error_of_sqlite_has_its_consequence(code: str, kind: type[Exception] | None) -> None:
    error = sqlite3.DatabaseError("said SQLite")
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, code), code
    trouble = storage_trouble(error)

    assert type(trouble) is (kind or type(None))
    assert trouble is None or code in str(trouble)


def test_a_lack_of_memory_is_trouble_of_the_store_and_a_faulty_value_is_not() -> None:
    assert isinstance(storage_trouble(MemoryError()), StorageUnavailable)
    assert storage_trouble(ValueError("U+0000")) is None


async def test_the_log_stays_short_under_load_and_is_cut_in_a_quiet_moment(tmp_path: Path) -> None:
    log = tmp_path / "outbox.db-wal"
    async with parts(tmp_path / "outbox.db") as (outbox, _):
        sizes = []
        for _ in range(40):
            await store(outbox, *(addition(content="x" * 100_000) for _ in range(10)))
            sizes.append(log.stat().st_size)
        database = (tmp_path / "outbox.db").stat().st_size
        await outbox.tidy(NOW)

        assert max(sizes) < CUT + 4 * MIB
        assert database > 25 * MIB
        assert log.stat().st_size <= KEEP


async def test_a_reader_that_does_not_end_neither_blocks_writes_nor_tidying(tmp_path: Path) -> None:
    log = tmp_path / "outbox.db-wal"
    async with parts(tmp_path / "outbox.db") as (outbox, engine):
        await store(outbox)
        reader = sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM mail").fetchone()
        for _ in range(30):
            await store(outbox, *(addition(content="x" * 100_000) for _ in range(10)))
        steps: list[str] = []
        await engine.run(lambda connection: connection.set_trace_callback(steps.append))
        await outbox.tidy(NOW)
        await engine.run(lambda connection: connection.set_trace_callback(None))
        held = log.stat().st_size
        reader.execute("COMMIT")
        reader.close()
        await outbox.tidy(NOW)

        assert seen == (1,)
        assert held > 20 * MIB
        assert steps[-3:] == [
            "PRAGMA busy_timeout = 0",  # so that it does not wait
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "PRAGMA busy_timeout = 2000",
        ]
        assert log.stat().st_size <= KEEP


async def test_a_close_leaves_one_file_with_everything_in_it(tmp_path: Path) -> None:
    async with parts(tmp_path / "outbox.db") as (outbox, _):
        await store(outbox, addition(), addition())
    left = sorted(os.listdir(tmp_path))
    content = sqlite3.connect(f"file:{tmp_path}/outbox.db?mode=ro", uri=True)
    mails = content.execute("SELECT count(*) FROM mail").fetchone()
    content.close()

    assert mails == (2,)
    assert left == ["outbox.db", "outbox.db.lock"]


@pytest.mark.parametrize("size", [10, 20_000])
async def test_nothing_of_the_body_of_a_sensitive_mail_stays_in_the_file(tmp_path: Path, size: int) -> None:
    secret = "the code is 493-112"
    async with parts(tmp_path / "outbox.db") as (outbox, _):
        ids = await start(outbox, addition(sensitive=True, content=secret + "x" * size), addition())
        await outbox.settle([settlement(mail_id) for mail_id in ids])

    assert secret.encode() not in (tmp_path / "outbox.db").read_bytes()


async def test_counts_are_what_counting_would_give(tmp_path: Path) -> None:
    async with parts(tmp_path / "outbox.db") as (outbox, engine):
        ids = await start(outbox, *(addition() for _ in range(5)))
        await outbox.settle([settlement(mail_id) for mail_id in ids[:3]])
        await outbox.add([addition(due_at=NOW + 5), addition(subject="\x00")])
        await outbox.recover(NOW, 60)
        counted = await engine.run(
            lambda connection: dict(connection.execute("SELECT status, count(*) FROM mail GROUP BY status").fetchall())
        )

        assert {each.value: number for each, number in (await outbox.counts()).items() if number} == counted
        assert len((await outbox.list(Page(status=Status.UNCERTAIN))).records) == 2


async def test_a_result_that_comes_after_a_report_leaves_what_the_report_said(tmp_path: Path) -> None:
    async with parts(tmp_path / "outbox.db") as (outbox, engine):
        (mail_id,) = await start(outbox)
        await engine.run(lambda connection: connection.execute("UPDATE mail SET status = 'delivered'"))
        applied = await outbox.settle([settlement(mail_id)])
        record = await shown(outbox, mail_id)

    assert applied == [True]
    assert (record.status, record.attempts[0].outcome) == (Status.DELIVERED, Outcome.ACCEPTED)


async def test_a_mail_of_a_megabyte_and_fifty_recipients_is_stored_whole(tmp_path: Path) -> None:
    people = tuple(mail().to[0] for _ in range(50))
    async with parts(tmp_path / "outbox.db") as (outbox, _):
        big = addition(content="é" * MIB, to=people)
        await store(outbox, big)

        assert await outbox.mail(big.mail.id) == big.mail


async def test_a_log_that_cannot_be_cut_takes_no_new_mails_until_it_can(tmp_path: Path) -> None:
    async with parts(tmp_path / "outbox.db", longest_log=5 * MIB) as (outbox, _):
        (mail_id,) = await store(outbox)
        await outbox.tidy(NOW)
        reader = sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM mail").fetchone()
        large = [addition(content="x" * 100_000) for _ in range(100)]
        await store(outbox, *large)
        for call in (outbox.add([addition()]), outbox.ping()):
            with pytest.raises(StorageUnavailable, match="keeps reading"):
                await call
        (claimed,) = await outbox.claim(1, NOW, 60)
        await outbox.begin([beginning(claimed.id)])
        settled = await outbox.settle([settlement(mail_id)])
        reader.close()

        assert settled == [True]
        assert isinstance((await outbox.add([addition()]))[0], Added)
        await outbox.ping()
