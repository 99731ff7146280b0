"""The outbox in one SQLite file, owned by one process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, BinaryIO, TypeVar

import orjson

from ...access import ApiKey
from ...addition import Added, Addition, Batch
from ...attempt import Beginning, Settlement
from ...errors import StorageBroken, StorageUnavailable
from ...hours import Hour, hour_of
from ...listing import Listing, Page
from ...model import LANES, Attachment, Mail, Priority, Record, Report, Resolution, Status
from ...moves import Moves
from ..base import Change, Erasure, Extent, Folded
from . import accept, copying, deliver, inbox, keys, lists, moved, reads, renewal, retention, tally
from .callbacks import SqliteCallbacks
from .engine import Engine, Transaction
from .file import DatabaseFile
from .schema import prepare
from .suppressions import SqliteSuppressions
from .templates import SqliteTemplates

R = TypeVar("R")

# Bytes of the disk that no new mail may take: what is in the outbox already needs them to be sent and written down.
RESERVE = 1 << 20
LONGEST_LOG = 256 << 20  # bytes; it grows as long as another program reads, and must not fill the disk
SAVE_PROVIDER = "INSERT INTO provider VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state"


class SqliteOutbox:
    """An Outbox (see base.py). Methods that run at the same time may share one commit; each is still all or nothing."""

    shared = False
    council = None
    lease = 86_400.0  # a claim ends with the process, which owns the file alone

    def __init__(
        self, file: DatabaseFile, engine: Engine, reserve: int = RESERVE, longest_log: int = LONGEST_LOG
    ) -> None:
        self._file, self._engine, self._reserve, self._longest_log = file, engine, reserve, longest_log
        self.callbacks = SqliteCallbacks(engine)
        self.suppressions = SqliteSuppressions(engine)
        self.templates = SqliteTemplates(engine)

    @classmethod
    async def open(cls, path: str, lock_wait: float = 0.0) -> SqliteOutbox:
        """Own the file, making it if it is missing, and bring its schema up to date.

        Raises OwnedByAnother when another process still has it after `lock_wait` seconds, ConfigError for a file that
        cannot be used, StorageBroken for one that is damaged.
        """
        file = DatabaseFile(path)
        await file.acquire(lock_wait)
        try:
            file.create()
            engine = await Engine.open(file, partial(set_up, file=file))
        except BaseException:
            file.release()
            raise
        file.suspect = False
        return cls(file, engine)

    async def recover(self, now: float, on_uncertain_after: float) -> list[str]:
        """See Outbox."""
        return _only(await self._engine.write(deliver.recover, [deliver.Recovery(now, now + on_uncertain_after)]))

    async def renew(self, ids: Sequence[str], now: float) -> None:
        """See Outbox. Nothing is lost to others: there are none."""

    def listen(self, heard: Callable[[Change], None]) -> None:
        """See Outbox. Nothing is heard of others: there are none."""

    async def add(self, additions: Sequence[Addition]) -> list[Added | Exception]:
        """See Outbox."""
        await self._shorten_log()
        self._admit(additions)
        return await self._engine.write(accept.add, additions)

    async def add_batch(self, batch: Batch) -> str:
        """See Outbox."""
        await self._shorten_log()
        self._admit(batch.additions)
        return _only(await self._engine.write(accept.add_batch, [batch]))

    async def first_answer(self, owner: str, key: str, fingerprint: str) -> Added | str | None:
        """See Outbox."""
        return await self._engine.run(lambda connection: accept.first_answer(connection, owner, key, fingerprint))

    async def claim(self, room: int, now: float, lease: float, lanes: Sequence[Priority] = LANES) -> list[Mail]:
        """See Outbox. Not synced: after a loss of power the mails are due again, which is true."""
        return _only(await self._engine.write(deliver.claim, [deliver.Claim(room, now, lease, lanes)], durable=False))

    async def begin(self, beginnings: Sequence[Beginning]) -> list[Exception | None]:
        """See Outbox."""
        return await self._engine.write(deliver.begin, beginnings)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool | Exception]:
        """See Outbox."""
        return await self._engine.write(deliver.settle, settlements)

    async def release(self, ids: Sequence[str], due_at: float) -> None:
        """See Outbox. Not synced, as a claim is not."""
        await self._engine.write(deliver.release, [deliver.Release(each, due_at) for each in ids], durable=False)

    async def retry(self, ids: Sequence[str], now: float) -> list[bool]:
        """See Outbox."""
        return [
            done is True for done in await self._engine.write(renewal.retry, [renewal.Retry(each, now) for each in ids])
        ]

    async def expire(self, now: float) -> list[tuple[str, Status]]:
        """See Outbox. Looks first, since mostly there is nothing to write."""
        if not await self._engine.run(lambda connection: connection.execute(renewal.OVER, (now, 1)).fetchall()):
            return []
        return _only(await self._engine.write(renewal.expire, [now]))

    async def report(self, reports: Sequence[Report], now: float) -> list[bool | Exception]:
        """See Outbox."""
        return await self._engine.write(inbox.keep, [inbox.Received(each, now) for each in reports])

    async def fold(self, room: int, now: float) -> list[Folded]:
        """See Outbox."""
        return _only(await self._engine.write(inbox.fold, [inbox.Due(room, now)]))

    async def get(self, id: str, owner: str | None = None) -> Record | None:  # noqa: A002 - the field's own name
        """See Outbox."""
        return await self._engine.run(lambda connection: reads.get(connection, id, owner))

    async def mail(self, id: str) -> Mail | None:  # noqa: A002 - the field's own name
        """See Outbox."""
        return await self._engine.run(lambda connection: reads.mail(connection, id))

    async def attachments(self, id: str) -> Sequence[Attachment]:  # noqa: A002 - the field's own name
        """See Outbox."""
        return await self._engine.run(lambda connection: reads.attachments(connection, id))

    async def list(self, page: Page) -> Listing:
        """See Outbox."""
        return await self._engine.run(lambda connection: lists.page(connection, page))

    async def moved(self, since: float, limit: int) -> Moves:
        """See Outbox."""
        return await self._engine.run(lambda connection: moved.moved(connection, since, limit))

    async def counts(self) -> dict[Status, int]:
        """See Outbox. No trip to the connection."""
        return {status: self._engine.counts[status] for status in Status}

    async def hours(self, since: float, until: float) -> Sequence[Hour]:
        """See Outbox."""
        return await self._engine.run(lambda connection: tally.hours(connection, since, until))

    async def doubts(self) -> dict[tuple[str, Resolution | None], int]:
        """See Outbox."""
        return await self._engine.run(reads.doubts)

    async def extent(self, now: float) -> Extent:
        """See Outbox."""
        due, size = await self._engine.run(reads.extent)
        oldest = due if due is not None and due <= now else None
        return Extent(oldest, size, self._file.log_bytes(), self._file.room())

    async def copy(self) -> BinaryIO:
        """See Outbox. Lies beside the database, without a name as soon as it is complete."""
        size = (await self.extent(0.0)).bytes or 0
        if self._file.room() < self._reserve + size:
            raise StorageUnavailable(f"the disk has no room for a copy of {size} bytes")
        return await asyncio.to_thread(copying.nameless, self._file.path)

    async def save_providers(self, states: Sequence[dict[str, Any]]) -> None:
        """See Outbox."""
        _only(await self._engine.write(_save_providers, [states], durable=False))

    async def load_providers(self) -> Sequence[dict[str, Any]]:
        """See Outbox."""
        return await self._engine.run(reads.providers)

    async def add_key(self, key: ApiKey) -> None:
        """See Outbox."""
        _only(await self._engine.write(keys.add, [key]))

    async def revoke_key(self, id: str, now: float) -> bool:  # noqa: A002 - the field's own name
        """See Outbox."""
        return _only(await self._engine.write(keys.revoke, [keys.Revocation(id, now)]))

    async def keys(self) -> Sequence[ApiKey]:
        """See Outbox."""
        return await self._engine.run(keys.keys)

    async def ping(self) -> None:
        """See Outbox."""
        await self._shorten_log()
        self._admit(())
        await self._engine.write(_nothing, [None], durable=False)

    async def tidy(self, now: float) -> bool:
        """See Outbox. Gives the room of a long log back, too."""
        more = _only(await self._engine.write(accept.forget_keys, [now], durable=False))
        more |= _only(await self._engine.write(inbox.forget, [now], durable=False))
        await self._engine.write(_forget_hours, [now], durable=False)
        if not more:
            await self._engine.checkpoint(quiet=True)
        return more

    async def forget(self, now: float, bodies_before: float, mails_before: float) -> bool:
        """See Outbox."""
        limits = retention.Limits(now, bodies_before, mails_before)
        return _only(await self._engine.write(retention.forget, [limits], durable=False))

    async def erase(self, address: str, now: float) -> Erasure:
        """See Outbox. Nothing of it stays in the log either, unless another program reads in it just now."""
        done = _only(await self._engine.write(retention.erase, [retention.Person(address, now)]))
        if not done.erased:
            await self._engine.checkpoint(clean=True)
        return done

    async def close(self) -> None:
        """See Outbox."""
        try:
            await self._engine.close()
        finally:
            self._file.release()

    async def _shorten_log(self) -> None:
        """What kept the log from being cut may be over."""
        if self._file.log_bytes() > self._longest_log:
            await self._engine.checkpoint(quiet=True)

    def _admit(self, additions: Sequence[Addition]) -> None:
        """A mail is written twice: to the log, then to the database."""
        if self._file.moved:
            raise StorageBroken(f"{self._file.path} was moved or deleted while it was in use")
        size = sum(addition.mail.size for addition in additions)
        if self._file.room() < self._reserve + 2 * size:
            raise StorageUnavailable("the disk is almost full: what is left is needed for the mails that wait")
        if self._file.log_bytes() > self._longest_log:
            raise StorageUnavailable("the write-ahead log is too long: another program keeps reading the database")


def set_up(connection: sqlite3.Connection, file: DatabaseFile) -> dict[Status, int]:
    """What an engine does first: the schema, then the counts."""
    prepare(connection, file)
    return tally.counts(connection)


def _save_providers(transaction: Transaction, rows: Sequence[Sequence[dict[str, Any]]]) -> list[None]:
    for states in rows:
        values = [(state["name"], orjson.dumps(state).decode()) for state in states]
        transaction.connection.executemany(SAVE_PROVIDER, values)
    return [None] * len(rows)


def _forget_hours(transaction: Transaction, times: Sequence[float]) -> list[None]:
    """Those without mails; not the last one, which is to be written again."""
    for now in times:
        transaction.connection.execute(tally.FORGET, (hour_of(now),))
    return [None] * len(times)


def _nothing(_: Transaction, rows: Sequence[None]) -> Sequence[None]:
    return rows


def _only(results: Sequence[R | Exception]) -> R:
    (result,) = results
    if isinstance(result, Exception):
        raise result
    return result
