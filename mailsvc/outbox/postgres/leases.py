"""Who is alive: how leases are renewed, what is done when one is over, and what becomes of a late word."""

from __future__ import annotations

from collections.abc import Sequence

from ...attempt import Settlement
from ...model import Outcome
from .batch import as_uuid, columns, harmless
from .server import Server
from .tally import TALLY

STEP = 256  # mails taken over at a time
ENDED = "the process that sent it gave no sign of life any more"

# A claim is held as long as the mail is not due again. What is locked is being written, most likely by its owner.
RENEW = """
WITH held AS (
    SELECT id FROM mail WHERE id = ANY($4)
        AND (leased_until IS NOT NULL OR (due_at <= $1 AND claimable_at > $1 + behind($2)))
    ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE mail SET leased_until = CASE WHEN leased_until IS NOT NULL THEN $1 + behind($2) + $3 END,
    claimable_at = CASE WHEN claimable_at IS NOT NULL THEN $1 + behind($2) + $3 END
FROM held WHERE mail.id = held.id
"""

RECOVER = f"""
WITH over AS (
    SELECT id, created_at, status, attempts, running, on_uncertain, due_at FROM mail
    WHERE leased_until <= $1 + behind($2)
    ORDER BY leased_until LIMIT $5 FOR UPDATE SKIP LOCKED
), interrupted AS (
    UPDATE attempt SET outcome = 'interrupted', ended_at = $1, detail = $4
    FROM over WHERE attempt.mail = over.id AND attempt.n = over.attempts AND over.running
    RETURNING attempt.mail, attempt.provider
), judged AS (
    SELECT id, created_at, over.status AS was, provider, CASE
            WHEN NOT running THEN due_at
            WHEN EXISTS (SELECT FROM payload WHERE payload.mail = id AND payload.provider = interrupted.provider)
                THEN $1
            WHEN on_uncertain = 'resend' THEN $1 + $3 END AS due,
        CASE WHEN over.status <> 'sending' THEN over.status WHEN running THEN 'uncertain' ELSE 'queued' END AS becomes
    FROM over LEFT JOIN interrupted ON mail = id
), freed AS (
    UPDATE mail SET running = false, leased_until = NULL FROM judged WHERE mail.id = judged.id AND was <> 'sending'
), moved AS (
    UPDATE mail SET running = false, leased_until = NULL, status = becomes,
        due_at = due, claimable_at = due + behind($2),
        updated_at = CASE becomes WHEN 'uncertain' THEN $1 ELSE updated_at END
    FROM judged WHERE mail.id = judged.id AND was = 'sending'
), events AS (
    INSERT INTO event (mail, type, at, provider, detail)
    SELECT id, 'uncertain', $1, provider, $4 FROM judged WHERE was = 'sending' AND becomes = 'uncertain'
), moves AS (
    SELECT moved.*, created_at FROM judged, LATERAL (VALUES (was, -1), (becomes, 1)) AS moved (status, number)
), {TALLY}
SELECT id, becomes = 'uncertain' AND was = 'sending' AS doubtful FROM judged
"""  # noqa: S608 - a constant

# A process that was frozen beyond its lease wakes up and tells how its attempt ended. It changes nothing any more.
LATE = """
INSERT INTO event (mail, type, at, provider, detail)
SELECT mail, 'late', given.ended_at, attempt.provider, given.words
FROM unnest($1::uuid[], $2::bigint[], $3::float8[], $4::text[]) AS given (mail, n, ended_at, words)
JOIN attempt USING (mail, n) WHERE attempt.outcome = 'interrupted' AND NOT EXISTS (
    SELECT FROM event WHERE event.mail = given.mail AND event.type = 'late' AND event.at = given.ended_at)
"""


async def renew(server: Server, ids: Sequence[str], now: float, lease: float) -> None:
    """Lengthen what is still held."""
    if ids:
        held = [as_uuid(each) for each in ids]
        await server.run(lambda: server.fetch(RENEW, now, server.here(), lease, held))


async def recover(server: Server, now: float, on_uncertain_after: float) -> list[str]:
    """Take over what a process left that gave no sign of life during its lease."""
    doubtful: list[str] = []
    while True:
        rows = await server.run(lambda: server.fetch(RECOVER, now, server.here(), on_uncertain_after, ENDED, STEP))
        doubtful += [str(mail_id) for mail_id, in_doubt in rows if in_doubt]
        if len(rows) < STEP:
            return doubtful


async def note_late(server: Server, settlements: Sequence[Settlement]) -> None:
    """Write down, once, what is told about attempts that were taken for interrupted."""
    rows = [(as_uuid(each.mail_id), each.n, each.ended_at, _words(each)) for each in settlements if _tells(each)]
    if rows:
        await server.run(lambda: server.fetch(LATE, *columns(rows, 4)))


def _tells(settlement: Settlement) -> bool:
    return settlement.n > 0 and settlement.outcome not in (None, Outcome.INTERRUPTED)


def _words(settlement: Settlement) -> str | None:
    outcome = settlement.outcome.value if settlement.outcome else ""
    parts = (settlement.http_status, settlement.provider_message_id, settlement.detail)
    return harmless(" ".join([f"attempt {settlement.n}: {outcome}", *(str(part) for part in parts if part)]))
