"""The statements that only look. Each function runs in the connection's thread and sees one state of the outbox."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import orjson

from ...address import Mailbox
from ...model import (
    LANES,
    Attachment,
    Attempt,
    Event,
    Mail,
    OnUncertain,
    Outcome,
    Payload,
    Recipient,
    Record,
    Resolution,
    Status,
)
from ...template import Origin

SELECT_MAIL = """
SELECT mail.number, mail.status, mail.id, mail.created_at, sender_address, sender_name, subject, on_uncertain,
    content, html, text, rounds, attempts, tags, metadata, reply_to, headers,
    expires_at, lane, sensitive, iif(mail.status = 'scheduled', mail.due_at, tried_since), retries, attachments
FROM mail LEFT JOIN body ON body.mail = mail.number
"""
MAIL_BY_ID = f"{SELECT_MAIL} WHERE mail.id = ?"

RECORD = """mail.number, mail.id, mail.status, mail.sender_address, mail.sender_name, mail.subject, mail.created_at,
    mail.updated_at, mail.due_at, mail.provider, mail.provider_message_id, mail.error, mail.erased_at,
    mail.tags, mail.metadata, mail.expires_at, mail.lane, mail.sensitive, mail.template"""
RECORD_BY_ID = f"SELECT {RECORD} FROM mail WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)"  # noqa: S608 - a constant

# The rows of several mails are asked for by a JSON array of their numbers.
RECIPIENTS = """
SELECT mail, address, name, role, status FROM recipient
WHERE mail IN (SELECT value FROM json_each(?)) ORDER BY mail, position
"""
DOUBTED = """
SELECT mail, provider FROM attempt
WHERE mail IN (SELECT value FROM json_each(?)) AND outcome IN ('unanswered', 'interrupted')
    AND resolved IS NOT 'same_key'
"""
PAYLOADS = (
    "SELECT mail, provider, key, body, at FROM payload WHERE mail IN (SELECT value FROM json_each(?)) ORDER BY at"
)
FILES = """
SELECT mail, filename, content_type, content_id, size FROM attachment
WHERE mail IN (SELECT value FROM json_each(?)) ORDER BY mail, position
"""
ATTACHMENTS = """
SELECT filename, content_type, content_id, size, attachment.content
FROM attachment JOIN mail ON mail.number = attachment.mail WHERE mail.id = ? ORDER BY position
"""
ATTEMPTS = """
SELECT n, provider, outcome, http_status, detail, started_at, ended_at, score, considered, resolved FROM attempt
WHERE mail = ? ORDER BY n
"""
DOUBTS = """
SELECT provider, resolved, count(*) FROM attempt WHERE outcome IN ('unanswered', 'interrupted')
GROUP BY provider, resolved
"""
OLDEST_CLAIMABLE = """
SELECT min(first) FROM (SELECT (SELECT claimable_at FROM mail WHERE lane = value AND claimable_at IS NOT NULL
    ORDER BY claimable_at LIMIT 1) AS first FROM json_each('[0, 1, 2]'))
"""
SIZE = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
EVENTS = "SELECT type, at, provider, recipient, detail FROM event WHERE mail = ? ORDER BY n"
PROVIDERS = "SELECT state FROM provider ORDER BY name"

Row = tuple[Any, ...]


def get(connection: sqlite3.Connection, mail_id: str, owner: str | None) -> Record | None:
    """A mail's record with its attempts and events."""
    row = connection.execute(RECORD_BY_ID, (mail_id, owner)).fetchone()
    if row is None:
        return None
    recipients = _recipients(connection, [row[0]])[row[0]]
    attempts = tuple(_attempt(each) for each in connection.execute(ATTEMPTS, row[:1]))
    events = tuple(Event(*each) for each in connection.execute(EVENTS, row[:1]))
    return _record(row, recipients, attempts=attempts, events=events)


def mail(connection: sqlite3.Connection, mail_id: str) -> Mail | None:
    """A mail with its bodies."""
    found = build_mails(connection, connection.execute(MAIL_BY_ID, (mail_id,)).fetchall(), everybody=True)
    return found[0] if found else None


def attachments(connection: sqlite3.Connection, mail_id: str) -> list[Attachment]:
    """A mail's attachments with their content."""
    return [Attachment(*row) for row in connection.execute(ATTACHMENTS, (mail_id,))]


def build_records(connection: sqlite3.Connection, rows: Sequence[Row]) -> list[Record]:
    """The records of RECORD's rows, in their order, without attempts and events."""
    recipients = _recipients(connection, [row[0] for row in rows])
    return [_record(row, recipients[row[0]]) for row in rows]


def providers(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """The states of providers as last saved."""
    return [orjson.loads(state) for (state,) in connection.execute(PROVIDERS)]


def extent(connection: sqlite3.Connection) -> tuple[float | None, int]:
    """When the first mail is due, and the bytes of the database."""
    row = connection.execute(OLDEST_CLAIMABLE).fetchone()
    return row and row[0], connection.execute(SIZE).fetchone()[0]


def doubts(connection: sqlite3.Connection) -> dict[tuple[str, Resolution | None], int]:
    """How many attempts were in doubt, by provider and resolution."""
    rows = connection.execute(DOUBTS).fetchall()
    return {(provider, Resolution(resolved) if resolved else None): number for provider, resolved, number in rows}


def build_mails(connection: sqlite3.Connection, rows: Sequence[Row], *, everybody: bool) -> list[Mail]:
    """The mails of SELECT_MAIL's rows, in their order; to `everybody`, or to those without a status of their own."""
    numbers = [row[0] for row in rows]
    recipients = _recipients(connection, numbers)
    tried = [row[0] for row in rows if row[12]]
    doubted, payloads = _doubted(connection, tried), _payloads(connection, tried)
    files = _files(connection, [row[0] for row in rows if row[-1]])
    mails = []
    for row in rows:
        number = row[0]
        people = [each for each in recipients[number] if everybody or each[4] is None]
        mails.append(_mail(row, people, doubted[number], payloads[number], files[number]))
    return mails


def _mail(row: Row, people: list[Row], doubted: set[str], payloads: list[Payload], files: list[Attachment]) -> Mail:
    _, status, mail_id, created_at, address, name, subject, on_uncertain, content, html, text, rounds, *rest = row
    attempts, tags, metadata, reply_to, headers, expires_at, lane, sensitive, tried_since, retries, _ = rest
    return Mail(
        id=mail_id,
        created_at=created_at,
        sender=Mailbox(address, name),
        to=_boxes(people, "to"),
        subject=subject,
        on_uncertain=OnUncertain(on_uncertain),
        content=content,
        html=html,
        text=text,
        rounds=rounds,
        attempts=attempts,
        doubted=frozenset(doubted),
        uncertain=status == Status.UNCERTAIN,
        payloads=tuple(payloads),
        cc=_boxes(people, "cc"),
        bcc=_boxes(people, "bcc"),
        reply_to=tuple(Mailbox(*each) for each in _value(reply_to, [])),
        headers=_value(headers, {}),
        tags=tuple(_value(tags, [])),
        metadata=_value(metadata, {}),
        attachments=tuple(files),
        expires_at=expires_at,
        priority=LANES[lane],
        sensitive=bool(sensitive),
        tried_since=tried_since,
        retries=retries,
    )


def _boxes(people: list[Row], role: str) -> tuple[Mailbox, ...]:
    return tuple(Mailbox(each[1], each[2]) for each in people if each[3] == role)


def _value(json: str | None, default: Any) -> Any:
    return default if json is None else orjson.loads(json)


def _record(row: Row, recipients: list[Row], **history: Any) -> Record:
    """`history` is what a list leaves out: attempts and events."""
    _, mail_id, status, address, name, subject, *rest, tags, metadata, expires_at, lane, sensitive, template = row
    history |= {"tags": tuple(_value(tags, [])), "metadata": _value(metadata, {})}
    history |= {"expires_at": expires_at, "priority": LANES[lane], "sensitive": bool(sensitive)}
    history |= {"template": Origin.parse(template)}
    people = tuple(Recipient(each[1], each[2], each[3], Status(each[4] or status)) for each in recipients)
    return Record(mail_id, Status(status), str(Mailbox(address, name)), subject, people, *rest, **history)


def _attempt(row: Row) -> Attempt:
    outcome, considered, resolved = row[2], orjson.loads(row[-2]), row[-1]
    values = (*row[:2], outcome and Outcome(outcome), *row[3:-2], considered, resolved and Resolution(resolved))
    return Attempt(*values)


def _recipients(connection: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for row in connection.execute(RECIPIENTS, (json_array(numbers),)):
        found[row[0]].append(row)
    return found


def _doubted(connection: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    if numbers:
        for number, provider in connection.execute(DOUBTED, (json_array(numbers),)):
            found[number].add(provider)
    return found


def _payloads(connection: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, list[Payload]]:
    found: dict[int, list[Payload]] = defaultdict(list)
    if numbers:
        for number, *rest in connection.execute(PAYLOADS, (json_array(numbers),)):
            found[number].append(Payload(*rest))
    return found


def _files(connection: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, list[Attachment]]:
    found: dict[int, list[Attachment]] = defaultdict(list)
    if numbers:
        for number, *rest in connection.execute(FILES, (json_array(numbers),)):
            found[number].append(Attachment(*rest))
    return found


def json_array(numbers: Sequence[int]) -> str:
    """Numbers for json_each. Never texts: it ends them at the character U+0000."""
    return orjson.dumps(numbers).decode()
