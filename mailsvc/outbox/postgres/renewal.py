"""Mails that are sent on their way again by request, and those that it is too late to send."""

from __future__ import annotations

from collections.abc import Sequence

from ...model import Status
from ..base import RETRYABLE, TOO_LATE, TOO_LATE_IN_DOUBT
from .batch import as_uuid
from .server import Server
from .tally import TALLY

STEP = 200  # mails at a time, so that nobody waits long

# Said again after a cut connection, it finds the mails that it had moved before.
RETRY = f"""
WITH judged AS (
    SELECT id, created_at, status AS was, status = 'queued' AND $1 AND updated_at = $2 AND tried_since = $2 AS moved,
        status = ANY($4) AND erased_at IS NULL AS moves
    FROM mail WHERE id = ANY($5) ORDER BY id FOR UPDATE
), taken AS (
    UPDATE mail SET status = 'queued', due_at = $2, claimable_at = $2 + behind($3), rounds = 0, error = NULL,
        tried_since = $2, retries = retries + 1, expires_at = CASE WHEN expires_at > $2 THEN expires_at END,
        updated_at = $2
    FROM judged WHERE mail.id = judged.id AND judged.moves
), people AS (
    UPDATE recipient SET status = NULL FROM judged
    WHERE recipient.mail = judged.id AND judged.moves AND recipient.status = judged.was
), events AS (
    INSERT INTO event (mail, type, at, detail) SELECT id, 'retried', $2, 'it was ' || was FROM judged WHERE moves
), moves AS (
    SELECT moved.*, created_at FROM judged, LATERAL (VALUES (was, -1), ('queued', 1)) AS moved (status, number)
    WHERE judged.moves
), {TALLY}
SELECT id FROM judged WHERE moves OR moved
"""  # noqa: S608 - a constant

EXPIRE = f"""
WITH over AS (
    SELECT id, created_at, status AS was FROM mail WHERE expires_at <= $1 AND status IN ('scheduled', 'queued')
    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
), judged AS (
    SELECT id, created_at, was, CASE WHEN EXISTS (SELECT FROM attempt WHERE attempt.mail = over.id
        AND outcome IN ('unanswered', 'interrupted') AND resolved IS DISTINCT FROM 'same_key')
        THEN 'uncertain' ELSE 'expired' END AS becomes
    FROM over
), moved AS (
    UPDATE mail SET status = becomes, due_at = NULL, claimable_at = NULL, leased_until = NULL, updated_at = $1,
        error = CASE becomes WHEN 'expired' THEN $3 ELSE $4 END
    FROM judged WHERE mail.id = judged.id
), forgotten AS (
    DELETE FROM payload USING judged WHERE payload.mail = judged.id AND becomes = 'expired'
), events AS (
    INSERT INTO event (mail, type, at) SELECT id, 'expired', $1 FROM judged
), moves AS (
    SELECT moved.*, created_at FROM judged, LATERAL (VALUES (was, -1), (becomes, 1)) AS moved (status, number)
), {TALLY}
SELECT id, becomes FROM judged
"""  # noqa: S608 - a constant


async def retry(server: Server, ids: Sequence[str], now: float) -> list[bool]:
    """Whether each mail is on its way again."""
    asked, states = [as_uuid(each) for each in ids], [status.value for status in RETRYABLE]
    rows = await server.settle(lambda again: server.fetch(RETRY, again, now, server.here(), states, asked))
    found = {str(row[0]) for row in rows}
    return [each in found for each in ids]


async def expire(server: Server, now: float) -> list[tuple[str, Status]]:
    """Which mails have expired, and where they stand now."""
    rows = await server.run(lambda: server.fetch(EXPIRE, now, STEP, TOO_LATE, TOO_LATE_IN_DOUBT))
    return [(str(mail_id), Status(becomes)) for mail_id, becomes in rows]
