"""Mails that are sent on their way again by request, and those that it is too late to send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...model import Status
from ..base import RETRYABLE, TOO_LATE, TOO_LATE_IN_DOUBT
from .deliver import FORGET_PAYLOADS
from .engine import Transaction
from .events import INSERT_EVENT

STEP = 200  # mails at a time, so that nobody waits long

STANDING = "SELECT number, status, created_at FROM mail WHERE id = ? AND erased_at IS NULL"
RETRY = """
UPDATE mail SET status = 'queued', due_at = ?1, claimable_at = ?1, rounds = 0, error = NULL, tried_since = ?1,
    retries = retries + 1, expires_at = iif(expires_at > ?1, expires_at, NULL), updated_at = ?1
WHERE number = ?2
"""
ASK_FOR_ALL = "UPDATE recipient SET status = NULL WHERE mail = ?1 AND status = ?2"

OVER = """
SELECT number, id, status, created_at, EXISTS (SELECT 1 FROM attempt WHERE attempt.mail = mail.number
    AND outcome IN ('unanswered', 'interrupted') AND resolved IS NOT 'same_key')
FROM mail INDEXED BY mail_expires WHERE expires_at <= ? AND status IN ('scheduled', 'queued')
ORDER BY expires_at LIMIT ?
"""
EXPIRE = (
    "UPDATE mail SET status = ?1, due_at = NULL, claimable_at = NULL, error = ?2, updated_at = ?3 WHERE number = ?4"
)


@dataclass(frozen=True, slots=True)
class Retry:
    """A mail that is sent on its way again `now`."""

    mail_id: str
    now: float


def retry(transaction: Transaction, retries: Sequence[Retry]) -> list[bool | Exception]:
    """Whether each mail is on its way again."""
    return [_retry(transaction, each) for each in retries]


def _retry(transaction: Transaction, retry: Retry) -> bool:
    connection = transaction.connection
    standing = connection.execute(STANDING, (retry.mail_id,)).fetchone()
    if standing is None or standing[1] not in RETRYABLE:
        return False
    number, status, created_at = standing
    connection.execute(RETRY, (retry.now, number))
    connection.execute(ASK_FOR_ALL, (number, status))
    connection.execute(INSERT_EVENT, (number, "retried", retry.now, None, None, f"it was {status}"))
    transaction.move(created_at, Status(status), Status.QUEUED)
    return True


def expire(transaction: Transaction, times: Sequence[float]) -> list[list[tuple[str, Status]] | Exception]:
    """Which mails have expired at each of the times, and where they stand now."""
    return [_expire(transaction, now) for now in times]


def _expire(transaction: Transaction, now: float) -> list[tuple[str, Status]]:
    connection, gone = transaction.connection, []
    for number, mail_id, status, created_at, doubted in connection.execute(OVER, (now, STEP)).fetchall():
        becomes, why = (Status.UNCERTAIN, TOO_LATE_IN_DOUBT) if doubted else (Status.EXPIRED, TOO_LATE)
        connection.execute(EXPIRE, (becomes.value, why, now, number))
        connection.execute(INSERT_EVENT, (number, "expired", now, None, None, None))
        if not doubted:
            connection.execute(FORGET_PAYLOADS, (number,))
        transaction.move(created_at, Status(status), becomes)
        gone.append((mail_id, becomes))
    return gone
