"""Lists of mails: by which index a list goes, and how far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ...listing import WALK, Listing, Page
from ...model import first_id
from .batch import as_uuid
from .reads import RECORD, build_record, possible
from .server import Server

ID_OF = "SELECT id FROM mail WHERE owner = $1 AND id >= $2 ORDER BY id LIMIT 1"


@dataclass(frozen=True, slots=True)
class Way:
    """A filter: the table that has its mails in the order of their ids, and the condition, with {} for the values."""

    table: str
    mail: str
    condition: str
    values: Sequence[object]


EVERY = Way("mail", "id", "true", ())


class Values:
    """The values of a statement, in the order of their places in it."""

    def __init__(self) -> None:
        self.all: list[object] = []

    def __call__(self, value: object) -> str:
        """The place of this value."""
        self.all.append(value)
        return f"${len(self.all)}"


async def page(server: Server, wanted: Page) -> Listing:
    """A list's records, newest first."""
    lost = wanted.after is not None and as_uuid(wanted.after) is None
    if lost or not possible(wanted.owner, wanted.to, wanted.provider, wanted.tag, *(wanted.metadata or ())):
        return Listing([], None)
    way, floor = await _way(server, wanted)
    sql, values = page_query(wanted, way, floor)
    rows = await server.look(sql, *values)
    records = [build_record(row) for row in rows[: wanted.limit]]
    if len(rows) > wanted.limit:
        return Listing(records, records[-1].id)
    return Listing(records, await _next(server, floor, wanted.owner))


def page_query(wanted: Page, way: Way, floor: UUID | None) -> tuple[str, list[object]]:
    """The statement for one mail more than are wanted, and its values. It walks the way from the newest mail on.

    What is sorted by itself is planned by itself: from the way's index to the mails, never the other way round.
    """
    values = Values()
    along = _walk(way, wanted, values) + ("" if floor is None else f" AND {way.mail} >= {values(floor)}")
    others = [_found(other, values) for other in ways(wanted) if other != way]
    once = "DISTINCT " if way.table == "recipient" else ""
    if way.table == "mail" and not others:
        source, mail = "mail", "mail.id"
    else:
        walk = f"SELECT {once}{way.mail} AS mail FROM {way.table} WHERE {along} ORDER BY {way.mail} DESC"  # noqa: S608 - no value
        source, mail, along = f"({walk}) AS walked JOIN mail ON mail.id = walked.mail", "walked.mail", "true"
    conditions, limit = " AND ".join([along, *others]), values(wanted.limit + 1)
    sql = f"SELECT {RECORD} FROM {source} WHERE {conditions} ORDER BY {mail} DESC LIMIT {limit}"  # noqa: S608 - no value
    return sql, values.all


def floor_query(wanted: Page) -> tuple[str, list[object]]:
    """The statement for the last mails that a walk looks at, one along each way, and its values."""
    values = Values()
    floors = [
        f"(SELECT {way.mail} FROM {way.table} WHERE {_walk(way, wanted, values)} "  # noqa: S608 - no value
        f"ORDER BY {way.mail} DESC OFFSET {WALK - 1} LIMIT 1)"
        for way in ways(wanted)
    ]
    return f"SELECT ARRAY[{', '.join(floors)}]", values.all


def ways(wanted: Page) -> Iterator[Way]:
    """One for each filter, those first that find the least as a rule."""
    if wanted.to is not None:
        yield Way("recipient", "mail", 'lower(address) = lower({}::text COLLATE "C")', [wanted.to])
    if wanted.metadata is not None:
        yield Way("mail_metadata", "mail", "key = {} AND value = {}", wanted.metadata)
    if wanted.tag is not None:
        yield Way("mail_tag", "mail", "tag = {}", [wanted.tag])
    same = {"status": wanted.status and wanted.status.value, "provider": wanted.provider, "owner": wanted.owner}
    for column, value in same.items():
        if value is not None:
            yield Way("mail", "id", f"mail.{column} = {{}}", [value])


def _walk(way: Way, wanted: Page, values: Values) -> str:
    """The condition for the mails along a way that are of the time and behind the page before."""
    conditions = [way.condition.format(*map(values, way.values))]
    bounds = {
        "< (SELECT id FROM mail WHERE id = {}::text::uuid)": wanted.after,
        ">= {}::text::uuid": None if wanted.since is None else first_id(wanted.since),
        "< {}::text::uuid": None if wanted.until is None else first_id(wanted.until),
    }
    conditions += [f"{way.mail} {sql.format(values(value))}" for sql, value in bounds.items() if value is not None]
    return " AND ".join(conditions)


def _found(way: Way, values: Values) -> str:
    """The condition for a mail to pass a filter, where the list goes another way."""
    condition = way.condition.format(*map(values, way.values))
    if way.table == "mail":
        return condition
    return f"EXISTS (SELECT FROM {way.table} WHERE {way.table}.mail = walked.mail AND {condition})"


async def _way(server: Server, wanted: Page) -> tuple[Way, UUID | None]:
    """The way to go, and the last mail to look at; None where the way is looked at to its end.

    Of several filters it is the one whose newest mails reach back furthest.
    """
    found = [*ways(wanted)]
    if len(found) < 2:
        return (found or [EVERY])[0], None
    sql, values = floor_query(wanted)
    ((floors,),) = await server.look(sql, *values)
    if None in floors:
        return found[floors.index(None)], None
    return found[floors.index(min(floors))], min(floors)


async def _next(server: Server, floor: UUID | None, owner: str | None) -> str | None:
    """From which mail on to look further: that of the floor, or the owner's own that is next to it.

    There is one: the owner's mails that were looked at reach back to the floor, or else they had been the way.
    """
    if floor is None:
        return None
    if owner is None:
        return str(floor)
    rows: Sequence[Any] = await server.look(ID_OF, owner, floor)
    return str(rows[0][0]) if rows else None
