"""The suppression list: what is on it, what reports put on it, and who is left out because of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg

from ...model import Mail, Report
from ...suppression import SOFT_FOR, SOFT_LIMIT, WHY, Lesson, Reason, Suppression, lesson
from .batch import as_uuid, columns, storable
from .server import Server
from .tally import TALLY

COLUMNS = "address, reason, source, created_at, expires_at, mail_id"
_PUT = f"""
INSERT INTO suppression ({COLUMNS})
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::float8[], $6::text[])
ON CONFLICT (address) DO UPDATE SET reason = excluded.reason, source = excluded.source,
    created_at = excluded.created_at, expires_at = excluded.expires_at, mail_id = excluded.mail_id
"""  # noqa: S608 - a constant
PUT = f"{_PUT} RETURNING 1"
# What stands there for good stays.
LEARN = f"{_PUT} WHERE suppression.expires_at IS NOT NULL"
REMOVE = """
WITH forgotten AS (DELETE FROM soft_bounce WHERE address = $1)
DELETE FROM suppression WHERE address = $1 RETURNING 1
"""
LIST = f"SELECT {COLUMNS} FROM suppression WHERE address > $1 ORDER BY address LIMIT $2"  # noqa: S608 - a constant
AMONG = f"""
SELECT {COLUMNS} FROM suppression WHERE address = ANY($1) AND (expires_at IS NULL OR expires_at > $2)
"""  # noqa: S608 - a constant

# A mail in doubt may have arrived, so that it stays in doubt.
LEAVE_OUT = f"""
WITH was AS (
    SELECT id, status FROM mail WHERE id = ANY($1) AND NOT ignore_suppression AND NOT running ORDER BY id FOR UPDATE
), hit AS (
    SELECT recipient.mail, position, recipient.address, reason
    FROM was JOIN recipient ON recipient.mail = was.id AND recipient.status IS NULL
    JOIN suppression ON suppression.address = lower(recipient.address) AND (expires_at IS NULL OR expires_at > $2)
), marked AS (
    UPDATE recipient SET status = 'suppressed' FROM hit
    WHERE recipient.mail = hit.mail AND recipient.position = hit.position
), events AS (
    INSERT INTO event (mail, type, at, recipient, detail) SELECT mail, 'suppressed', $2, address, reason FROM hit
), left_over AS (
    SELECT DISTINCT recipient.mail FROM recipient
    WHERE recipient.mail IN (SELECT mail FROM hit) AND role = 'to' AND status IS NULL
        AND (recipient.mail, position) NOT IN (SELECT mail, position FROM hit)
), ended AS (
    UPDATE mail SET status = CASE was.status WHEN 'uncertain' THEN was.status ELSE 'suppressed' END,
        due_at = NULL, claimable_at = NULL, error = $3, updated_at = $2
    FROM was WHERE mail.id = was.id AND was.id IN (SELECT mail FROM hit)
        AND was.id NOT IN (SELECT mail FROM left_over)
        AND was.status IN ('scheduled', 'queued', 'uncertain')
    RETURNING mail.id, was.status AS before, mail.created_at
), forgotten AS (
    DELETE FROM payload USING ended WHERE payload.mail = ended.id AND before <> 'uncertain'
), moves AS (
    SELECT moved.*, created_at FROM ended, LATERAL (VALUES (before, -1), ('suppressed', 1)) AS moved (status, number)
    WHERE before <> 'uncertain'
), {TALLY}
SELECT hit.mail, hit.address, ended.id IS NOT NULL AS ended FROM hit LEFT JOIN ended ON ended.id = hit.mail
"""  # noqa: S608 - a constant

FORGET_SOFT = "DELETE FROM soft_bounce WHERE address = $1"
NOTE_SOFT = "INSERT INTO soft_bounce (address, mail) VALUES ($1, $2) ON CONFLICT DO NOTHING"
SOFT = "SELECT count(*) FROM soft_bounce WHERE address = $1"


class PostgresSuppressions:
    """A SuppressionStore (see suppression.py)."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def put(self, entries: Sequence[Suppression]) -> None:
        """See SuppressionStore."""
        # The last one of an address counts; one statement can put it only once. In their order, as in inbox.py.
        rows = [row for _, row in sorted({entry[0]: entry for entry in map(_values, entries)}.items())]
        await self._server.run(lambda: self._server.fetch(PUT, *columns(rows, 6)))

    async def remove(self, address: str) -> bool:
        """See SuppressionStore."""
        removed = await self._server.run(lambda: self._server.fetch(REMOVE, address.lower()))
        return bool(removed)

    async def list(self, after: str, limit: int) -> Sequence[Suppression]:
        """See SuppressionStore."""
        return [Suppression(*row) for row in await self._server.look(LIST, after.lower(), limit)]

    async def among(self, addresses: Sequence[str], now: float) -> Mapping[str, Suppression]:
        """See SuppressionStore."""
        rows = await self._server.look(AMONG, [address.lower() for address in addresses], now)
        return {each.address: each for each in (Suppression(*row) for row in rows)}


def _values(entry: Suppression) -> tuple[str, *tuple[object, ...]]:
    storable(entry.address, entry.source, entry.mail_id)
    times = (entry.created_at, entry.expires_at)
    return entry.address.lower(), str(entry.reason), entry.source, *times, entry.mail_id


async def leave_out(server: Server, mails: Sequence[UUID | None], now: float) -> Sequence[Sequence[Any]]:
    """Leave out recipients who are on the list: mail and address, and whether that mail goes to nobody now."""
    return await server.fetch(LEAVE_OUT, mails, now, WHY)


async def leave_out_of(server: Server, mails: Sequence[Mail], now: float) -> list[Mail]:
    """Claimed mails without the recipients who are on the list, and without those that go to nobody any more."""
    found = await server.run(lambda: leave_out(server, [as_uuid(mail.id) for mail in mails], now))
    hits = {(str(mail), address.lower()) for mail, address, _ in found}
    ended = {str(mail) for mail, _, ended in found if ended}
    return [_without(mail, hits) for mail in mails if mail.id not in ended]


def _without(mail: Mail, hits: set[tuple[str, str]]) -> Mail:
    roles = {"to": mail.to, "cc": mail.cc, "bcc": mail.bcc}
    left: dict[str, Any] = {
        role: tuple(box for box in boxes if (mail.id, box.address.lower()) not in hits) for role, boxes in roles.items()
    }
    return replace(mail, **left)


async def learn(connection: asyncpg.Connection, mail: UUID, address: str, report: Report, now: float) -> None:
    """What a report about this recipient of a mail means for the list."""
    means, address = lesson(report), address.lower()
    if means is Lesson.GOOD:
        await connection.execute(FORGET_SOFT, address)
    elif means in (Lesson.BAD, Lesson.ANNOYED):
        reason = Reason.BOUNCE if means is Lesson.BAD else Reason.COMPLAINT
        await _put(connection, Suppression(address, reason, report.provider, now, None, str(mail)))
    elif means is Lesson.WEAK:
        await connection.execute(NOTE_SOFT, address, mail)
        if await connection.fetchval(SOFT, address) >= SOFT_LIMIT:
            ends = now + SOFT_FOR
            await _put(connection, Suppression(address, Reason.SOFT_BOUNCES, report.provider, now, ends, str(mail)))
            await connection.execute(FORGET_SOFT, address)


async def _put(connection: asyncpg.Connection, entry: Suppression) -> None:
    await connection.execute(LEARN, *columns([_values(entry)], 6))
