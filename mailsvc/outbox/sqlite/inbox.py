"""What providers tell: kept at once, and merged into the mails afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...errors import Conflict
from ...merge import OPEN, Known, Merged, Person, Place, Told, merge
from ...model import Outcome, Report, ReportType, Status
from ..base import ERASED_ADDRESS, KEEP_UNMATCHED, LOOK_AGAIN, NEWEST, Fate, Folded
from .deliver import FORGET_PAYLOADS, RESOLVE, harmless
from .engine import Transaction, one_by_one
from .events import INSERT_EVENT
from .suppressions import learn

STEP = 500  # rows forgotten at a time, so that nobody waits long

KEEP = """
INSERT INTO report (provider, event, token, type, permanent, at, received_at, mail_id, message_id, recipient, detail,
    due_at) VALUES (?, ?, ?, ?, ?, ?, ?7, ?, ?, ?, ?, ?7) ON CONFLICT DO NOTHING
"""
IS_KNOWN = "SELECT 1 FROM report WHERE provider = ? AND event = ?"

DUE = """
SELECT number, tries, mail, type, at, provider, event, mail_id, message_id, recipient, permanent, detail FROM report
WHERE due_at <= ? ORDER BY due_at, number LIMIT ?
"""
BY_ID = "SELECT number FROM mail WHERE id = ?"
# CROSS JOIN: from the recipients to their mails, never the other way round.
BY_NAME = """
SELECT mail.number FROM (SELECT DISTINCT mail FROM recipient WHERE address = ?1 ORDER BY mail DESC LIMIT ?2) AS newest
CROSS JOIN mail ON mail.number = newest.mail
WHERE provider = ?3 AND trim(provider_message_id, '<>') = ?4 LIMIT 1
"""

MAIL = "SELECT id, status, provider, provider_message_id, error FROM mail WHERE number = ?"
PEOPLE = "SELECT position, address, status FROM recipient WHERE mail = ? ORDER BY position"
TRIES = "SELECT provider, outcome, resolved FROM attempt WHERE mail = ? ORDER BY n"
TOLD = "SELECT DISTINCT provider, message_id, position, type, permanent FROM report WHERE mail = ?"
DOUBLED = "SELECT 1 FROM event WHERE mail = ? AND type = 'double'"

MOVE = """
UPDATE mail SET status = ?, due_at = NULL, claimable_at = NULL, error = ?, updated_at = ? WHERE number = ?
RETURNING created_at
"""
CARRY = "UPDATE mail SET provider = ?, provider_message_id = ? WHERE number = ?"
SET_PERSON = "UPDATE recipient SET status = ? WHERE mail = ? AND position = ?"
DONE = "UPDATE report SET mail = ?, position = ?, recipient = NULL, detail = NULL, due_at = NULL WHERE number = ?"
SEEN = "UPDATE report SET due_at = NULL WHERE number = ?"
LATER = "UPDATE report SET due_at = ?, tries = tries + 1 WHERE number = ?"
FORGET = """
DELETE FROM report WHERE number IN
    (SELECT number FROM report WHERE mail IS NULL AND received_at < ? ORDER BY received_at LIMIT ?)
"""


@dataclass(frozen=True, slots=True)
class Received:
    """A report that came `now`."""

    report: Report
    now: float


@dataclass(frozen=True, slots=True)
class Due:
    """Up to `room` reports that are due `now`."""

    room: int
    now: float


@dataclass(slots=True)
class _Row:
    """A report that is due. `mail` is the number of its mail; `known` if it was merged before."""

    number: int
    tries: int
    mail: int | None
    known: bool
    report: Report
    place: Place | None = None


def keep(transaction: Transaction, received: Sequence[Received]) -> list[bool | Exception]:
    """Store reports that are new."""
    return [_keep(transaction.connection, each.report, each.now) for each in received]


def _keep(connection: sqlite3.Connection, report: Report, now: float) -> bool | Exception:
    said = (report.type.value, report.permanent, report.at, now)
    about = (report.mail_id, report.provider_message_id, report.recipient, harmless(report.detail))
    values = (report.provider, report.event, report.token, *said, *about)
    if connection.execute(KEEP, values).rowcount:
        return True
    if connection.execute(IS_KNOWN, (report.provider, report.event)).fetchone():
        return False
    return Conflict("this token was used for another report", "token_used")


def fold(transaction: Transaction, dues: Sequence[Due]) -> list[list[Folded] | Exception]:
    """Merge what is due."""
    return [_fold(transaction, due) for due in dues]


def _fold(transaction: Transaction, due: Due) -> list[Folded]:
    connection = transaction.connection
    rows = [_row(each) for each in connection.execute(DUE, (due.now, due.room)).fetchall()]
    by_mail: dict[int, list[_Row]] = {}
    for row in rows:
        row.mail = row.mail or _find(connection, row.report)
        if row.mail is not None:
            by_mail.setdefault(row.mail, []).append(row)
    folded: dict[int, Folded] = {}
    for group, result in zip(by_mail.values(), _groups(transaction, list(by_mail.values()), due.now), strict=True):
        folded |= _each(transaction, group, due.now) if isinstance(result, Exception) else result
    for row in rows:
        if row.number not in folded:
            folded[row.number] = _put_off(connection, row, due.now)
    return [folded[row.number] for row in rows]


def _each(transaction: Transaction, rows: Sequence[_Row], now: float) -> dict[int, Folded]:
    """Merge reports one by one, so that none but those at fault are put off."""
    folded: dict[int, Folded] = {}
    for row, result in zip(rows, _groups(transaction, [[row] for row in rows], now), strict=True):
        if isinstance(result, Exception):
            folded[row.number] = _again(transaction.connection, row, result, now)
        else:
            folded |= result
    return folded


def _groups(transaction: Transaction, groups: Sequence[list[_Row]], now: float) -> list[dict[int, Folded] | Exception]:
    """Merge reports by the mail; an error in its place for a mail that could not be written."""
    return one_by_one(partial(_merge, now), transaction, groups)


def _merge(now: float, transaction: Transaction, groups: Sequence[list[_Row]]) -> list[dict[int, Folded] | Exception]:
    return [dict(_into(transaction, rows[0].mail or 0, rows, now)) for rows in groups]


def _row(values: Sequence[Any]) -> _Row:
    number, tries, mail, kind, at, provider, event, mail_id, message_id, recipient, permanent, detail = values
    hard = None if permanent is None else bool(permanent)
    report = Report(ReportType(kind), at, provider, event, mail_id, message_id, recipient, hard, detail)
    return _Row(number, tries, mail, mail is not None, report)


def _find(connection: sqlite3.Connection, report: Report) -> int | None:
    if report.mail_id is not None:
        found = connection.execute(BY_ID, (report.mail_id,)).fetchone()
    elif report.recipient is not None and report.provider_message_id is not None:
        values = (report.recipient, NEWEST, report.provider, report.provider_message_id)
        found = connection.execute(BY_NAME, values).fetchone()
    else:
        found = None
    return found and int(found[0])


def _into(transaction: Transaction, mail: int, rows: Sequence[_Row], now: float) -> Iterable[tuple[int, Folded]]:
    """Merge reports into their mail. Those that cannot be about it are left out."""
    connection = transaction.connection
    mail_id, known = _known(connection, mail)
    new = [row for row in rows if not row.known]
    merged = merge(known, [row.report for row in new], now)
    _write(transaction, mail, known, merged, now)
    for row, place in zip(new, merged.places, strict=True):
        row.place = place
        if place is not None:
            if place.position is not None:
                address = next(each.address for each in known.people if each.position == place.position)
                if address != ERASED_ADDRESS:
                    learn(connection, mail, mail_id, address, row.report, now)
            connection.execute(DONE, (mail, place.position, row.number))
    for number, row in enumerate(rows):
        if row.known:
            connection.execute(SEEN, (row.number,))
        if row.known or row.place is not None:
            doubled = merged.doubled and number == 0
            yield row.number, Folded(row.report, Fate.MERGED, mail_id, known.status, merged.status, doubled)


def _known(connection: sqlite3.Connection, mail: int) -> tuple[str, Known]:
    mail_id, status, provider, message_id, error = connection.execute(MAIL, (mail,)).fetchone()
    tries = connection.execute(TRIES, (mail,)).fetchall()
    outcomes = [(name, outcome and Outcome(outcome)) for name, outcome, _ in tries]
    people = connection.execute(PEOPLE, (mail,))
    told = [
        Told(name, message, position, ReportType(kind), None if permanent is None else bool(permanent))
        for name, message, position, kind, permanent in connection.execute(TOLD, (mail,))
    ]
    known = Known(
        status=Status(status),
        people=[Person(position, address, own and Status(own)) for position, address, own in people],
        tries=outcomes,
        told=told,
        provider=provider,
        provider_message_id=message_id,
        in_doubt=any(outcome and Outcome(outcome).maybe_sent and not resolved for _, outcome, resolved in tries),
        error=error,
        doubled=len(tries) > 1 and connection.execute(DOUBLED, (mail,)).fetchone() is not None,
        erased=ERASED_ADDRESS,
    )
    return mail_id, known


def _write(transaction: Transaction, mail: int, known: Known, merged: Merged, now: float) -> None:
    connection = transaction.connection
    carrier = (merged.provider, harmless(merged.provider_message_id))
    if carrier != (known.provider, known.provider_message_id):
        connection.execute(CARRY, (*carrier, mail))
    if merged.status is not known.status:
        standing = (merged.status.value, harmless(merged.error), now, mail)
        ((created_at,),) = connection.execute(MOVE, standing).fetchall()
        transaction.move(created_at, known.status, merged.status)
        if known.status in OPEN:
            connection.execute(FORGET_PAYLOADS, (mail,))
    if known.in_doubt and any(place is not None for place in merged.places):
        connection.execute(RESOLVE, ("report", mail))
    connection.executemany(SET_PERSON, [(status.value, mail, position) for position, status in merged.people.items()])
    for event in merged.events:
        values = (event.type, event.at, event.provider, event.recipient, harmless(event.detail))
        connection.execute(INSERT_EVENT, (mail, *values))


def _put_off(connection: sqlite3.Connection, row: _Row, now: float) -> Folded:
    """No mail was found. One that our id does not find will not be there later either."""
    nameless = row.report.mail_id is None and row.report.recipient and row.report.provider_message_id
    if row.mail is None and nameless and row.tries < len(LOOK_AGAIN):
        connection.execute(LATER, (now + LOOK_AGAIN[row.tries], row.number))
        return Folded(row.report, Fate.WAITS)
    connection.execute(SEEN, (row.number,))
    return Folded(row.report, Fate.UNMATCHED)


def _again(connection: sqlite3.Connection, row: _Row, error: Exception, now: float) -> Folded:
    """An error came in the way that is not the store's."""
    if row.tries < len(LOOK_AGAIN):
        connection.execute(LATER, (now + LOOK_AGAIN[row.tries], row.number))
        return Folded(row.report, Fate.FAILED, error=error)
    connection.execute(SEEN, (row.number,))
    return Folded(row.report, Fate.GIVEN_UP, error=error)


def forget(transaction: Transaction, times: Sequence[float]) -> list[bool | Exception]:
    """Delete some of the reports that are about no mail, as of each of the times; True if there may be more."""
    connection = transaction.connection
    return [connection.execute(FORGET, (now - KEEP_UNMATCHED, STEP)).rowcount == STEP for now in times]
