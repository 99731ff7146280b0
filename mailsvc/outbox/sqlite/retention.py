"""What is forgotten: bodies and mails that are old, and a recipient who wants to be. Never a mail that is not final."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from ...model import Status
from ..base import ERASED_ADDRESS, ERASED_SUBJECT, Erasure
from .engine import Transaction
from .reads import json_array

STEP = 200  # mails at a time, so that nobody waits long

FINAL = "status NOT IN ('scheduled', 'queued', 'sending', 'uncertain')"
OLD_BODIES = f"""
SELECT number FROM mail WHERE erased_at IS NULL AND {FINAL} AND updated_at < ? ORDER BY updated_at LIMIT ?
"""  # noqa: S608 - a constant
OLD_MAILS = "SELECT number FROM mail WHERE erased_at IS NOT NULL AND updated_at < ? ORDER BY updated_at LIMIT ?"
# CROSS JOIN: from the recipients to their mails, never the other way round.
TO = "FROM recipient CROSS JOIN mail ON mail.number = recipient.mail WHERE recipient.address = ?"
MAILS_TO = f"SELECT DISTINCT mail.number {TO} AND mail.{FINAL} LIMIT ?"
WAITING_TO = f"SELECT count(DISTINCT mail.number) {TO} AND NOT mail.{FINAL}"

THESE = "IN (SELECT value FROM json_each(?))"
DELETE_BODIES = f"DELETE FROM body WHERE mail {THESE}"  # noqa: S608 - a constant
MARK_ERASED = f"UPDATE mail SET erased_at = coalesce(erased_at, ?) WHERE number {THESE}"  # noqa: S608 - a constant
DELETE_MAILS = f"DELETE FROM mail WHERE number {THESE} RETURNING status, created_at"  # noqa: S608 - a constant
HIDE_SUBJECTS = f"UPDATE mail SET subject = ?, metadata = NULL, error = NULL WHERE number {THESE}"  # noqa: S608 - a constant
HIDE_RECIPIENT = f"UPDATE recipient SET address = ?, name = '' WHERE mail {THESE} AND address = ?"  # noqa: S608
HIDE_WORDS = f"UPDATE attempt SET detail = NULL WHERE mail {THESE}"  # noqa: S608 - a constant
HIDE_EVENTS = f"""
UPDATE event SET detail = NULL, recipient = iif(recipient = ? COLLATE NOCASE, ?, recipient) WHERE mail {THESE}
"""  # noqa: S608 - a constant
HIDE_NOTICES = f"""
UPDATE notice SET error = NULL, metadata = NULL
WHERE (error IS NOT NULL OR metadata IS NOT NULL) AND mail IN (SELECT id FROM mail WHERE number {THESE})
"""  # noqa: S608 - a constant
# What waits to be merged for the first time is merged in a moment, and leaves no address behind.
FORGET_REPORTS = "DELETE FROM report WHERE recipient = ? AND (due_at IS NULL OR tries > 0)"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bodies and mails of before these times go, as of `now`."""

    now: float
    bodies_before: float
    mails_before: float


@dataclass(frozen=True, slots=True)
class Person:
    """The recipient who is erased `now`."""

    address: str
    now: float


def forget(transaction: Transaction, limits: Sequence[Limits]) -> list[bool | Exception]:
    """Erase some old bodies and delete some old mails; True if there may be more."""
    return [_forget(transaction, each) for each in limits]


def _forget(transaction: Transaction, limits: Limits) -> bool:
    connection = transaction.connection
    bodies = _numbers(connection, OLD_BODIES, limits.bodies_before, STEP)
    _erase_bodies(connection, bodies, limits.now)
    mails = _numbers(connection, OLD_MAILS, limits.mails_before, STEP)
    for status, created_at in connection.execute(DELETE_MAILS, (json_array(mails),)).fetchall():
        transaction.move(created_at, Status(status), None)
    return STEP in (len(bodies), len(mails))


def erase(transaction: Transaction, people: Sequence[Person]) -> list[Erasure | Exception]:
    """Erase some mails of recipients."""
    return [_erase(transaction.connection, person) for person in people]


def _erase(connection: sqlite3.Connection, person: Person) -> Erasure:
    address = person.address
    numbers = _numbers(connection, MAILS_TO, address, STEP)
    these = json_array(numbers)
    _erase_bodies(connection, numbers, person.now)
    connection.execute(HIDE_SUBJECTS, (ERASED_SUBJECT, these))
    connection.execute(HIDE_RECIPIENT, (ERASED_ADDRESS, these, address))
    connection.execute(HIDE_WORDS, (these,))
    connection.execute(HIDE_EVENTS, (address, ERASED_ADDRESS, these))
    connection.execute(HIDE_NOTICES, (these,))
    connection.execute(FORGET_REPORTS, (address,))
    (waiting,) = connection.execute(WAITING_TO, (address,)).fetchone()
    return Erasure(len(numbers), waiting)


def _erase_bodies(connection: sqlite3.Connection, numbers: Sequence[int], now: float) -> None:
    these = json_array(numbers)
    connection.execute(DELETE_BODIES, (these,))
    connection.execute(MARK_ERASED, (now, these))


def _numbers(connection: sqlite3.Connection, sql: str, *values: object) -> list[int]:
    return [number for (number,) in connection.execute(sql, values)]
