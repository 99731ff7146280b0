"""The statements that only look, each of which sees one state of the outbox, and the mails and records they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ...address import Mailbox
from ...hours import Hour, hour_of
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
from ..base import Extent
from .batch import as_uuid, storable
from .server import Server
from .tally import COUNTS, HOURS

# What a mail is built from; {people} says which recipients are meant. Who was never tried left nothing to look for.
MAIL_COLUMNS = """mail.id, mail.created_at, mail.sender_address, mail.sender_name, mail.subject, mail.on_uncertain,
    mail.rounds, mail.attempts, body.content, body.html, body.text,
    mail.tags, mail.metadata, body.reply_to, body.headers,
    mail.expires_at, mail.lane, mail.sensitive, mail.retries,
    CASE mail.status WHEN 'scheduled' THEN mail.due_at ELSE mail.tried_since END AS tried_since,
    CASE WHEN body.attachments > 0 THEN ARRAY(SELECT (filename, content_type, content_id, size) FROM attachment
        WHERE attachment.mail = mail.id ORDER BY position) END AS files,
    ARRAY(SELECT (address, name, role) FROM recipient
        WHERE recipient.mail = mail.id {people} ORDER BY position) AS people,
    CASE WHEN mail.attempts > 0 THEN ARRAY(SELECT provider FROM attempt WHERE attempt.mail = mail.id
        AND outcome IN ('unanswered', 'interrupted') AND resolved IS DISTINCT FROM 'same_key') END AS doubted,
    CASE WHEN mail.attempts > 0 THEN ARRAY(SELECT (provider, key, payload.body, at) FROM payload
        WHERE payload.mail = mail.id ORDER BY at) END AS payloads"""
MAIL = f"""
SELECT mail.status, {MAIL_COLUMNS.format(people="")}
FROM mail LEFT JOIN body ON body.mail = mail.id WHERE mail.id = $1
"""  # noqa: S608 - constants

RECORD = """mail.id, mail.status, mail.sender_address, mail.sender_name, mail.subject, mail.created_at, mail.updated_at,
    mail.due_at, mail.provider, mail.provider_message_id, mail.error, mail.erased_at,
    mail.tags, mail.metadata, mail.expires_at, mail.lane, mail.sensitive, mail.template,
    ARRAY(SELECT (address, name, role, status) FROM recipient
        WHERE recipient.mail = mail.id ORDER BY position) AS people"""
RECORD_BY_ID = f"""
SELECT {RECORD},
    ARRAY(SELECT (n, attempt.provider, outcome, http_status, detail, started_at, ended_at, score, considered, resolved)
        FROM attempt WHERE attempt.mail = mail.id ORDER BY n) AS attempts,
    ARRAY(SELECT (type, at, event.provider, recipient, detail)
        FROM event WHERE event.mail = mail.id ORDER BY n) AS events
FROM mail WHERE id = $1 AND ($2::text IS NULL OR owner = $2)
"""  # noqa: S608 - a constant
ATTACHMENTS = """
SELECT filename, content_type, content_id, size, content FROM attachment WHERE mail = $1 ORDER BY position
"""
PROVIDERS = "SELECT state FROM provider ORDER BY name"
DOUBTS = """
SELECT provider, resolved, count(*) FROM attempt WHERE in_doubt GROUP BY provider, resolved
"""

EXTENT = """
SELECT pg_database_size(current_database()) AS bytes,
    (SELECT min(first) FROM unnest(ARRAY[0, 1, 2]) AS one (number), LATERAL (SELECT claimable_at AS first FROM mail
        WHERE lane = number AND claimable_at IS NOT NULL ORDER BY claimable_at LIMIT 1) AS of_lane
    ) - behind($1) AS due
"""

Row = Mapping[str, Any]


async def get(server: Server, mail_id: str, owner: str | None) -> Record | None:
    """A mail's record with its attempts and events."""
    if not possible(owner):
        return None
    rows = await server.look(RECORD_BY_ID, as_uuid(mail_id), owner)
    if not rows:
        return None
    (row,) = rows
    attempts = tuple(_attempt(each) for each in row["attempts"])
    return build_record(row, attempts=attempts, events=tuple(Event(*each) for each in row["events"]))


async def mail(server: Server, mail_id: str) -> Mail | None:
    """A mail with its bodies."""
    rows = await server.look(MAIL, as_uuid(mail_id))
    return build_mail(rows[0]) if rows else None


async def attachments(server: Server, mail_id: str) -> list[Attachment]:
    """A mail's attachments with their content."""
    return [Attachment(*row) for row in await server.look(ATTACHMENTS, as_uuid(mail_id))]


async def counts(server: Server) -> dict[Status, int]:
    """How many mails are in each status."""
    return dict.fromkeys(Status, 0) | {Status(status): number for status, number in await server.look(COUNTS)}


async def hours(server: Server, since: float, until: float) -> list[Hour]:
    """The hours from one time to another, both included, that have mails."""
    return Hour.grouped(await server.look(HOURS, hour_of(since), hour_of(until)))


async def extent(server: Server, now: float) -> Extent:
    """How long the oldest mail is due, and the size of the database."""
    (row,) = await server.look(EXTENT, server.here())
    return Extent(row["due"] if row["due"] is not None and row["due"] <= now else None, bytes=row["bytes"])


async def doubts(server: Server) -> dict[tuple[str, Resolution | None], int]:
    """How many attempts were in doubt, by provider and resolution."""
    rows = await server.look(DOUBTS)
    return {(provider, Resolution(resolved) if resolved else None): number for provider, resolved, number in rows}


async def providers(server: Server) -> list[dict[str, Any]]:
    """The states of providers as last saved."""
    return [orjson.loads(state) for (state,) in await server.look(PROVIDERS)]


def build_mail(row: Row) -> Mail:
    """A mail of MAIL_COLUMNS and its status as it was found."""
    return Mail(
        id=str(row["id"]),
        created_at=row["created_at"],
        sender=Mailbox(row["sender_address"], row["sender_name"]),
        to=_boxes(row, "to"),
        subject=row["subject"],
        on_uncertain=OnUncertain(row["on_uncertain"]),
        content=row["content"],
        html=row["html"],
        text=row["text"],
        rounds=row["rounds"],
        attempts=row["attempts"],
        doubted=frozenset(row["doubted"] or ()),
        uncertain=row["status"] == Status.UNCERTAIN,
        payloads=tuple(Payload(*each) for each in row["payloads"] or ()),
        cc=_boxes(row, "cc"),
        bcc=_boxes(row, "bcc"),
        reply_to=tuple(Mailbox(*each) for each in _value(row["reply_to"], [])),
        headers=_value(row["headers"], {}),
        tags=tuple(_value(row["tags"], [])),
        metadata=_value(row["metadata"], {}),
        attachments=tuple(Attachment(*each) for each in row["files"] or ()),
        expires_at=row["expires_at"],
        priority=LANES[row["lane"]],
        sensitive=row["sensitive"],
        tried_since=row["tried_since"],
        retries=row["retries"],
    )


def _boxes(row: Row, role: str) -> tuple[Mailbox, ...]:
    return tuple(Mailbox(address, name) for address, name, its in row["people"] if its == role)


def _value(json: str | None, default: Any) -> Any:
    return default if json is None else orjson.loads(json)


def build_record(row: Row, **history: Any) -> Record:
    """The record of a row of RECORD. `history` is what a list leaves out: attempts and events."""
    mail_id, status, address, name, subject, *rest = row.values()
    people = tuple(_recipient(each, status) for each in row["people"])
    history |= {"tags": tuple(_value(row["tags"], [])), "metadata": _value(row["metadata"], {})}
    history |= {"expires_at": row["expires_at"], "priority": LANES[row["lane"]], "sensitive": row["sensitive"]}
    history |= {"template": Origin.parse(row["template"])}
    return Record(str(mail_id), Status(status), str(Mailbox(address, name)), subject, people, *rest[:7], **history)


def _recipient(row: Sequence[Any], mail_status: str) -> Recipient:
    address, name, role, status = row
    return Recipient(address, name, role, Status(status or mail_status))


def _attempt(row: Sequence[Any]) -> Attempt:
    n, provider, outcome, http_status, detail, started_at, ended_at, score, considered, resolved = row
    told = (outcome and Outcome(outcome), http_status, detail, started_at, ended_at, score, orjson.loads(considered))
    return Attempt(n, provider, *told, resolved and Resolution(resolved))


def possible(*texts: str | None) -> bool:
    """Whether there can be such texts in the database."""
    try:
        storable(*texts)
    except ValueError:
        return False
    return True
