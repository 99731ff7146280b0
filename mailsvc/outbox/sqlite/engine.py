"""The one connection to the file: its thread, commits, checkpoints and errors. No statement of mails but their tally.

Writes that arrive while a commit runs share the next one, so that many mails cost one fsync.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import aiosqlite
import structlog

from ...batcher import Batcher
from ...errors import StorageBroken, StorageUnavailable
from ...hours import hour_of
from ...model import Status
from . import tally
from .file import DatabaseFile
from .trouble import disk_full, storage_trouble
from .wal import WriteAheadLog

T = TypeVar("T")
R = TypeVar("R")

MAX_JOBS = 256  # in one commit
log = structlog.get_logger("mailsvc.outbox")


@dataclass(slots=True)
class Transaction:
    """What a work function writes with. `moved` says by how many mails each status grows with the commit, by hour."""

    connection: sqlite3.Connection
    moved: Counter[tuple[int, Status]]

    def move(self, created_at: float, old: Status | None, new: Status | None) -> None:
        """Note that a mail went from one status to another; None for a mail that is new, or deleted."""
        hour = hour_of(created_at)
        if old is not None:
            self.moved[hour, old] -= 1
        if new is not None:
            self.moved[hour, new] += 1


# A work function runs in the connection's thread and gives a result for each row. It may be run again after a
# rollback, with all its rows or with one of them, so it changes nothing but the database and `moved`.
Work = Callable[[Transaction, Sequence[T]], Sequence[R | Exception]]


@dataclass(frozen=True, slots=True)
class _Job:
    run: Callable[[Transaction, bool], None]
    durable: bool


class Engine:
    """Reads and writes through one connection. `counts` is how many mails are in each status, as of the last commit."""

    def __init__(self, connection: aiosqlite.Connection, file: DatabaseFile) -> None:
        self.counts: Counter[Status] = Counter()
        self._connection = connection
        self._file = file
        self._commits = Batcher[_Job, None](self._commit, MAX_JOBS, "outbox commit")
        self._checkpointing: asyncio.Task[None] | None = None
        self._closed = False
        self._broken: StorageBroken | None = None
        self._durable = True
        self._log = WriteAheadLog(file)

    @classmethod
    async def open(cls, file: DatabaseFile, prepare: Callable[[sqlite3.Connection], Mapping[Status, int]]) -> Engine:
        """Connect and run `prepare`, which gives the counts. When that raises, nothing is left open."""
        try:
            connection = await aiosqlite.connect(file.path, isolation_level=None, cached_statements=256)
        except sqlite3.Error as error:
            raise storage_trouble(error) or error from error
        engine = cls(connection, file)
        try:
            engine.counts.update(await engine.run(prepare))
        except BaseException:
            await connection.close()
            raise
        return engine

    async def run(self, function: Callable[[sqlite3.Connection], R]) -> R:
        """Run a function on the connection, in its thread: one trip, however many statements.

        Every use of the connection comes by here, and here SQLite's errors become those of mailsvc.
        """
        if self._closed:
            raise StorageUnavailable("the outbox is closed")
        if self._broken is not None:
            raise self._broken
        try:
            # aiosqlite's public calls are a trip to its thread for each statement (50 to 130 µs); only this one takes
            # a function. The function has no arguments, since aiosqlite writes those into its log at level DEBUG.
            return await self._connection._execute(lambda: function(self._connection._conn))  # type: ignore[no-any-return,no-untyped-call]
        except (sqlite3.Error, MemoryError) as error:
            trouble = self._trouble(error)
            if trouble is None:
                raise
            raise trouble from error

    async def write(self, work: Work[T, R], rows: Sequence[T], *, durable: bool = True) -> list[R | Exception]:
        """Run a work function in the next commit: all or nothing for each row.

        Without `durable` the commit may be lost with the machine's power, but not with the process.
        """
        results: list[R | Exception] = []

        def run(transaction: Transaction, careful: bool) -> None:
            results[:] = one_by_one(work, transaction, rows) if careful else work(transaction, rows)

        await self._commits(_Job(run, durable))
        return results

    async def checkpoint(self, *, quiet: bool = False, clean: bool = False) -> None:
        """Copy the log into the database file. In a quiet moment, give most of its room on the disk back, too.

        `clean`: nothing of it stays.
        """
        await self.run(lambda connection: self._log.checkpoint(connection, quiet=quiet, clean=clean))

    async def close(self) -> None:
        """Finish the writes that wait, then close the connection. May be called again."""
        try:
            await self._commits.close()
            if self._checkpointing is not None:
                await asyncio.wait([self._checkpointing])
        finally:
            if not self._closed:
                self._closed = True
                await self._connection.close()  # ends its thread, which would keep the process alive

    async def _commit(self, jobs: Sequence[_Job]) -> Sequence[Exception | None]:
        results = await self.run(lambda connection: self._transact(connection, jobs))
        if self._log.due and self._checkpointing is None:
            # After the answers, so that only the next commit waits for it.
            self._checkpointing = asyncio.create_task(self._checkpoint_between(), name="outbox checkpoint")
        return results

    async def _checkpoint_between(self) -> None:
        try:
            await self.checkpoint()
        except StorageUnavailable as error:
            log.warning("checkpoint_failed", error=str(error))
        finally:
            self._checkpointing = None

    def _transact(self, connection: sqlite3.Connection, jobs: Sequence[_Job]) -> Sequence[Exception | None]:
        """One commit for all jobs. When a row is at fault, all is done again row by row."""
        try:
            self._once(connection, jobs, careful=False)
        except Exception as error:
            if disk_full(error) and len(jobs) > 1:
                # What writes little, such as a result, may still fit where a new mail does not.
                return [self._alone(connection, job) for job in jobs]
            if storage_trouble(error) is not None:
                raise
            self._once(connection, jobs, careful=True)
        return [None] * len(jobs)

    def _alone(self, connection: sqlite3.Connection, job: _Job) -> Exception | None:
        """The job's own trouble, not raised: the jobs before it are committed."""
        if self._broken is not None:
            return self._broken
        try:
            self._transact(connection, [job])
        except Exception as error:
            return self._trouble(error) or error
        return None

    def _once(self, connection: sqlite3.Connection, jobs: Sequence[_Job], *, careful: bool) -> None:
        self._set_durable(connection, any(job.durable for job in jobs))
        before = connection.total_changes
        transaction = Transaction(connection, Counter())
        connection.execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                job.run(transaction, careful)
            tally.add(connection, transaction.moved)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        for (_, status), number in transaction.moved.items():
            self.counts[status] += number
        self._log.note(connection.total_changes - before)

    def _set_durable(self, connection: sqlite3.Connection, durable: bool) -> None:
        if durable is not self._durable:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable

    def _trouble(self, error: BaseException) -> StorageUnavailable | None:
        trouble = storage_trouble(error)
        if isinstance(trouble, StorageBroken) and self._broken is None:
            self._broken = trouble
            self._file.suspect = True
        return trouble


def one_by_one(work: Work[T, R], transaction: Transaction, rows: Sequence[T]) -> list[R | Exception]:
    """Run a work function for each row by itself: what one of them did before its error is taken back."""
    results: list[R | Exception] = []
    for row in rows:
        moved = transaction.moved.copy()
        transaction.connection.execute("SAVEPOINT one_row")
        try:
            results += work(transaction, [row])
        except Exception as error:
            if storage_trouble(error) is not None:
                raise
            transaction.connection.execute("ROLLBACK TO one_row")
            transaction.moved = moved
            results.append(error)
        transaction.connection.execute("RELEASE one_row")
    return results
