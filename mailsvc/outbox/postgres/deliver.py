"""How mails get out: claimed, begun, settled and given back. All that decides is read from the mail's locked row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import orjson

from ...attempt import Beginning, Settlement
from ...errors import Conflict
from ...model import LANES, Mail, Priority
from .batch import as_uuid, columns, harmless, in_waves, storable
from .reads import MAIL_COLUMNS, build_mail
from .server import Server
from .suppressions import leave_out_of
from .tally import TALLY

# Not synced: after a crash of the server the mails are due again, which is true.
NO_LANE = -1
_LANE = """SELECT id, status, created_at, claimable_at, {number} AS turn FROM mail
    WHERE lane = ${parameter} AND claimable_at <= $1 + behind($2)
    ORDER BY claimable_at, id LIMIT {limit} FOR UPDATE SKIP LOCKED"""
CLAIM = f"""
WITH careless AS (
    SELECT set_config('synchronous_commit', 'off', true)
), first AS (
    {_LANE.format(number=1, parameter=5, limit="$3")}
), second AS (
    {_LANE.format(number=2, parameter=6, limit="$3 - (SELECT count(*) FROM first)")}
), third AS (
    {_LANE.format(number=3, parameter=7, limit="$3 - (SELECT count(*) FROM first) - (SELECT count(*) FROM second)")}
), due AS (
    SELECT * FROM first UNION ALL SELECT * FROM second UNION ALL SELECT * FROM third
), taken AS (
    UPDATE mail SET claimable_at = $1 + behind($2) + $4,
        status = CASE mail.status WHEN 'scheduled' THEN 'queued' ELSE mail.status END,
        tried_since = CASE mail.status WHEN 'scheduled' THEN mail.due_at ELSE mail.tried_since END
    FROM due WHERE mail.id = due.id RETURNING mail.*, due.claimable_at AS due_since, due.turn
), moves AS (
    SELECT moved.*, created_at FROM due, LATERAL (VALUES ('scheduled', -1), ('queued', 1)) AS moved (status, number)
    WHERE due.status = 'scheduled'
), {TALLY}
SELECT mail.status, EXISTS (SELECT FROM suppression) AS choosy, {MAIL_COLUMNS.format(people="AND status IS NULL")}
FROM careless, taken AS mail LEFT JOIN body ON body.mail = mail.id ORDER BY mail.turn, mail.due_since, mail.id
"""  # noqa: S608 - constants

# A connection that was cut may have begun the attempt before: then the mail runs it, since that very time.
BEGIN = f"""
WITH given AS (
    SELECT * FROM unnest($4::uuid[], $5::bigint[], $6::text[], $7::float8[], $8::json[], $9::float8[], $10::text[])
    AS given (mail, n, provider, score, considered, started_at, resolved)
), judged AS (
    SELECT given.*, mail.created_at, mail.status AS was, attempts,
        NOT running AND n = attempts + 1 AND mail.status IN ('scheduled', 'queued', 'uncertain', 'sending') AS begins,
        $1 AND running AND n = attempts AND updated_at = started_at AS begun
    FROM given JOIN mail ON mail.id = given.mail ORDER BY mail.id FOR UPDATE OF mail
), resolved AS (
    UPDATE attempt SET resolved = judged.resolved FROM judged
    WHERE attempt.mail = judged.mail AND judged.begins AND judged.resolved IS NOT NULL
        AND attempt.outcome IN ('unanswered', 'interrupted') AND attempt.resolved IS NULL
), attempts AS (
    INSERT INTO attempt (mail, n, provider, score, considered, started_at)
    SELECT mail, n, provider, score, considered, started_at FROM judged WHERE begins
), payloads AS (
    INSERT INTO payload (mail, provider, key, body, at)
    SELECT kept.* FROM unnest($11::uuid[], $12::text[], $13::text[], $14::bytea[], $15::float8[])
        AS kept (mail, provider, key, body, at) JOIN judged ON judged.mail = kept.mail WHERE judged.begins
    ON CONFLICT DO NOTHING
), moved AS (
    UPDATE mail SET status = 'sending', attempts = judged.n, running = true, claimable_at = NULL,
        leased_until = judged.started_at + behind($2) + $3, updated_at = judged.started_at
    FROM judged WHERE mail.id = judged.mail AND judged.begins
), moves AS (
    SELECT moved.*, created_at FROM judged, LATERAL (VALUES (was, -1), ('sending', 1)) AS moved (status, number)
    WHERE begins
), {TALLY}
SELECT mail, was, attempts, begins OR begun AS begun FROM judged
"""  # noqa: S608 - a constant

# A mail that moved on while the attempt ran, by a report, knows better: only the attempt ends.
SETTLE = f"""
WITH given AS (
    SELECT * FROM unnest($4::uuid[], $5::bigint[], $6::text[], $7::text[], $8::float8[], $9::bigint[], $10::float8[],
        $11::text[], $12::text[], $13::bigint[], $14::text[], $15::text[], $16::text[], $17::text[])
    AS given (mail, n, outcome, status, due_at, rounds, ended_at,
        provider, provider_message_id, http_status, detail, error, resolved, expected)
), standing AS (
    SELECT given.*, mail.status AS was, mail.attempts, mail.running, mail.rounds AS had_rounds, mail.due_at AS was_due,
        mail.claimable_at, mail.updated_at, mail.created_at
    FROM given JOIN mail ON mail.id = given.mail ORDER BY mail.id FOR UPDATE OF mail
), judged AS (
    SELECT *, CASE
        WHEN n > 0 THEN running AND n = attempts
        ELSE NOT running AND was IN ('scheduled', 'queued', 'uncertain', 'sending')
            AND (expected IS NULL OR expected = was)
            AND (was, had_rounds, was_due, claimable_at) IS DISTINCT FROM (status, rounds, due_at, due_at + behind($2))
        END AS applies,
        $1 AND NOT running AND n IN (0, attempts) AND was = status AND updated_at = ended_at AS applied
    FROM standing
), ruled AS (
    SELECT *, applies AND (n = 0 OR was = 'sending') AS moves FROM judged
), resolved AS (
    UPDATE attempt SET resolved = ruled.resolved FROM ruled
    WHERE attempt.mail = ruled.mail AND ruled.applies AND ruled.resolved IS NOT NULL
        AND attempt.n <> ruled.n AND attempt.outcome IN ('unanswered', 'interrupted') AND attempt.resolved IS NULL
), ended AS (
    UPDATE attempt SET outcome = ruled.outcome, http_status = ruled.http_status, detail = ruled.detail,
        ended_at = ruled.ended_at,
        resolved = CASE WHEN ruled.outcome IN ('unanswered', 'interrupted') THEN ruled.resolved END
    FROM ruled WHERE attempt.mail = ruled.mail AND attempt.n = ruled.n AND ruled.applies
), freed AS (
    UPDATE mail SET running = false, leased_until = NULL
    FROM ruled WHERE mail.id = ruled.mail AND ruled.applies AND NOT ruled.moves
), moved AS (
    UPDATE mail SET status = ruled.status, running = false, rounds = ruled.rounds,
        due_at = CASE ruled.status WHEN 'sending' THEN mail.due_at ELSE ruled.due_at END,
        claimable_at = CASE ruled.status WHEN 'sending' THEN NULL ELSE ruled.due_at + behind($2) END,
        leased_until = CASE ruled.status WHEN 'sending' THEN ruled.ended_at + behind($2) + $3 END,
        provider = coalesce(ruled.provider, mail.provider),
        provider_message_id = coalesce(ruled.provider_message_id, mail.provider_message_id),
        error = ruled.error, updated_at = ruled.ended_at
    FROM ruled WHERE mail.id = ruled.mail AND ruled.moves
), forgotten AS (
    DELETE FROM payload USING ruled WHERE payload.mail = ruled.mail AND ruled.moves
        AND ruled.status NOT IN ('scheduled', 'queued', 'uncertain', 'sending')
), people AS (
    UPDATE recipient SET status = own.status
    FROM unnest($18::uuid[], $19::text[], $20::text[]) AS own (mail, address, status) JOIN ruled USING (mail)
    WHERE recipient.mail = own.mail AND lower(recipient.address) = lower(own.address COLLATE "C") AND ruled.applies
        AND (recipient.status IS NULL OR recipient.status NOT IN ('delivered', 'bounced', 'complained'))
), reports AS (
    UPDATE report SET due_at = ruled.ended_at FROM ruled
    WHERE ruled.applies AND NOT ruled.moves
        AND number = (SELECT number FROM report AS newest WHERE newest.mail = ruled.mail ORDER BY number DESC LIMIT 1)
), events AS (
    INSERT INTO event (mail, type, at, provider, recipient, detail)
    SELECT mail, type, at, said.provider, recipient, said.detail
    FROM unnest($21::uuid[], $22::text[], $23::float8[], $24::text[], $25::text[], $26::text[])
        WITH ORDINALITY AS said (mail, type, at, provider, recipient, detail, place) JOIN ruled USING (mail)
    WHERE ruled.applies ORDER BY place
), moves AS (
    SELECT each.*, created_at FROM ruled, LATERAL (VALUES (was, -1), (ruled.status, 1)) AS each (status, number)
    WHERE moves
), {TALLY}
SELECT mail, applies OR applied AS applied FROM ruled
"""  # noqa: S608 - a constant

RELEASE = """
WITH held AS (
    SELECT id FROM mail WHERE id = ANY($3) AND claimable_at IS NOT NULL
        AND status IN ('scheduled', 'queued', 'uncertain') ORDER BY id FOR UPDATE
)
UPDATE mail SET due_at = $1, claimable_at = $1 + behind($2) FROM held WHERE mail.id = held.id
"""


async def claim(server: Server, room: int, now: float, lease: float, lanes: Sequence[Priority]) -> list[Mail]:
    """Take what is due, from one lane after the other."""
    if room <= 0:
        return []
    numbers = [*(each.lane for each in lanes), NO_LANE, NO_LANE][: len(LANES)]
    rows = await server.run(lambda: server.fetch(CLAIM, now, server.here(), room, lease, *numbers))
    mails = [build_mail(row) for row in rows]
    return await leave_out_of(server, mails, now) if rows and rows[0]["choosy"] else mails


async def begin(server: Server, beginnings: Sequence[Beginning], lease: float) -> list[Exception | None]:
    """Write attempts down that are about to start."""
    return await in_waves(beginnings, lambda each: each.mail_id, partial(_begin, server, lease))


async def _begin(server: Server, lease: float, beginnings: Sequence[Beginning]) -> list[Exception | None]:
    given = columns([_beginning(each) for each in beginnings], 7)
    kept = columns([_payload(each) for each in beginnings if each.payload is not None], 5)
    rows = await server.settle(lambda again: server.fetch(BEGIN, again, server.here(), lease, *given, *kept))
    found = {str(mail_id): rest for mail_id, *rest in rows}
    return [_begun(each, found.get(each.mail_id)) for each in beginnings]


def _begun(beginning: Beginning, found: Sequence[object] | None) -> Conflict | None:
    if found is None:
        return Conflict(f"mail {beginning.mail_id} is unknown")
    status, attempts, begun = found
    if begun:
        return None
    return Conflict(f"mail {beginning.mail_id} is {status} after {attempts} attempts: no attempt {beginning.n} now")


def _beginning(each: Beginning) -> tuple[object, ...]:
    storable(each.provider)
    considered = orjson.dumps(each.considered).decode()
    resolved = each.resolved and each.resolved.value
    values = (each.n, each.provider, each.score, considered, each.started_at, resolved)
    return as_uuid(each.mail_id), *values


def _payload(each: Beginning) -> tuple[object, ...]:
    payload = each.payload
    assert payload is not None  # noqa: S101 - for the type checker; the caller has looked
    storable(payload.provider, payload.key)
    return as_uuid(each.mail_id), payload.provider, payload.key, payload.body, payload.at


async def settle(server: Server, settlements: Sequence[Settlement], lease: float) -> list[bool | Exception]:
    """Write down how attempts ended."""
    return await in_waves(settlements, lambda each: each.mail_id, partial(_settle, server, lease))


async def _settle(server: Server, lease: float, settlements: Sequence[Settlement]) -> list[bool]:
    given = columns([_settlement(each) for each in settlements], 14)
    people = columns([row for each in settlements for row in _people(each)], 3)
    events = columns([row for each in settlements for row in _events(each)], 6)
    rows = await server.settle(
        lambda again: server.fetch(SETTLE, again, server.here(), lease, *given, *people, *events)
    )
    applied = {str(mail_id) for mail_id, applied in rows if applied}
    return [each.mail_id in applied for each in settlements]


def _settlement(each: Settlement) -> tuple[object, ...]:
    storable(each.provider)
    standing = (each.outcome and each.outcome.value, each.status.value, each.due_at, each.rounds, each.ended_at)
    provider = (each.provider, harmless(each.provider_message_id), each.http_status)
    words = (harmless(each.detail), harmless(each.error))
    doubt = (each.resolved and each.resolved.value, each.expected and each.expected.value)
    return as_uuid(each.mail_id), each.n, *standing, *provider, *words, *doubt


def _people(each: Settlement) -> list[tuple[object, ...]]:
    own = each.recipients or {}
    storable(*own)
    return [(as_uuid(each.mail_id), address, status.value) for address, status in own.items()]


def _events(each: Settlement) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for event in each.events:
        storable(event.type, event.provider, event.recipient)
        said = (event.type, event.at, event.provider, event.recipient, harmless(event.detail))
        rows.append((as_uuid(each.mail_id), *said))
    return rows


async def release(server: Server, ids: Sequence[str], due_at: float) -> None:
    """Give claims back."""
    await server.run(lambda: server.fetch(RELEASE, due_at, server.here(), [as_uuid(each) for each in ids]))
