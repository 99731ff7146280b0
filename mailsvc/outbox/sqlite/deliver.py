"""How mails get out: claimed, begun, settled, given back, and found again after the process ended in mid-attempt."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ...attempt import Beginning, Settlement
from ...errors import Conflict
from ...model import LANES, Mail, Payload, Priority, Resolution, Status
from .engine import Transaction
from .events import INSERT_EVENT
from .reads import SELECT_MAIL, build_mails
from .suppressions import leave_out

DUE = f"{SELECT_MAIL} WHERE lane = ? AND claimable_at <= ? ORDER BY claimable_at, mail.number LIMIT ?"
LEASE = "UPDATE mail SET claimable_at = ? WHERE number = ?"
SET_QUEUED = "UPDATE mail SET status = 'queued', tried_since = due_at WHERE number = ?"

STANDING = "SELECT number, created_at, status, attempts, rounds, due_at, claimable_at FROM mail WHERE id = ?"
RUNNING = "SELECT 1 FROM attempt WHERE mail = ? AND outcome IS NULL"
INSERT_ATTEMPT = "INSERT INTO attempt (mail, n, provider, score, considered, started_at) VALUES (?, ?, ?, ?, ?, ?)"
KEEP_PAYLOAD = "INSERT INTO payload (mail, provider, key, body, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
FORGET_PAYLOADS = "DELETE FROM payload WHERE mail = ?"
RESOLVE = """
UPDATE attempt SET resolved = ? WHERE mail = ? AND outcome IN ('unanswered', 'interrupted') AND resolved IS NULL
"""
SENDING = "UPDATE mail SET status = 'sending', attempts = ?, claimable_at = NULL, updated_at = ? WHERE number = ?"

END_ATTEMPT = """
UPDATE attempt SET outcome = ?, http_status = ?, detail = ?, ended_at = ?
WHERE mail = ? AND n = ? AND outcome IS NULL
"""
SETTLE = """
UPDATE mail SET status = ?, due_at = ?, claimable_at = ?, rounds = ?, provider = coalesce(?, provider),
    provider_message_id = coalesce(?, provider_message_id), error = ?, updated_at = ?
WHERE number = ?
"""
# What was reported by then is known better.
SET_RECIPIENT = """
UPDATE recipient SET status = ? WHERE mail = ? AND address = ?
    AND (status IS NULL OR status NOT IN ('delivered', 'bounced', 'complained'))
"""
# A report came before the end of the attempt: what is known of the mail is to be looked at once more.
LOOK_AGAIN = "UPDATE report SET due_at = ? WHERE number = (SELECT max(number) FROM report WHERE mail = ?)"

RELEASE = """
UPDATE mail SET due_at = ?1, claimable_at = ?1
WHERE id = ?2 AND claimable_at IS NOT NULL AND status IN ('scheduled', 'queued', 'uncertain')
"""

ENDED = "mailsvc ended during the attempt"
INTERRUPT = """
UPDATE attempt SET outcome = 'interrupted', ended_at = ?, detail = ? WHERE outcome IS NULL RETURNING mail, provider
"""
HAS_PAYLOAD = "SELECT 1 FROM payload WHERE mail = ? AND provider = ?"
DOUBT = """
UPDATE mail SET status = 'uncertain', updated_at = ?1, due_at = coalesce(?2, iif(on_uncertain = 'resend', ?3, NULL)),
    claimable_at = coalesce(?2, iif(on_uncertain = 'resend', ?3, NULL))
WHERE number = ?4 AND status = 'sending' RETURNING id, created_at
"""
REQUEUE = "UPDATE mail SET status = 'queued', claimable_at = due_at WHERE status = 'sending' RETURNING created_at"
END_LEASES = """
UPDATE mail SET claimable_at = due_at WHERE lane IN (0, 1, 2) AND claimable_at > ? AND claimable_at <> due_at
"""

WAITING = frozenset({Status.SCHEDULED, Status.QUEUED, Status.UNCERTAIN})
OPEN = WAITING | {Status.SENDING}  # the mail may still be handed to somebody


@dataclass(frozen=True, slots=True)
class Claim:
    """Up to `room` mails that are due `now`, for `lease` seconds, from one lane after the other."""

    room: int
    now: float
    lease: float
    lanes: Sequence[Priority] = LANES


@dataclass(frozen=True, slots=True)
class Release:
    """A claimed mail that is given back, and when it is due."""

    mail_id: str
    due_at: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """The start of an owner: what its forerunner left is settled as of `now`; doubts are `due_at`."""

    now: float
    due_at: float


def recover(transaction: Transaction, recoveries: Sequence[Recovery]) -> list[list[str] | Exception]:
    """Close all running attempts and end all leases."""
    return [_recover(transaction, recovery) for recovery in recoveries]


def _recover(transaction: Transaction, recovery: Recovery) -> list[str]:
    connection, doubtful = transaction.connection, []
    for number, provider in connection.execute(INTERRUPT, (recovery.now, ENDED)).fetchall():
        again = connection.execute(HAS_PAYLOAD, (number, provider)).fetchone() and recovery.now
        for mail_id, created_at in connection.execute(DOUBT, (recovery.now, again, recovery.due_at, number)).fetchall():
            transaction.move(created_at, Status.SENDING, Status.UNCERTAIN)
            connection.execute(INSERT_EVENT, (number, "uncertain", recovery.now, provider, None, ENDED))
            doubtful.append(mail_id)
    for (created_at,) in connection.execute(REQUEUE).fetchall():
        transaction.move(created_at, Status.SENDING, Status.QUEUED)
    connection.execute(END_LEASES, (recovery.now,))
    return doubtful


def claim(transaction: Transaction, claims: Sequence[Claim]) -> list[list[Mail] | Exception]:
    """Take what is due."""
    return [_claim(transaction, each) for each in claims]


def _claim(transaction: Transaction, claim: Claim) -> list[Mail]:
    connection = transaction.connection
    rows: list[tuple[Any, ...]] = []
    for lane in claim.lanes:
        if (room := claim.room - len(rows)) > 0:
            rows += connection.execute(DUE, (lane.lane, claim.now, room)).fetchall()
    if not rows:
        return []
    connection.executemany(LEASE, [(claim.now + claim.lease, row[0]) for row in rows])
    for number, status, _, created_at, *_ in rows:
        if status == Status.SCHEDULED:
            connection.execute(SET_QUEUED, (number,))
            transaction.move(created_at, Status.SCHEDULED, Status.QUEUED)
    ended = leave_out(transaction, [row[0] for row in rows], claim.now)
    return build_mails(connection, [row for row in rows if row[0] not in ended], everybody=False)


def begin(transaction: Transaction, beginnings: Sequence[Beginning]) -> list[Exception | None]:
    """Write attempts down that are about to start."""
    return [_begin(transaction, beginning) for beginning in beginnings]


def _begin(transaction: Transaction, beginning: Beginning) -> Conflict | None:
    connection = transaction.connection
    standing = connection.execute(STANDING, (beginning.mail_id,)).fetchone()
    if standing is None:
        return Conflict(f"mail {beginning.mail_id} is unknown")
    number, created_at, status, attempts, *_ = standing
    if beginning.n != attempts + 1 or not _idle(connection, number, status):
        return Conflict(f"mail {beginning.mail_id} is {status} after {attempts} attempts: no attempt {beginning.n} now")
    considered = orjson.dumps(beginning.considered).decode()
    values = (number, beginning.n, beginning.provider, beginning.score, considered, beginning.started_at)
    connection.execute(INSERT_ATTEMPT, values)
    _keep(connection, number, beginning.payload, beginning.resolved)
    connection.execute(SENDING, (beginning.n, beginning.started_at, number))
    transaction.move(created_at, Status(status), Status.SENDING)
    return None


def _keep(connection: sqlite3.Connection, number: int, payload: Payload | None, resolved: Resolution | None) -> None:
    if payload is not None:
        connection.execute(KEEP_PAYLOAD, (number, payload.provider, payload.key, payload.body, payload.at))
    if resolved is not None:
        connection.execute(RESOLVE, (resolved.value, number))


def settle(transaction: Transaction, settlements: Sequence[Settlement]) -> list[bool | Exception]:
    """Write down how attempts ended."""
    return [_settle(transaction, settlement) for settlement in settlements]


def _settle(transaction: Transaction, settlement: Settlement) -> bool:
    connection = transaction.connection
    standing = connection.execute(STANDING, (settlement.mail_id,)).fetchone()
    if standing is None:
        return False
    number, created_at, status, _, *plan = standing
    if settlement.n:
        applies = _end_attempt(connection, number, settlement)
        moves = applies and status == Status.SENDING  # else a report was faster: it knows better
    else:
        wanted = [settlement.rounds, settlement.due_at, settlement.due_at]
        moves = applies = (
            settlement.expected in (None, status)
            and _idle(connection, number, status)
            and (status, plan) != (settlement.status, wanted)
        )
    if moves:
        connection.execute(SETTLE, (*_standing(settlement, due_at=plan[1]), number))
        transaction.move(created_at, Status(status), settlement.status)
        if settlement.status not in OPEN:
            connection.execute(FORGET_PAYLOADS, (number,))
    elif applies:
        connection.execute(LOOK_AGAIN, (settlement.ended_at, number))
    if applies:
        _note(connection, number, settlement)
    return applies


def _idle(connection: sqlite3.Connection, number: int, status: str) -> bool:
    """Whether the mail's story goes on and no attempt is running."""
    if status == Status.SENDING:
        return connection.execute(RUNNING, (number,)).fetchone() is None
    return status in WAITING


def _end_attempt(connection: sqlite3.Connection, number: int, settlement: Settlement) -> bool:
    outcome = settlement.outcome and settlement.outcome.value
    values = (outcome, settlement.http_status, harmless(settlement.detail), settlement.ended_at, number, settlement.n)
    return connection.execute(END_ATTEMPT, values).rowcount == 1


def _standing(settlement: Settlement, due_at: float | None) -> tuple[object, ...]:
    sending = settlement.status is Status.SENDING
    times = (due_at, None) if sending else (settlement.due_at, settlement.due_at)
    provider = (settlement.provider, harmless(settlement.provider_message_id))
    error = harmless(settlement.error)
    return settlement.status.value, *times, settlement.rounds, *provider, error, settlement.ended_at


def _note(connection: sqlite3.Connection, number: int, settlement: Settlement) -> None:
    if settlement.resolved is not None:
        connection.execute(RESOLVE, (settlement.resolved.value, number))
    for address, status in (settlement.recipients or {}).items():
        connection.execute(SET_RECIPIENT, (status.value, number, address))
    for event in settlement.events:
        values = (event.type, event.at, event.provider, event.recipient, harmless(event.detail))
        connection.execute(INSERT_EVENT, (number, *values))


def release(transaction: Transaction, releases: Sequence[Release]) -> list[Exception | None]:
    """Give claims back."""
    transaction.connection.executemany(RELEASE, [(each.due_at, each.mail_id) for each in releases])
    return [None] * len(releases)


def harmless(text: str | None) -> str | None:
    """A provider's words without what a database cannot keep: U+0000 and lone surrogates."""
    return text and text.replace("\x00", "").encode("utf-8", "replace").decode()
