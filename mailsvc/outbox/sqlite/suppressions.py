"""The suppression list: what is on it, what reports put on it, and who is left out because of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import orjson

from ...errors import StorageUnavailable
from ...model import Report, Status
from ...suppression import SOFT_FOR, SOFT_LIMIT, WHY, Lesson, Reason, Suppression, lesson
from .engine import Engine, Transaction
from .events import INSERT_EVENT
from .reads import json_array

ANY = "SELECT EXISTS (SELECT 1 FROM suppression)"
PUT = """
INSERT INTO suppression (address, reason, source, created_at, expires_at, mail_id) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (address) DO UPDATE SET reason = excluded.reason, source = excluded.source,
    created_at = excluded.created_at, expires_at = excluded.expires_at, mail_id = excluded.mail_id
"""
REMOVE = "DELETE FROM suppression WHERE address = ?"
COLUMNS = "address, reason, source, created_at, expires_at, mail_id"
LIST = f"SELECT {COLUMNS} FROM suppression WHERE address > ? ORDER BY address LIMIT ?"  # noqa: S608 - a constant
AMONG = f"""
SELECT {COLUMNS} FROM suppression
WHERE address IN (SELECT value FROM json_each(?)) AND (expires_at IS NULL OR expires_at > ?)
"""  # noqa: S608 - a constant

# CROSS JOIN: from the mails to their recipients, and from these to the list.
HITS = """
SELECT recipient.mail, position, recipient.address, reason
FROM json_each(?) AS wanted CROSS JOIN mail ON mail.number = wanted.value AND NOT ignore_suppression
CROSS JOIN recipient ON recipient.mail = mail.number AND recipient.status IS NULL
CROSS JOIN suppression ON suppression.address = recipient.address
    AND (suppression.expires_at IS NULL OR suppression.expires_at > ?)
"""
LEAVE_OUT = "UPDATE recipient SET status = 'suppressed' WHERE mail = ? AND position = ?"
NOBODY_LEFT = "SELECT NOT EXISTS (SELECT 1 FROM recipient WHERE mail = ? AND role = 'to' AND status IS NULL)"
STATUS = "SELECT status, created_at FROM mail WHERE number = ?"
FORGET_PAYLOADS = "DELETE FROM payload WHERE mail = ?"
# A mail in doubt may have arrived, so that it stays in doubt.
END = """
UPDATE mail SET status = iif(status = 'uncertain', status, 'suppressed'), due_at = NULL, claimable_at = NULL,
    error = ?, updated_at = ? WHERE number = ?
"""

NOTE_SOFT = "INSERT INTO soft_bounce (address, mail) VALUES (?, ?) ON CONFLICT DO NOTHING"
SOFT = "SELECT count(*) FROM soft_bounce WHERE address = ?"
FORGET_SOFT = "DELETE FROM soft_bounce WHERE address = ?"
LEARN = """
INSERT INTO suppression (address, reason, source, created_at, expires_at, mail_id) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (address) DO UPDATE SET reason = excluded.reason, source = excluded.source,
    created_at = excluded.created_at, expires_at = excluded.expires_at, mail_id = excluded.mail_id
WHERE suppression.expires_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class _Removal:
    address: str


class SqliteSuppressions:
    """A SuppressionStore (see suppression.py)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put(self, entries: Sequence[Suppression]) -> None:
        """See SuppressionStore."""
        for result in await self._engine.write(_put, list(entries)) if entries else ():
            if isinstance(result, Exception):
                raise StorageUnavailable("the suppression list could not be written") from result

    async def remove(self, address: str) -> bool:
        """See SuppressionStore."""
        (removed,) = await self._engine.write(_remove, [_Removal(address)])
        if isinstance(removed, Exception):
            raise removed
        return removed

    async def list(self, after: str, limit: int) -> Sequence[Suppression]:
        """See SuppressionStore."""
        return await self._engine.run(partial(_select, LIST, (after, limit)))

    async def among(self, addresses: Sequence[str], now: float) -> Mapping[str, Suppression]:
        """See SuppressionStore."""
        wanted = orjson.dumps(list(addresses)).decode()
        found = await self._engine.run(partial(_select, AMONG, (wanted, now)))
        return {each.address.lower(): each for each in found}


def _select(sql: str, values: tuple[object, ...], connection: sqlite3.Connection) -> list[Suppression]:
    return [Suppression(*row) for row in connection.execute(sql, values)]


def _values(entry: Suppression) -> tuple[object, ...]:
    return entry.address.lower(), str(entry.reason), entry.source, entry.created_at, entry.expires_at, entry.mail_id


def _put(transaction: Transaction, entries: Sequence[Suppression]) -> list[Exception | None]:
    transaction.connection.executemany(PUT, map(_values, entries))
    return [None] * len(entries)


def _remove(transaction: Transaction, removals: Sequence[_Removal]) -> list[bool | Exception]:
    connection = transaction.connection
    for each in removals:
        connection.execute(FORGET_SOFT, (each.address,))
    return [connection.execute(REMOVE, (each.address,)).rowcount == 1 for each in removals]


def leave_out(transaction: Transaction, numbers: Sequence[int], now: float) -> set[int]:
    """Leave out the recipients of these mails who are on the list. The mails that go to nobody any more."""
    connection = transaction.connection
    if not numbers or not connection.execute(ANY).fetchone()[0]:
        return set()
    hits = connection.execute(HITS, (json_array(numbers), now)).fetchall()
    for number, position, address, reason in hits:
        connection.execute(LEAVE_OUT, (number, position))
        connection.execute(INSERT_EVENT, (number, "suppressed", now, None, address, reason))
    ended = set()
    for number in {row[0] for row in hits}:
        if connection.execute(NOBODY_LEFT, (number,)).fetchone()[0]:
            before, created_at = connection.execute(STATUS, (number,)).fetchone()
            connection.execute(END, (WHY, now, number))
            if before != Status.UNCERTAIN:
                connection.execute(FORGET_PAYLOADS, (number,))
                transaction.move(created_at, Status(before), Status.SUPPRESSED)
            ended.add(number)
    return ended


def learn(connection: sqlite3.Connection, mail: int, mail_id: str, address: str, report: Report, now: float) -> None:
    """What a report about this recipient of a mail means for the list. An entry for good stays as it is."""
    means, address = lesson(report), address.lower()
    if means is Lesson.GOOD:
        connection.execute(FORGET_SOFT, (address,))
    elif means is Lesson.BAD:
        connection.execute(LEARN, (address, Reason.BOUNCE.value, report.provider, now, None, mail_id))
    elif means is Lesson.ANNOYED:
        connection.execute(LEARN, (address, Reason.COMPLAINT.value, report.provider, now, None, mail_id))
    elif means is Lesson.WEAK:
        connection.execute(NOTE_SOFT, (address, mail))
        if connection.execute(SOFT, (address,)).fetchone()[0] >= SOFT_LIMIT:
            ends = now + SOFT_FOR
            connection.execute(LEARN, (address, Reason.SOFT_BOUNCES.value, report.provider, now, ends, mail_id))
            connection.execute(FORGET_SOFT, (address,))
