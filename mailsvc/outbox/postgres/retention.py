"""What is forgotten: bodies and mails that are old, and a recipient who wants to be. Never a mail that is not final."""

from __future__ import annotations

from ..base import ERASED_ADDRESS, ERASED_SUBJECT, Erasure
from .server import Server
from .tally import TALLY

STEP = 200  # mails at a time, so that nobody waits long

FINAL = "mail.status NOT IN ('scheduled', 'queued', 'sending', 'uncertain')"
ERASE_BODIES = f"""
WITH old AS (
    SELECT id FROM mail WHERE erased_at IS NULL AND {FINAL} AND updated_at < $1
    ORDER BY updated_at LIMIT $3 FOR UPDATE SKIP LOCKED
), bodies AS (
    DELETE FROM body USING old WHERE body.mail = old.id
)
UPDATE mail SET erased_at = $2 FROM old WHERE mail.id = old.id RETURNING 1
"""  # noqa: S608 - a constant
DELETE_MAILS = f"""
WITH old AS (
    SELECT id FROM mail WHERE erased_at IS NOT NULL AND updated_at < $1
    ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM mail USING old WHERE mail.id = old.id RETURNING mail.status, mail.created_at
), moves AS (
    SELECT status, -1 AS number, created_at FROM gone
), {TALLY}
SELECT 1 FROM gone
"""  # noqa: S608 - a constant
PERSON = 'lower(address) = lower($1::text COLLATE "C")'
ERASE = f"""
WITH found AS (
    SELECT id FROM mail WHERE id IN (SELECT mail FROM recipient WHERE {PERSON}) AND {FINAL} LIMIT $3 FOR UPDATE
), bodies AS (
    DELETE FROM body USING found WHERE body.mail = found.id
), people AS (
    UPDATE recipient SET address = $4, name = '' FROM found WHERE recipient.mail = found.id AND {PERSON}
), attempts AS (
    UPDATE attempt SET detail = NULL FROM found WHERE attempt.mail = found.id
), events AS (
    UPDATE event SET detail = NULL,
        recipient = CASE WHEN lower(recipient) = lower($1::text) THEN $4 ELSE recipient END
    FROM found WHERE event.mail = found.id
), notices AS (
    UPDATE notice SET error = NULL, metadata = NULL FROM found
    WHERE notice.mail = found.id AND (notice.error IS NOT NULL OR notice.metadata IS NOT NULL)
)
UPDATE mail SET erased_at = coalesce(erased_at, $2), subject = $5, metadata = NULL, error = NULL
FROM found WHERE mail.id = found.id RETURNING 1
"""  # noqa: S608 - a constant
# What waits to be merged for the first time is merged in a moment, and leaves no address behind.
FORGET_REPORTS = """
DELETE FROM report WHERE lower(recipient) = lower($1::text COLLATE "C") AND (due_at IS NULL OR tries > 0)
"""
WAITING = f"""
SELECT count(*) FROM mail WHERE id IN (SELECT mail FROM recipient WHERE {PERSON}) AND NOT {FINAL}
"""  # noqa: S608 - a constant


async def forget(server: Server, now: float, bodies_before: float, mails_before: float) -> bool:
    """Erase some old bodies and delete some old mails; True if there may be more."""
    bodies = await server.run(lambda: server.fetch(ERASE_BODIES, bodies_before, now, STEP))
    mails = await server.run(lambda: server.fetch(DELETE_MAILS, mails_before, STEP))
    return STEP in (len(bodies), len(mails))


async def erase(server: Server, address: str, now: float) -> Erasure:
    """Erase some mails of a recipient."""
    if "\x00" in address:
        return Erasure(0, 0)
    values = (address, now, STEP, ERASED_ADDRESS, ERASED_SUBJECT)
    erased = await server.run(lambda: server.fetch(ERASE, *values))
    await server.run(lambda: server.fetch(FORGET_REPORTS, address))
    ((waiting,),) = await server.look(WAITING, address)
    return Erasure(len(erased), waiting)
