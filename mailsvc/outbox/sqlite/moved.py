"""What has moved since a time: the mails that were accepted since, those in an attempt, and all others."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from typing import Any

from ...model import Outcome, Status
from ...moves import Moved, Moves, Tried
from .lists import first_number
from .reads import json_array

MOVED = """
SELECT * FROM (
    SELECT number, id, status, updated_at, attempts FROM mail INDEXED BY mail_moved
    WHERE updated_at <> created_at AND status <> 'sending' AND updated_at >= ?1 ORDER BY updated_at DESC LIMIT ?3)
UNION ALL SELECT * FROM (
    SELECT number, id, status, updated_at, attempts FROM mail INDEXED BY mail_status
    WHERE status = 'sending' AND updated_at >= ?1 ORDER BY number DESC LIMIT ?3)
UNION ALL SELECT number, id, status, updated_at, attempts FROM (
    SELECT number, id, status, updated_at, created_at, attempts FROM mail
    WHERE number >= ?2 ORDER BY number DESC LIMIT ?3)
WHERE updated_at = created_at AND updated_at >= ?1 AND status <> 'sending'
"""
# CROSS JOIN: from the mails to their attempts.
TRIED = """
SELECT mail, n, provider, outcome, score FROM json_each(?) AS wanted CROSS JOIN attempt ON mail = wanted.value
WHERE coalesce(ended_at, started_at) >= ? ORDER BY mail, n
"""


def moved(connection: sqlite3.Connection, since: float, limit: int) -> Moves:
    """The mails that have moved last, oldest first."""
    rows = connection.execute(MOVED, (since, first_number(connection, since), limit + 1)).fetchall()
    newest = sorted(rows, key=lambda row: (row[3], row[0]))[-limit:]
    tried: dict[int, list[Tried]] = defaultdict(list)
    for mail, *attempt in connection.execute(TRIED, (json_array([row[0] for row in newest if row[4]]), since)):
        tried[mail].append(_tried(*attempt))
    mails = [Moved(mail_id, Status(state), at, tried[number]) for number, mail_id, state, at, _ in newest]
    return Moves(mails, whole=len(rows) <= limit)


def _tried(n: int, provider: str, outcome: Any, score: float) -> Tried:
    return Tried(n, provider, outcome and Outcome(outcome), score)
