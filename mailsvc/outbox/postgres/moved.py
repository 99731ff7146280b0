"""What has moved since a time: the mails that were accepted since, those in an attempt, and all others."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from uuid import UUID

from ...model import Outcome, Status, first_id
from ...moves import Moved, Moves, Tried
from .server import Server

MOVED = """
SELECT * FROM (
    SELECT id, status, updated_at, attempts FROM mail
    WHERE updated_at <> created_at AND status <> 'sending' AND updated_at >= $1 ORDER BY updated_at DESC LIMIT $3)
AS others
UNION ALL SELECT * FROM (
    SELECT id, status, updated_at, attempts FROM mail
    WHERE status = 'sending' AND updated_at >= $1 ORDER BY id DESC LIMIT $3)
AS in_attempts
UNION ALL SELECT id, status, updated_at, attempts FROM (
    SELECT id, status, updated_at, created_at, attempts FROM mail
    WHERE id >= $2::text::uuid ORDER BY id DESC LIMIT $3)
AS new WHERE updated_at = created_at AND status <> 'sending'
"""
TRIED = """
SELECT mail, n, provider, outcome, score FROM attempt
WHERE mail = ANY($1) AND coalesce(ended_at, started_at) >= $2 ORDER BY mail, n
"""


async def moved(server: Server, since: float, limit: int) -> Moves:
    """The mails that have moved last, oldest first."""
    rows = await server.look(MOVED, since, first_id(since), limit + 1)
    newest = sorted(rows, key=lambda row: (row["updated_at"], row["id"]))[-limit:]
    tried: dict[UUID, list[Tried]] = defaultdict(list)
    for mail, *attempt in await server.look(TRIED, [row["id"] for row in newest if row["attempts"]], since):
        tried[mail].append(_tried(*attempt))
    mails = [Moved(str(mail_id), Status(state), at, tried[mail_id]) for mail_id, state, at, _ in newest]
    return Moves(mails, whole=len(rows) <= limit)


def _tried(n: int, provider: str, outcome: Any, score: float) -> Tried:
    return Tried(n, provider, outcome and Outcome(outcome), score)
