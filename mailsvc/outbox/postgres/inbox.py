"""What providers tell: kept at once, and merged into the mails afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg

from ...errors import Conflict, StorageUnavailable
from ...merge import Known, Merged, Person, Told, merge
from ...model import Outcome, Report, ReportType, Status
from ..base import ERASED_ADDRESS, LOOK_AGAIN, NEWEST, Fate, Folded
from .batch import as_uuid, columns, harmless, in_waves, storable
from .server import Server
from .suppressions import learn
from .tally import TALLY
from .trouble import nothing_done, storage_trouble

STEP = 500  # rows forgotten at a time, so that nobody waits long

# A connection that was cut may have stored them before: then they are new all the same, by their time.
KEEP = """
WITH given AS (
    SELECT * FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::float8[], $9::text[],
        $10::text[], $11::text[], $12::text[]) WITH ORDINALITY
    AS given (provider, event, token, type, permanent, at, mail_id, message_id, recipient, detail, place)
), kept AS (
    INSERT INTO report (provider, event, token, type, permanent, at, received_at, mail_id, message_id, recipient,
        detail, due_at)
    SELECT provider, event, token, type, permanent, at, $2, mail_id, message_id, recipient, detail, $2
    FROM given ORDER BY place ON CONFLICT DO NOTHING RETURNING provider, event
)
SELECT provider, event, true AS new FROM kept
UNION ALL
SELECT provider, event, $1 AND report.received_at = $2 FROM given JOIN report USING (provider, event)
"""

STORED = """
SELECT provider, event FROM report WHERE (provider, event) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""

DUE = """
SELECT number, tries, mail, type, at, provider, event, mail_id, message_id, recipient, permanent, detail FROM report
WHERE due_at <= $1 ORDER BY due_at, number LIMIT $2 FOR UPDATE SKIP LOCKED
"""
FIND = """
SELECT number, coalesce((SELECT id FROM mail WHERE id = wanted), (
        SELECT mail.id FROM (SELECT DISTINCT mail FROM recipient WHERE lower(address) = lower(who COLLATE "C")
            ORDER BY mail DESC LIMIT $6) AS newest
        CROSS JOIN LATERAL (SELECT id FROM mail WHERE mail.id = newest.mail AND mail.provider = given.provider
            AND btrim(provider_message_id, '<>') = message_id OFFSET 0) AS mail LIMIT 1)) AS mail
FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[])
    AS given (number, wanted, provider, message_id, who)
"""
LOCK = "SELECT id FROM mail WHERE id = ANY($1) ORDER BY id FOR UPDATE"
# After the lock and by a statement of its own, so that it sees what the others have done who had it.
KNOWN = """
SELECT id, status, provider, provider_message_id, error,
    ARRAY(SELECT (position, address, status) FROM recipient WHERE recipient.mail = id ORDER BY position) AS people,
    ARRAY(SELECT (attempt.provider, outcome, resolved) FROM attempt WHERE attempt.mail = id ORDER BY n) AS tries,
    ARRAY(SELECT DISTINCT (report.provider, message_id, position, type, permanent) FROM report
        WHERE report.mail = mail.id) AS told,
    EXISTS (SELECT FROM event WHERE event.mail = id AND type = 'double') AS doubled
FROM mail WHERE id = ANY($1)
"""
MERGE = f"""
WITH given AS (
    SELECT * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[])
    AS given (mail, was, status, provider, provider_message_id, error, resolves)
), moved AS (
    UPDATE mail SET status = given.status, provider = given.provider, provider_message_id = given.provider_message_id,
        error = given.error, due_at = NULL, claimable_at = NULL,
        leased_until = CASE WHEN running THEN leased_until END,
        updated_at = CASE WHEN given.status = given.was THEN updated_at ELSE $1 END
    FROM given WHERE mail.id = given.mail RETURNING given.was, given.status, mail.created_at
), forgotten AS (
    DELETE FROM payload USING given WHERE payload.mail = given.mail
), resolved AS (
    UPDATE attempt SET resolved = 'report' FROM given
    WHERE attempt.mail = given.mail AND given.resolves
        AND outcome IN ('unanswered', 'interrupted') AND attempt.resolved IS NULL
), people AS (
    UPDATE recipient SET status = own.status FROM unnest($9::uuid[], $10::integer[], $11::text[])
        AS own (mail, position, status)
    WHERE recipient.mail = own.mail AND recipient.position = own.position
), events AS (
    INSERT INTO event (mail, type, at, provider, recipient, detail)
    SELECT mail, type, at, provider, recipient, detail
    FROM unnest($12::uuid[], $13::text[], $14::float8[], $15::text[], $16::text[], $17::text[])
        WITH ORDINALITY AS said (mail, type, at, provider, recipient, detail, place) ORDER BY place
), done AS (
    UPDATE report SET due_at = seen.due_at, tries = report.tries + seen.tries, mail = coalesce(seen.mail, report.mail),
        position = CASE WHEN seen.mail IS NULL THEN report.position ELSE seen.position END,
        recipient = CASE WHEN seen.mail IS NULL THEN recipient END,
        detail = CASE WHEN seen.mail IS NULL THEN detail END
    FROM unnest($18::bigint[], $19::float8[], $20::bigint[], $21::uuid[], $22::integer[])
        AS seen (number, due_at, tries, mail, position)
    WHERE report.number = seen.number
), moves AS (
    SELECT each.*, created_at FROM moved, LATERAL (VALUES (was, -1), (moved.status, 1)) AS each (status, number)
), {TALLY}
SELECT 1
"""  # noqa: S608 - a constant
PUT_OFF = "UPDATE report SET due_at = $2, tries = tries + 1 WHERE number = $1"
FORGET = """
DELETE FROM report WHERE number IN
    (SELECT number FROM report WHERE mail IS NULL AND received_at < $1 ORDER BY received_at LIMIT $2)
RETURNING 1
"""


@dataclass(slots=True)
class _Row:
    """A report that is due. `known` if it was merged into its mail before; `seen` is what becomes of the row."""

    number: int
    tries: int
    mail: UUID | None
    known: bool
    report: Report
    seen: tuple[float | None, int, UUID | None, int | None] = (None, 0, None, None)
    folded: Folded | None = None


async def keep(server: Server, reports: Sequence[Report], now: float) -> list[bool | Exception]:
    """Store reports that are new."""
    return await in_waves(reports, lambda each: f"{each.provider} {each.event}", partial(_keep, server, now))


async def _keep(server: Server, now: float, reports: Sequence[Report]) -> list[bool | Exception]:
    given = columns([_values(each) for each in reports], 10)
    rows = await server.settle(lambda again: server.fetch(KEEP, again, now, *given))
    found: dict[tuple[str, str], bool] = {}
    for provider, event, new in rows:
        found[provider, event] = found.get((provider, event), False) or new
    missing = [each for each in reports if (each.provider, each.event) not in found]
    if missing:
        # Another process stored them at this very moment: only a statement that begins later sees that.
        keys = columns([(each.provider, each.event) for each in missing], 2)
        found |= dict.fromkeys(await server.look(STORED, *keys), False)
    used = Conflict("this token was used for another report", "token_used")
    return [found.get((each.provider, each.event), used) for each in reports]


def _values(report: Report) -> tuple[object, ...]:
    storable(report.provider, report.event, report.token, report.mail_id, report.provider_message_id, report.recipient)
    about = (report.mail_id, report.provider_message_id, report.recipient, harmless(report.detail))
    said = (report.type.value, report.permanent, report.at)
    return report.provider, report.event, report.token, *said, *about


async def fold(server: Server, room: int, now: float) -> list[Folded]:
    """Merge what is due: all together, and if that is not to be, each report by itself."""
    try:
        return await server.run(lambda: server.transact(lambda connection: _fold(connection, room, now, _merge)))
    except StorageUnavailable:
        raise
    except Exception:  # one of them cannot be merged, for a reason nobody has thought of: find out which
        return await server.run(lambda: server.transact(lambda connection: _fold(connection, room, now, _one_by_one)))


async def _fold(
    connection: asyncpg.Connection,
    room: int,
    now: float,
    run: Callable[[asyncpg.Connection, Sequence[_Row], float], Awaitable[list[Folded]]],
) -> list[Folded]:
    rows = [_row(each) for each in await connection.fetch(DUE, now, room)]
    if not rows:
        return []
    await _find(connection, [row for row in rows if row.mail is None])
    await connection.fetch(LOCK, list({row.mail for row in rows if row.mail}))
    return await run(connection, rows, now)


async def _one_by_one(connection: asyncpg.Connection, rows: Sequence[_Row], now: float) -> list[Folded]:
    """What an unexpected error keeps from being merged is tried again later, and given up in the end."""
    folded: list[Folded] = []
    for row in rows:
        try:
            async with connection.transaction():
                folded += await _merge(connection, [row], now)
        except Exception as error:
            if nothing_done(error) or storage_trouble(error) is not None:
                raise
            again = row.tries < len(LOOK_AGAIN)
            await connection.execute(PUT_OFF, row.number, now + LOOK_AGAIN[row.tries] if again else None)
            folded.append(Folded(row.report, Fate.FAILED if again else Fate.GIVEN_UP, error=error))
    return folded


async def _merge(connection: asyncpg.Connection, rows: Sequence[_Row], now: float) -> list[Folded]:
    ids = list({row.mail for row in rows if row.mail})
    known = {each["id"]: _known(each) for each in await connection.fetch(KNOWN, ids)} if ids else {}
    merged = {mail: _into(known[mail], [row for row in rows if row.mail == mail], now) for mail in known}
    for row in rows:
        if row.folded is None:
            _put_off(row, now)
    await _write(connection, rows, known, merged, now)
    lessons = [
        (_address(known[row.mail], row.seen[3]), row.mail, row.report)
        for row in rows
        if row.mail and not row.known and row.seen[3] is not None
    ]
    # In the order of the addresses, as everybody who writes several of them, so that no two wait for each other.
    for address, mail, report in sorted(lessons, key=lambda each: each[0]):
        if address != ERASED_ADDRESS:
            await learn(connection, mail, address, report, now)
    return [row.folded for row in rows if row.folded]


def _address(known: Known, position: int) -> str:
    return next(each.address for each in known.people if each.position == position).lower()


def _row(values: Sequence[Any]) -> _Row:
    number, tries, mail, kind, at, provider, event, *rest = values
    return _Row(number, tries, mail, mail is not None, Report(ReportType(kind), at, provider, event, *rest))


async def _find(connection: asyncpg.Connection, rows: Sequence[_Row]) -> None:
    wanted = []
    for row in rows:
        report, told = row.report, row.report.mail_id
        names = (None, None) if told else (report.provider_message_id, report.recipient)
        wanted.append((row.number, as_uuid(told or ""), report.provider, *names))
    found = dict(await connection.fetch(FIND, *columns(wanted, 5), NEWEST))
    for row in rows:
        row.mail = found[row.number]


def _known(row: Mapping[str, Any]) -> Known:
    tries = [(name, outcome and Outcome(outcome), resolved) for name, outcome, resolved in row["tries"]]
    return Known(
        status=Status(row["status"]),
        people=[Person(position, address, own and Status(own)) for position, address, own in row["people"]],
        tries=[(name, outcome) for name, outcome, _ in tries],
        told=[
            Told(name, message, position, ReportType(kind), permanent)
            for name, message, position, kind, permanent in row["told"]
        ],
        provider=row["provider"],
        provider_message_id=row["provider_message_id"],
        in_doubt=any(outcome and outcome.maybe_sent and not resolved for _, outcome, resolved in tries),
        error=row["error"],
        doubled=row["doubled"],
        erased=ERASED_ADDRESS,
    )


def _into(known: Known, rows: Sequence[_Row], now: float) -> Merged:
    """Merge reports into their mail. Those that cannot be about it are left alone."""
    new = [row for row in rows if not row.known]
    merged = merge(known, [row.report for row in new], now)
    places = iter(merged.places)
    for number, row in enumerate(rows):
        place = None if row.known else next(places)
        if place is not None:
            row.seen = (None, 0, row.mail, place.position)
        if row.known or place is not None:
            doubled = merged.doubled and number == 0
            row.folded = Folded(row.report, Fate.MERGED, str(row.mail), known.status, merged.status, doubled)
    return merged


def _put_off(row: _Row, now: float) -> None:
    """No mail was found. One that our id does not find will not be there later either."""
    nameless = row.report.mail_id is None and row.report.recipient and row.report.provider_message_id
    if row.mail is None and nameless and row.tries < len(LOOK_AGAIN):
        row.seen = (now + LOOK_AGAIN[row.tries], 1, None, None)
        row.folded = Folded(row.report, Fate.WAITS)
    else:
        row.folded = Folded(row.report, Fate.UNMATCHED)


async def _write(
    connection: asyncpg.Connection,
    rows: Sequence[_Row],
    known: Mapping[UUID, Known],
    merged: Mapping[UUID, Merged],
    now: float,
) -> None:
    moves: list[tuple[object, ...]] = []
    for mail, what in merged.items():
        was, names = known[mail], (what.provider, harmless(what.provider_message_id))
        applied = any(place is not None for place in what.places)
        before = (was.status, was.provider, was.provider_message_id, False)
        if (what.status, *names, was.in_doubt and applied) != before:
            words = (was.status.value, what.status.value, *names, harmless(what.error))
            moves.append((mail, *words, was.in_doubt and applied))
    people = [(mail, place, own.value) for mail, what in merged.items() for place, own in what.people.items()]
    events = [
        (mail, each.type, each.at, each.provider, each.recipient, harmless(each.detail))
        for mail, what in merged.items()
        for each in what.events
    ]
    seen = [(row.number, *row.seen) for row in rows]
    values = (*columns(moves, 7), *columns(people, 3), *columns(events, 6), *columns(seen, 5))
    await connection.fetch(MERGE, now, *values)


async def forget(server: Server, before: float) -> bool:
    """Delete some of the reports that came before a time and are about no mail; True if there may be more."""
    return len(await server.run(lambda: server.fetch(FORGET, before, STEP))) == STEP
