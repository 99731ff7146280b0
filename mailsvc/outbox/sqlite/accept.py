"""How mails get in: the mail, its body and its recipients, and the key by which a repeated request is known."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import orjson

from ...addition import KEEP_IDEMPOTENCY_KEYS, KEY_REUSED, Added, Addition, Batch
from ...errors import IdempotencyKeyReused
from ...model import Mail, Status
from .engine import Transaction
from .suppressions import leave_out

TIDY_STEP = 500  # rows forgotten at a time, so that nobody waits long

INSERT_MAIL = """
INSERT INTO mail (number, id, owner, status, sender_address, sender_name, subject, on_uncertain,
    tags, metadata, ignore_suppression, created_at, updated_at, due_at, claimable_at, expires_at, lane, sensitive,
    template)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
INSERT_BODY = """
INSERT INTO body (mail, content, html, text, reply_to, headers, attachments) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
INSERT_RECIPIENT = "INSERT INTO recipient (mail, position, role, address, name) VALUES (?, ?, ?, ?, ?)"
INSERT_ATTACHMENT = """
INSERT INTO attachment (mail, position, filename, content_type, content_id, size, content) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
INSERT_KEY = "INSERT INTO idempotency (owner, key, fingerprint, mail_id, status, created_at) VALUES (?, ?, ?, ?, ?, ?)"
INSERT_ANSWER = """
INSERT INTO idempotency (owner, key, fingerprint, mail_id, status, created_at, answer) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
FIRST_ANSWER = "SELECT fingerprint, mail_id, status, created_at, answer FROM idempotency WHERE owner = ? AND key = ?"
LAST_NUMBER = "SELECT coalesce(max(number), 0) FROM mail"
FORGET_KEYS = """
DELETE FROM idempotency WHERE (owner, key) IN
    (SELECT owner, key FROM idempotency WHERE created_at < ? ORDER BY created_at LIMIT ?)
"""


def add(transaction: Transaction, additions: Sequence[Addition]) -> Sequence[Added | Exception]:
    """Store mails, except those whose key is known.

    Two new rows with one key break the batch; the engine then adds row by row, and the second finds the first.
    """
    results = [_known(transaction.connection, addition) or _fresh(addition) for addition in additions]
    pairs = zip(additions, results, strict=True)
    fresh = [(addition, result) for addition, result in pairs if isinstance(result, Added) and not result.replayed]
    if fresh:
        _insert(transaction, fresh)
    return results


def add_batch(transaction: Transaction, batches: Sequence[Batch]) -> list[str | Exception]:
    """Store all mails of a batch, unless its key is known; the answer to give."""
    return [_add_batch(transaction, batch) for batch in batches]


def _add_batch(transaction: Transaction, batch: Batch) -> str | Exception:
    connection = transaction.connection
    scope = (batch.owner, batch.idempotency_key)
    first = connection.execute(FIRST_ANSWER, scope).fetchone() if batch.idempotency_key is not None else None
    if first is not None:
        fingerprint, *_, answer = first
        return IdempotencyKeyReused(KEY_REUSED) if fingerprint != batch.fingerprint or answer is None else str(answer)
    fresh = [(addition, _fresh(addition)) for addition in batch.additions]
    _insert(transaction, fresh)
    if batch.idempotency_key is not None:
        told = (fresh[0][1].id, fresh[0][1].status.value, batch.created_at, batch.answer)
        connection.execute(INSERT_ANSWER, (*scope, batch.fingerprint, *told))
    return batch.answer


def first_answer(connection: sqlite3.Connection, owner: str, key: str, fingerprint: str) -> Added | str | None:
    """What the first request with this key was told. Raises IdempotencyKeyReused."""
    first = connection.execute(FIRST_ANSWER, (owner, key)).fetchone()
    if first is None:
        return None
    known, mail_id, status, created_at, answer = first
    if known != fingerprint:
        raise IdempotencyKeyReused(KEY_REUSED)
    return Added(mail_id, Status(status), created_at, replayed=True) if answer is None else str(answer)


def forget_keys(transaction: Transaction, times: Sequence[float]) -> Sequence[bool | Exception]:
    """Delete some of the keys that are older than they are kept at each of the times; True if there may be more."""
    connection = transaction.connection
    limits = [time - KEEP_IDEMPOTENCY_KEYS for time in times]
    return [connection.execute(FORGET_KEYS, (limit, TIDY_STEP)).rowcount == TIDY_STEP for limit in limits]


def _known(connection: sqlite3.Connection, addition: Addition) -> Added | Exception | None:
    if addition.idempotency_key is None:
        return None
    try:
        first = first_answer(connection, addition.owner, addition.idempotency_key, addition.fingerprint)
    except IdempotencyKeyReused as error:
        return error
    return IdempotencyKeyReused(KEY_REUSED) if isinstance(first, str) else first


def _fresh(addition: Addition) -> Added:
    return Added(addition.mail.id, addition.status, addition.mail.created_at)


def _insert(transaction: Transaction, fresh: Sequence[tuple[Addition, Added]]) -> None:
    """One statement for all rows of a table. Numbers are given here, so that no statement has to ask for them."""
    connection = transaction.connection
    (last,) = connection.execute(LAST_NUMBER).fetchone()
    numbered = list(enumerate((addition.mail for addition, _ in fresh), last + 1))
    connection.executemany(INSERT_MAIL, map(_mail_row, fresh, (number for number, _ in numbered)))
    connection.executemany(INSERT_BODY, (_body_row(*one) for one in numbered))
    connection.executemany(INSERT_RECIPIENT, (row for one in numbered for row in _recipient_rows(*one)))
    connection.executemany(INSERT_ATTACHMENT, (row for one in numbered for row in _attachment_rows(*one)))
    connection.executemany(INSERT_KEY, (_key_row(*one) for one in fresh if one[0].idempotency_key is not None))
    for _, added in fresh:
        transaction.move(added.created_at, None, added.status)
    leave_out(transaction, [number for number, _ in numbered], max(mail.created_at for _, mail in numbered))


def _mail_row(fresh: tuple[Addition, Added], number: int) -> tuple[object, ...]:
    (addition, added), mail = fresh, fresh[0].mail
    identity = (number, mail.id, addition.owner, added.status.value)
    sender = (mail.sender.address, _text(mail.sender.name))
    labels = (_json(mail.tags), _json(mail.metadata), mail.ignore_suppression)
    times = (mail.created_at, mail.created_at, addition.due_at, addition.due_at)
    ways = (mail.expires_at, mail.priority.lane, mail.sensitive, mail.template and str(mail.template))
    return (*identity, *sender, _text(mail.subject), mail.on_uncertain.value, *labels, *times, *ways)


def _body_row(number: int, mail: Mail) -> tuple[object, ...]:
    answers = _json([(each.address, each.name) for each in mail.reply_to])
    texts = (_text(mail.content), _text(mail.html), _text(mail.text))
    return number, *texts, answers, _json(mail.headers), len(mail.attachments)


def _recipient_rows(number: int, mail: Mail) -> list[tuple[object, ...]]:
    return [
        (number, position, role, each.address, _text(each.name)) for position, (role, each) in enumerate(mail.people)
    ]


def _attachment_rows(number: int, mail: Mail) -> list[tuple[object, ...]]:
    return [
        (number, position, _text(each.filename), each.content_type, each.content_id, each.size, each.content)
        for position, each in enumerate(mail.attachments)
    ]


def _key_row(addition: Addition, added: Added) -> tuple[object, ...]:
    scope = (addition.owner, addition.idempotency_key)
    return *scope, addition.fingerprint, added.id, added.status.value, added.created_at


def _json(value: Mapping[str, str] | Sequence[object]) -> str | None:
    """As JSON, in which U+0000 is an escape like any other; None for nothing."""
    return orjson.dumps(value).decode() if value else None


def _text(text: str | None) -> str | None:
    """Not every database can keep U+0000, and SQLite's own functions end a text there."""
    if text is not None and "\x00" in text:
        raise ValueError("a text with the character U+0000 cannot be stored")
    return text
