"""The callbacks and their notices. Who writes most notices is a trigger, see the migration."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import orjson

from ...callback import (
    PATIENCE,
    Backlog,
    Callback,
    Ending,
    Notice,
    Off,
    Replay,
    Secret,
    State,
    Told,
    Try,
    new_notice_id,
)
from ...errors import Conflict
from .engine import Engine, Transaction

R = TypeVar("R")

STEP = 500  # notices at a time, so that nobody waits long

COLUMNS = "id, url, events, description, secrets, created_at, version, disabled_at, disabled_why, failing_since"
INSERT = f"INSERT INTO callback ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608
CHANGE = """
UPDATE callback SET url = ?, events = ?, description = ?, secrets = ?, version = version + 1
WHERE id = ? AND version = ? AND removed_at IS NULL
"""
SWITCH = (
    "UPDATE callback SET disabled_at = ?, disabled_why = ?, failing_since = NULL WHERE id = ? AND removed_at IS NULL"
)
REMOVE = "UPDATE callback SET removed_at = ? WHERE id = ? AND removed_at IS NULL"
ALL = f"SELECT {COLUMNS} FROM callback WHERE removed_at IS NULL ORDER BY created_at, id"  # noqa: S608 - a constant

NOTICE = """number, id, callback, type, at, mail, provider, provider_message_id, error,
    tags, metadata, state, due_at, rung, tries"""
TELL = "INSERT INTO notice (id, callback, type, at, due_at, claimable_at) VALUES (?1, ?2, ?3, ?4, ?4, ?4)"
CLAIM = f"""
UPDATE notice SET claimable_at = ?1 WHERE number IN
    (SELECT number FROM notice WHERE callback = ?2 AND claimable_at <= ?3 ORDER BY claimable_at LIMIT ?4)
RETURNING {NOTICE}
"""  # noqa: S608 - a constant
END = """
UPDATE notice SET state = ?1, due_at = ?2, claimable_at = ?2, rung = rung + 1, tries = ?3
WHERE number = ?4 AND tries = ?3 - 1 AND state = 'waiting'
"""
INSERT_TRY = "INSERT INTO notice_try VALUES (?, ?, ?, ?, ?, ?)"
NOTE_SUCCESS = "UPDATE callback SET failing_since = NULL WHERE id = ? AND failing_since IS NOT NULL"
NOTE_FAILURE = "UPDATE callback SET failing_since = ? WHERE id = ? AND failing_since IS NULL"
SWITCH_OFF = """
UPDATE callback SET disabled_at = ?1, disabled_why = ?2
WHERE id = ?3 AND disabled_at IS NULL AND removed_at IS NULL AND (?2 = 'gone' OR failing_since <= ?1 - ?4)
"""
RELEASE = "UPDATE notice SET due_at = ?1, claimable_at = ?1 WHERE id = ?2 AND claimable_at IS NOT NULL"

LOG = f"""
SELECT {NOTICE} FROM notice WHERE callback = ?1 AND (?2 IS NULL OR state = ?2)
    AND (?3 IS NULL OR (at, number) < (SELECT at, number FROM notice WHERE id = ?3 AND callback = ?1))
ORDER BY at DESC, number DESC LIMIT ?4
"""  # noqa: S608 - a constant
FIND = f"SELECT {NOTICE} FROM notice WHERE callback = ? AND id = ?"  # noqa: S608 - a constant
TRIES = "SELECT n, at, took, http_status, error FROM notice_try WHERE notice = ? ORDER BY n"
AGAIN = "UPDATE notice SET state = 'waiting', due_at = ?1, claimable_at = ?1, rung = 0 WHERE state <> 'waiting' AND "
REPLAY_ONE = f"{AGAIN} callback = ?2 AND id = ?3"
REPLAY_SOME = f"{AGAIN} number IN (SELECT value FROM json_each(?2))"  # noqa: S608 - a constant
IN_RANGE = """
SELECT at, number FROM notice WHERE callback = ?1 AND (at, number) > (?2, ?3) AND at < ?4 AND state <> 'waiting'
    AND (?5 IS NULL OR state = ?5)
ORDER BY at, number LIMIT ?6
"""
BACKLOG = """
SELECT callback, count(*), min(claimable_at) FROM notice
WHERE claimable_at IS NOT NULL AND callback IN (SELECT id FROM callback WHERE removed_at IS NULL) GROUP BY callback
"""
KNOWN = "SELECT id, disabled_at IS NOT NULL, removed_at IS NOT NULL FROM callback"
FORGET = """
DELETE FROM notice WHERE number IN (SELECT number FROM notice
    WHERE callback = ?1 AND (?4 OR at < ?2) AND (?3 OR state <> 'waiting') ORDER BY at LIMIT ?5)
"""
FORGET_CALLBACK = "DELETE FROM callback WHERE id = ? AND NOT EXISTS (SELECT 1 FROM notice WHERE callback = callback.id)"


@dataclass(frozen=True, slots=True)
class Claim:
    """Up to so many notices of each callback, for `lease` seconds."""

    rooms: Mapping[str, int]
    now: float
    lease: float


class SqliteCallbacks:
    """A CallbackStore (see callback.py). What only risks that a notice is told twice is not synced."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def add(self, callback: Callback) -> None:
        """See CallbackStore."""
        rest = (callback.created_at, callback.version, callback.disabled_at, callback.disabled_why)
        values = (callback.id, *_settings(callback), *rest, callback.failing_since)
        if not await self._write(lambda connection: connection.execute(INSERT, values).rowcount):
            raise Conflict(f"there is a callback {callback.id} already")

    async def change(self, callback: Callback) -> bool:
        """See CallbackStore."""
        values = (*_settings(callback), callback.id, callback.version)
        return await self._write(lambda connection: connection.execute(CHANGE, values).rowcount == 1)

    async def switch(self, id: str, disabled_at: float | None) -> bool:  # noqa: A002 - the field's own name
        """See CallbackStore."""
        why = None if disabled_at is None else Off.HAND.value
        return await self._write(lambda connection: connection.execute(SWITCH, (disabled_at, why, id)).rowcount == 1)

    async def remove(self, id: str, now: float) -> bool:  # noqa: A002 - the field's own name
        """See CallbackStore."""
        return await self._write(lambda connection: connection.execute(REMOVE, (now, id)).rowcount == 1)

    async def all(self) -> Sequence[Callback]:
        """See CallbackStore."""
        return await self._engine.run(lambda connection: [_callback(*row) for row in connection.execute(ALL)])

    async def tell(self, id: str, type: str, now: float) -> str:  # noqa: A002 - the fields' own names
        """See CallbackStore."""
        notice_id = new_notice_id()
        await self._write(lambda connection: connection.execute(TELL, (notice_id, id, type, now)).rowcount)
        return notice_id

    async def claim(self, rooms: Mapping[str, int], now: float, lease: float) -> Sequence[Notice]:
        """See CallbackStore."""
        return await self._write(partial(_claim, Claim(rooms, now, lease)), durable=False)

    async def end(self, endings: Sequence[Ending]) -> Sequence[str]:
        """See CallbackStore."""
        return await self._write(partial(_end, endings), durable=False)

    async def release(self, ids: Sequence[str], now: float) -> None:
        """See CallbackStore."""
        rows = [(now, each) for each in ids]
        await self._write(lambda connection: connection.executemany(RELEASE, rows).rowcount, durable=False)

    async def log(
        self,
        id: str,  # noqa: A002 - the field's own name
        limit: int,
        after: str | None = None,
        state: State | None = None,
    ) -> Sequence[Told]:
        """See CallbackStore."""
        values = (id, state and state.value, after, limit)
        return await self._engine.run(partial(_told, LOG, values))

    async def find(self, id: str, notice_id: str) -> Told | None:  # noqa: A002 - the field's own name
        """See CallbackStore."""
        found = await self._engine.run(partial(_told, FIND, (id, notice_id)))
        return found[0] if found else None

    async def replay(self, id: str, wanted: Replay, now: float) -> int:  # noqa: A002 - the field's own name
        """See CallbackStore. In steps, so that nobody waits long."""
        if wanted.id is not None:
            return await self._write(lambda connection: connection.execute(REPLAY_ONE, (now, id, wanted.id)).rowcount)
        last, total, more = (wanted.since, -1), 0, True
        while more:
            found = await self._write(partial(_replay, id, wanted, now, last))
            total, more = total + len(found), len(found) == STEP
            last = found[-1] if found else last
        return total

    async def backlog(self) -> Mapping[str, Backlog]:
        """See CallbackStore."""
        rows = await self._engine.run(lambda connection: connection.execute(BACKLOG).fetchall())
        return {callback: Backlog(number, oldest) for callback, number, oldest in rows}

    async def forget(self, before: float) -> bool:
        """See CallbackStore."""
        return await self._write(partial(_forget, before), durable=False)

    async def _write(self, work: Callable[[sqlite3.Connection], R], *, durable: bool = True) -> R:
        """Run one function in the next commit."""
        (result,) = await self._engine.write(_run, [work], durable=durable)
        if isinstance(result, Exception):
            raise result
        return result


def _run(transaction: Transaction, works: Sequence[Callable[[sqlite3.Connection], R]]) -> list[R | Exception]:
    return [work(transaction.connection) for work in works]


def _settings(callback: Callback) -> tuple[str, str, str, str]:
    secrets = orjson.dumps([(secret.text, secret.until) for secret in callback.secrets]).decode()
    return callback.url, orjson.dumps(callback.events).decode(), callback.description, secrets


def _callback(
    callback_id: str, url: str, events: str, description: str, secrets: str, created: float, version: int,
    disabled_at: float | None, why: str | None, failing_since: float | None,
) -> Callback:  # fmt: skip
    known = tuple(Secret(*secret) for secret in orjson.loads(secrets))
    patterns, off = tuple(orjson.loads(events)), Off(why) if why else None
    rest = (version, disabled_at, off, failing_since)
    return Callback(callback_id, url, patterns, description, known, created, *rest)


def _notice(row: tuple[Any, ...]) -> Notice:
    tags, metadata, state = row[9:12]
    values = [*row[:9], tuple(orjson.loads(tags or "[]")), orjson.loads(metadata or "{}"), State(state), *row[12:]]
    return Notice(*values)


def _claim(claim: Claim, connection: sqlite3.Connection) -> list[Notice]:
    found: list[Notice] = []
    for callback_id, room in claim.rooms.items():
        values = (claim.now + claim.lease, callback_id, claim.now, max(0, room))
        found += sorted(map(_notice, connection.execute(CLAIM, values).fetchall()), key=lambda notice: notice.number)
    return found


def _end(endings: Sequence[Ending], connection: sqlite3.Connection) -> list[str]:
    off: list[str] = []
    for ending in endings:
        number, callback_id, done = ending.notice.number, ending.notice.callback, ending.done
        values = (ending.state.value, ending.due_at, done.n, number)
        if connection.execute(END, values).rowcount:
            connection.execute(INSERT_TRY, (number, done.n, done.at, done.took, done.http_status, done.error))
        if done.error is None:
            connection.execute(NOTE_SUCCESS, (callback_id,))
            continue
        connection.execute(NOTE_FAILURE, (done.at, callback_id))
        why = Off.GONE if ending.gone else Off.FAILING
        if connection.execute(SWITCH_OFF, (done.at, why.value, callback_id, PATIENCE)).rowcount:
            off.append(callback_id)
    return off


def _told(sql: str, values: tuple[object, ...], connection: sqlite3.Connection) -> list[Told]:
    notices = [_notice(row) for row in connection.execute(sql, values).fetchall()]
    return [Told(each, tuple(Try(*row) for row in connection.execute(TRIES, (each.number,)))) for each in notices]


def _replay(
    callback_id: str, wanted: Replay, now: float, last: tuple[float, int], connection: sqlite3.Connection
) -> list[tuple[float, int]]:
    values = (callback_id, *last, wanted.until, wanted.state and wanted.state.value, STEP)
    found: list[tuple[float, int]] = connection.execute(IN_RANGE, values).fetchall()
    numbers = orjson.dumps([number for _, number in found]).decode()
    connection.execute(REPLAY_SOME, (now, numbers))
    return found


def _forget(before: float, connection: sqlite3.Connection) -> bool:
    more = False
    for callback_id, disabled, removed in connection.execute(KNOWN).fetchall():
        values = (callback_id, before, disabled or removed, removed, STEP)
        more |= connection.execute(FORGET, values).rowcount == STEP
        if removed:
            connection.execute(FORGET_CALLBACK, (callback_id,))
    return more
