"""How mails get in: the mail, its body and its recipients, and the key by which a repeated request is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from ...addition import KEY_REUSED, Added, Addition, Batch
from ...errors import IdempotencyKeyReused, StorageUnavailable
from ...model import Mail, Status
from .batch import columns, in_waves, known_uuid, storable
from .server import Server
from .suppressions import leave_out
from .tally import TALLY

TIDY_STEP = 500  # rows forgotten at a time, so that nobody waits long
FORGOTTEN = "the Idempotency-Key was forgotten in this very moment; repeat the request"
MAX_TEXT = 4 << 20  # characters of bodies in one statement, about

# Keys in order, so that two processes with the same ones wait for each other in one direction only. No join of these
# tables of hundreds of rows with each other: without an index, each row would meet all others.
_ADD = f"""
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
        $8::float8[], $9::float8[], $10::text[], $11::text[], $12::text[], $13::json[], $14::text[], $15::text[],
        $17::json[], $18::json[], $19::json[], $20::json[], $21::int[], $22::float8[], $23::int[], $24::boolean[],
        $32::bool[], $33::text[])
    WITH ORDINALITY AS given (id, owner, status, sender_address, sender_name, subject, on_uncertain,
        created_at, due_at, content, html, text, people, key, fingerprint,
        tags, metadata, reply_to, headers, attachments, expires_at, lane, sensitive,
        ignore_suppression, template, place)
), keyed AS (
    {{keyed}}
    ON CONFLICT DO NOTHING RETURNING mail_id
), fresh AS (
    {{fresh}}
), mails AS (
    INSERT INTO mail (id, owner, status, sender_address, sender_name, subject, on_uncertain, tags, metadata,
        ignore_suppression, created_at, updated_at, due_at, claimable_at, expires_at, lane, sensitive, template)
    SELECT id, owner, status, sender_address, sender_name, subject, on_uncertain, tags, metadata, ignore_suppression,
        created_at, created_at, due_at, due_at + behind($16), expires_at, lane, sensitive, template
    FROM fresh ORDER BY place
    {{conflict}} RETURNING id, status, created_at
), stored AS (
    SELECT * FROM fresh {{stored}}
), bodies AS (
    INSERT INTO body (mail, content, html, text, reply_to, headers, attachments)
    SELECT id, content, html, text, reply_to, headers, attachments FROM stored
), recipients AS (
    INSERT INTO recipient (mail, position, role, address, name)
    SELECT id, position - 1, one ->> 2, one ->> 0, one ->> 1
    FROM stored, json_array_elements(people) WITH ORDINALITY AS people (one, position)
), files AS (
    INSERT INTO attachment (mail, position, filename, content_type, content_id, size, content)
    SELECT * FROM unnest($25::uuid[], $26::int[], $27::text[], $28::text[], $29::text[], $30::bigint[], $31::bytea[])
        AS file (mail, position, filename, content_type, content_id, size, content)
    WHERE mail IN (SELECT id FROM stored)
), moves AS (
    SELECT status, 1 AS number, created_at FROM mails
), {TALLY}
SELECT id, EXISTS (SELECT FROM suppression) FROM fresh
"""  # noqa: S608 - a constant
_EACH = {
    "keyed": """INSERT INTO idempotency (owner, key, fingerprint, mail_id, status, created_at)
    SELECT owner, key, fingerprint, id, status, created_at FROM given WHERE key IS NOT NULL
    ORDER BY owner, key, place""",
    "fresh": "SELECT * FROM given WHERE key IS NULL OR id IN (SELECT mail_id FROM keyed)",
}
_ALL = {
    "keyed": """INSERT INTO idempotency (owner, key, fingerprint, mail_id, status, created_at, answer)
    SELECT $36::text, $34::text, $37::text, id, status, created_at, $35::text FROM given
    WHERE place = 1 AND $34::text IS NOT NULL""",
    "fresh": "SELECT * FROM given WHERE $34::text IS NULL OR EXISTS (SELECT FROM keyed)",
}
# The connection was cut, and the rows may be there already; if their transaction has not ended yet, this waits for it.
_AGAIN = {"conflict": "ON CONFLICT (id) DO NOTHING", "stored": "WHERE id IN (SELECT id FROM mails)"}
_FIRST = {"conflict": "", "stored": ""}
ADD, ADD_AGAIN = _ADD.format(**_EACH, **_FIRST), _ADD.format(**_EACH, **_AGAIN)
ADD_BATCH, ADD_BATCH_AGAIN = _ADD.format(**_ALL, **_FIRST), _ADD.format(**_ALL, **_AGAIN)
FIRST_ANSWERS = """
SELECT owner, key, fingerprint, mail_id, status, created_at, answer FROM idempotency
WHERE (owner, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""
FORGET_KEYS = """
DELETE FROM idempotency WHERE (owner, key) IN
    (SELECT owner, key FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2)
RETURNING 1
"""


async def add(server: Server, additions: Sequence[Addition]) -> list[Added | Exception]:
    """Store mails, except those whose key is known."""
    results: list[Added | Exception] = []
    for portion in _portions(additions):
        results += await in_waves(portion, lambda addition: addition.mail.id, lambda rows: _add(server, rows))
    return results


async def add_batch(server: Server, batch: Batch) -> str:
    """Store all mails of a batch in one statement, unless its key is known; the answer to give."""
    storable(batch.owner, batch.idempotency_key, batch.fingerprint, batch.answer)
    values = _values(batch.additions, server.here())
    keyed = (batch.idempotency_key, batch.answer, batch.owner, batch.fingerprint)

    async def insert(again: bool) -> bool:
        fresh = await server.fetch(ADD_BATCH_AGAIN if again else ADD_BATCH, *values, *keyed)
        if fresh and fresh[0][1]:
            await leave_out(server, [row[0] for row in fresh], batch.created_at)
        return bool(fresh)

    if await server.settle(insert):
        return batch.answer
    rows = await server.look(FIRST_ANSWERS, [batch.owner], [batch.idempotency_key])
    if not rows:
        raise StorageUnavailable(FORGOTTEN)
    _, _, fingerprint, *_, answer = rows[0]
    if fingerprint != batch.fingerprint or answer is None:
        raise IdempotencyKeyReused(KEY_REUSED)
    return str(answer)


async def first_answer(server: Server, owner: str, key: str, fingerprint: str) -> Added | str | None:
    """What the first request with this key was told. Raises IdempotencyKeyReused."""
    rows = await server.look(FIRST_ANSWERS, [owner], [key])
    if not rows:
        return None
    _, _, known, mail_id, status, created_at, answer = rows[0]
    if known != fingerprint:
        raise IdempotencyKeyReused(KEY_REUSED)
    return Added(str(mail_id), Status(status), created_at, replayed=True) if answer is None else str(answer)


async def forget_keys(server: Server, before: float) -> bool:
    """Delete some of the keys that were first used before a time; True if there may be more."""
    return len(await server.run(lambda: server.fetch(FORGET_KEYS, before, TIDY_STEP))) == TIDY_STEP


def _portions(additions: Sequence[Addition]) -> Iterator[list[Addition]]:
    """Large bodies go in by several statements, so that none holds up the others for long."""
    portion: list[Addition] = []
    size = 0
    for addition in additions:
        mail = addition.mail
        length = mail.size
        if portion and size + length > MAX_TEXT:
            yield portion
            portion, size = [], 0
        portion.append(addition)
        size += length
    if portion:
        yield portion


async def _add(server: Server, additions: Sequence[Addition]) -> list[Added | Exception]:
    values = _values(additions, server.here())

    async def insert(again: bool) -> set[str]:
        fresh = await server.fetch(ADD_AGAIN if again else ADD, *values)
        if fresh and fresh[0][1]:
            await leave_out(server, [row[0] for row in fresh], max(each.mail.created_at for each in additions))
        return {str(row[0]) for row in fresh}

    stored = await server.settle(insert)
    known = [addition for addition in additions if addition.mail.id not in stored]
    answers = await _first_answers(server, known) if known else {}
    return [answers.get(addition.mail.id) or _fresh(addition) for addition in additions]


def _values(additions: Sequence[Addition], here: float) -> tuple[object, ...]:
    """What stands in the statements for these rows."""
    rows = columns([_row(addition) for addition in additions], 15)
    more = columns([_more(addition.mail) for addition in additions], 8)
    files = columns([row for addition in additions for row in _files(addition.mail)], 7)
    mails = [addition.mail for addition in additions]
    last = ([mail.ignore_suppression for mail in mails], [mail.template and str(mail.template) for mail in mails])
    return (*rows, here, *more, *files, *last)


async def _first_answers(server: Server, additions: Sequence[Addition]) -> dict[str, Added | Exception]:
    """What those are told whose key was used before; by the id of the mail that they have not become."""
    scopes = columns([(addition.owner, addition.idempotency_key) for addition in additions], 2)
    found = {(owner, key): row for owner, key, *row in await server.look(FIRST_ANSWERS, *scopes)}
    return {each.mail.id: _first(each, found.get((each.owner, each.idempotency_key))) for each in additions}


def _first(addition: Addition, row: Sequence[Any] | None) -> Added | Exception:
    if row is None:
        return StorageUnavailable(FORGOTTEN)
    fingerprint, mail_id, status, created_at, answer = row
    if fingerprint != addition.fingerprint or answer is not None:
        return IdempotencyKeyReused(KEY_REUSED)
    first = str(mail_id)
    return Added(first, Status(status), created_at, replayed=first != addition.mail.id)


def _fresh(addition: Addition) -> Added:
    return Added(addition.mail.id, addition.status, addition.mail.created_at)


def _row(addition: Addition) -> tuple[object, ...]:
    mail = addition.mail
    bodies = (mail.content, mail.html, mail.text)
    storable(addition.owner, addition.idempotency_key, addition.fingerprint, mail.sender.address, mail.sender.name)
    storable(mail.subject, *bodies)
    identity = (known_uuid(mail.id), addition.owner, addition.status.value)
    sender = (mail.sender.address, mail.sender.name, mail.subject, mail.on_uncertain.value)
    times = (mail.created_at, addition.due_at)
    keyed = (addition.idempotency_key, addition.fingerprint)
    return (*identity, *sender, *times, *bodies, _people(mail), *keyed)


def _more(mail: Mail) -> tuple[object, ...]:
    answers = [(each.address, each.name) for each in mail.reply_to]
    texts = (_json(mail.tags), _json(mail.metadata), _json(answers), _json(mail.headers))
    return (*texts, len(mail.attachments), mail.expires_at, mail.priority.lane, mail.sensitive)


def _files(mail: Mail) -> Iterator[tuple[object, ...]]:
    for position, each in enumerate(mail.attachments):
        storable(each.filename, each.content_type, each.content_id)
        named = (each.filename, each.content_type, each.content_id)
        yield known_uuid(mail.id), position, *named, each.size, each.content


def _json(value: Mapping[str, str] | Sequence[object]) -> str | None:
    """As JSON; None for nothing. It is kept as a text and never looked into by the database."""
    return orjson.dumps(value).decode() if value else None


def _people(mail: Mail) -> str:
    for _, each in mail.people:
        storable(each.address, each.name)
    return orjson.dumps([(each.address, each.name, role) for role, each in mail.people]).decode()
