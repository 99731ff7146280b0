"""Lists of mails: by which index a list goes, and how far."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...listing import WALK, Listing, Page
from ...model import first_id
from .reads import RECORD, build_records

# Numbers grow as ids do, if not to the second: clocks are set back, too.
SPREAD = 60.0
NUMBER = "SELECT number FROM mail WHERE id = ?"
FROM = "SELECT number FROM mail WHERE id >= ? ORDER BY id LIMIT 1"
BEFORE = "SELECT number FROM mail WHERE id < ? ORDER BY id DESC LIMIT 1"
LAST = 2**63 - 1
ID = "SELECT id FROM mail WHERE number = ?"
ID_OF = "SELECT id FROM mail INDEXED BY mail_owner WHERE owner = ? AND number >= ? ORDER BY number LIMIT 1"


@dataclass(frozen=True, slots=True)
class Way:
    """A filter, and the index that has its mails in the order of their numbers.

    `found` says of a mail that it passes the filter, where the list goes another way.
    """

    source: str
    number: str
    condition: str
    found: str
    values: Sequence[object]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The mails from the first number on, and before the last one."""

    first: int
    last: int


EVERY = Way("mail", "mail.number", "true", "true", ())


def page(connection: sqlite3.Connection, wanted: Page) -> Listing:
    """A list's records, newest first."""
    stretch = _stretch(connection, wanted)
    if stretch is None:
        return Listing([], None)
    way, floor = _way(connection, wanted, stretch)
    rows = connection.execute(*page_query(wanted, way, Stretch(max(floor, stretch.first), stretch.last))).fetchall()
    records = build_records(connection, rows[: wanted.limit])
    if len(rows) > wanted.limit:
        return Listing(records, records[-1].id)
    return Listing(records, _id(connection, floor, wanted.owner) if floor else None)


def page_query(wanted: Page, way: Way, stretch: Stretch) -> tuple[str, list[object]]:
    """The statement for one mail more than are wanted, and its values. It walks the way from the newest mail on.

    CROSS JOIN: from who or what is looked for to their mails, never the other way round.
    """
    values = [*way.values, stretch.first, stretch.last]
    where = [way.condition, f"{way.number} >= ?", f"{way.number} < ?"]
    for other in ways(wanted):
        if other != way:
            where.append(other.found)
            values += other.values
    for sign, at in ((">=", wanted.since), ("<", wanted.until)):
        if at is not None:
            where.append(f"mail.created_at {sign} ?")
            values.append(at)
    join = "" if way.number == EVERY.number else f" CROSS JOIN mail ON mail.number = {way.number}"
    once = f"GROUP BY {way.number}" if way.source == "recipient" else ""
    conditions = " AND ".join(where)
    sql = f"SELECT {RECORD} FROM {way.source}{join} WHERE {conditions} {once} ORDER BY {way.number} DESC LIMIT ?"  # noqa: S608 - no value
    return sql, [*values, wanted.limit + 1]


def floor_query(way: Way, stretch: Stretch) -> tuple[str, list[object]]:
    """The statement for the last mail that a walk along this way looks at, and its values."""
    sql = (
        f"SELECT {way.number} FROM {way.source} WHERE {way.condition} AND {way.number} >= ? AND {way.number} < ? "  # noqa: S608 - no value
        f"ORDER BY {way.number} DESC LIMIT 1 OFFSET {WALK - 1}"
    )
    return sql, [*way.values, stretch.first, stretch.last]


def ways(wanted: Page) -> Iterator[Way]:
    """One for each filter, those first that find the least as a rule."""
    if wanted.to is not None:
        yield _label("recipient", "recipient.address = ?", [wanted.to])
    if wanted.metadata is not None:
        yield _label("mail_metadata", "mail_metadata.key = ? AND mail_metadata.value = ?", wanted.metadata)
    if wanted.tag is not None:
        yield _label("mail_tag", "mail_tag.tag = ?", [wanted.tag])
    same = {"status": wanted.status and wanted.status.value, "provider": wanted.provider, "owner": wanted.owner}
    for column, value in same.items():
        if value is not None:
            condition = f"mail.{column} = ?"
            yield Way(f"mail INDEXED BY mail_{column}", "mail.number", condition, condition, [value])


def _label(table: str, condition: str, values: Sequence[object]) -> Way:
    found = f"EXISTS (SELECT 1 FROM {table} WHERE {table}.mail = mail.number AND {condition})"  # noqa: S608 - no value
    return Way(table, f"{table}.mail", condition, found, values)


def _way(connection: sqlite3.Connection, wanted: Page, stretch: Stretch) -> tuple[Way, int]:
    """The way to go, and the last number to look at; 0 where the way is looked at to its end.

    Of several filters it is the one whose newest mails reach back furthest.
    """
    possible = [*ways(wanted)]
    if len(possible) < 2:
        return (possible or [EVERY])[0], 0
    floors = [connection.execute(*floor_query(way, stretch)).fetchone() for way in possible]
    reach = [row[0] if row else 0 for row in floors]
    return possible[reach.index(min(reach))], min(reach)


def _stretch(connection: sqlite3.Connection, wanted: Page) -> Stretch | None:
    """Between which numbers the mails are; None if there can be none."""
    first, last = 0, LAST
    if wanted.since is not None:
        first = first_number(connection, wanted.since)
    if wanted.until is not None:
        row = connection.execute(FROM, (first_id(wanted.until + SPREAD),)).fetchone()
        last = row[0] if row else LAST
    if wanted.after is not None:
        row = connection.execute(NUMBER, (wanted.after,)).fetchone()
        if row is None:
            return None
        last = min(last, row[0])
    return Stretch(first, last)


def first_number(connection: sqlite3.Connection, since: float) -> int:
    """A number that no mail accepted from then on is below; some that are older are above it.

    By the last mail before, not by the first one after: within a millisecond, numbers and ids have orders of their own.
    """
    row = connection.execute(BEFORE, (first_id(since - SPREAD),)).fetchone()
    return row[0] + 1 if row else 0


def _id(connection: sqlite3.Connection, floor: int, owner: str | None) -> str | None:
    """From which mail on to look further: that of the floor, or the owner's own that is next to it.

    There is one: the owner's mails that were looked at reach back to the floor, or else they had been the way.
    """
    row = connection.execute(*((ID, (floor,)) if owner is None else (ID_OF, (owner, floor)))).fetchone()
    return str(row[0]) if row else None
