"""The mails: accept one, look one up, list them."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from ..access import Scope
from ..instant import parse_instant
from ..listing import Page
from ..model import Record, Status
from ..submission import parse
from .base import Handler, rfc3339
from .body import fields, fingerprint
from .callback_fields import given, moment
from .page import guard
from .pages import submit
from .plan import planned
from .problem import invalid
from .shapes import ID, IDEMPOTENCY_KEY, JSON, TIME, Schema, array, known, limit, maybe, shape, words

WAIT, WAIT_MAX = 20.0, 60.0  # seconds
LIMIT, LIMIT_MAX = 20, 100
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY = re.compile(r"[ -~]{1,256}")


class Mails(Handler):
    """`/email`."""

    summary = "Send a mail; list mails"
    asks: ClassVar[dict[str, Schema]] = {
        "status": known("Status"),
        "to": {"type": "string", "description": "Those that went to this address."},
        "tag": {"type": "string", "description": "Those with this tag."},
        "metadata": {
            "type": "object",
            "maxProperties": 1,
            "propertyNames": {"pattern": "^[^\\[\\]\\x00]{1,100}$"},
            "additionalProperties": {"type": "string"},
            "description": "Those with this text by this name, as in `metadata[order]=1042`.",
        },
        "provider": {"type": "string"},
        "since": TIME | {"description": "Those accepted from then on."},
        "until": TIME | {"description": "Those accepted before then."},
        "limit": limit(LIMIT, LIMIT_MAX),
        "after": ID | {"description": "The `next` of the page before."},
    }
    asks_by_header = IDEMPOTENCY_KEY
    takes = known("Mail")
    gives: ClassVar = {
        "get": (200, {JSON: shape(data=array(known("MailRecord")), has_more={"type": "boolean"}, next=maybe(ID))}),
        "post": (202, {JSON: known("Accepted")}),
    }
    gives_also: ClassVar = {"post": (200, {JSON: known("Plan")})}
    changes = Scope.SEND

    async def post(self) -> None:
        """Accept a mail. The answer is sent only after it is on the disk; a browser's form leads to the mail's page."""
        if self._is_form_of_a_page():
            guard(self)
            await submit(self)
            return
        self.admit()
        headers = self.request.headers
        found = fields(headers.get("Content-Type"), headers.get("Content-Encoding"), self.body)
        self.intake.parsed()
        key = idempotency_key(self)
        submission = parse(found)
        if submission.dry_run:
            self.send_json(planned(await self.service.acceptance.dry_run(submission, self.key)))
            return
        added = await self.service.acceptance.accept(submission, self.key, key, fingerprint(found) if key else "")
        if added.replayed:
            self.set_header("Idempotent-Replayed", "true")
        self.set_header("Location", f"/email/{added.id}")
        self.send_json({"id": added.id, "status": added.status, "created_at": rfc3339(added.created_at)}, 202)

    async def get(self) -> None:
        """Mails, newest first, a page at a time."""
        self.admit()
        asked = query(self, "status", "to", "tag", "provider", "since", "until", "limit", "after", named="metadata")
        found = await self.service.mails.list(
            Page(
                owner=self.key.sees,
                status=_status(asked.get("status")),
                to=asked.get("to"),
                provider=asked.get("provider"),
                after=_cursor(asked.get("after")),
                tag=asked.get("tag"),
                metadata=_named(asked, "metadata"),
                since=instant(asked, "since"),
                until=instant(asked, "until"),
                limit=_limit(asked.get("limit", str(LIMIT))),
            )
        )
        data = [view(record) for record in found.records]
        self.send_json({"data": data, "has_more": found.next is not None, "next": found.next})

    def _is_form_of_a_page(self) -> bool:
        """Whether a browser sends a form. A program may accept HTML too, as Java's client does unasked."""
        headers = self.request.headers
        programs = "Idempotency-Key" in headers or "Authorization" in headers
        return self.wants_html and not programs and not headers.get("Content-Type", "").startswith("application/json")


class OneMail(Handler):
    """`/email/<id>`."""

    summary = "What became of a mail; send it at another time"
    changes = Scope.SEND
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": {"send_at": TIME},
        "required": ["send_at"],
        "additionalProperties": False,
    }
    asks: ClassVar[dict[str, Schema]] = {
        "wait": words("settled"),
        "timeout": {"type": "number", "minimum": 0, "maximum": WAIT_MAX, "default": WAIT, "description": "Seconds."},
    }
    gives: ClassVar = dict.fromkeys(("get", "patch"), (200, {JSON: known("MailRecord")}))
    fails: ClassVar = {"patch": (409,)}

    async def get(self, mail_id: str) -> None:
        """All that is known of a mail, with its attempts; with `?wait=settled` once it has left the queue."""
        self.admit()
        asked = query(self, "wait", "timeout")
        if asked.get("wait", "settled") != "settled":
            raise invalid("wait", "invalid_choice", "must be settled")
        timeout = _timeout(asked.get("timeout", str(WAIT)))
        mail_id = known_id(mail_id)
        owner = self.key.sees
        waits = "wait" in asked
        found = await (
            self.service.mails.settled(mail_id, timeout, owner) if waits else self.service.mails.get(mail_id, owner)
        )
        self.send_json(view(found))

    async def patch(self, mail_id: str) -> None:
        """Send it at another time: `send_at`. 409 `not_scheduled` when it is due already, or not waiting any more."""
        self.admit()
        send_at = given(self, {"send_at": moment}, ("send_at",))["send_at"]
        self.send_json(view(await self.service.mails.reschedule(known_id(mail_id), send_at, self.key.sees)))


def idempotency_key(handler: Handler) -> str | None:
    """The `Idempotency-Key` of a request. Raises InvalidMail."""
    key = handler.request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise invalid("Idempotency-Key", "invalid", "must be 1 to 256 printable ASCII characters")
    return key


def known_id(text: str) -> str:
    """The id of a mail as it stands in a path; for anything else one that no mail has: the same 404 for all."""
    return text if _ID.fullmatch(text) else "-"


def query(handler: Handler, *known: str, named: str = "") -> dict[str, str]:
    """The query parameters, each once. Raises InvalidMail for an unknown one, and for one that is repeated.

    `named` is one that has a name of the caller's, as in `metadata[order]`.
    """
    found = {}
    for name, values in handler.request.query_arguments.items():
        if name not in known and not (named and re.fullmatch(rf"{named}\[[^\[\]\x00]{{1,100}}\]", name)):
            raise invalid(name[:100], "unknown_parameter", f"is not a parameter here; there is {', '.join(known)}")
        if len(values) > 1:
            raise invalid(name, "repeated", "is there more than once")
        try:
            found[name] = values[0].decode()
        except UnicodeDecodeError:
            raise invalid(name, "invalid_utf8", "is not UTF-8") from None
        if "\x00" in found[name]:
            raise invalid(name, "control_character", "contains the control character U+0000")
    return found


def view(record: Record) -> dict[str, Any]:
    """A mail as the API shows it."""
    return {
        "id": record.id,
        "status": record.status,
        "to": [recipient.address for recipient in record.recipients if recipient.role == "to"],
        "recipients": [{"address": r.address, "role": r.role, "status": r.status} for r in record.recipients],
        "subject": record.subject,
        "from": record.sender,
        "tags": record.tags,
        "metadata": record.metadata,
        "created_at": rfc3339(record.created_at),
        "updated_at": rfc3339(record.updated_at),
        "due_at": rfc3339(record.due_at),
        "expires_at": rfc3339(record.expires_at),
        "priority": record.priority,
        "sensitive": record.sensitive,
        "provider": record.provider,
        "provider_message_id": record.provider_message_id,
        "error": record.error,
        "erased_at": rfc3339(record.erased_at),
        "template": record.template and {"name": record.template.name, "version": record.template.version},
        "attempts": [
            {
                "n": attempt.n,
                "provider": attempt.provider,
                "outcome": attempt.outcome,
                "http_status": attempt.http_status,
                "detail": attempt.detail,
                "started_at": rfc3339(attempt.started_at),
                "ended_at": rfc3339(attempt.ended_at),
                "score": attempt.score,
                "considered": attempt.considered,
                "resolved": attempt.resolved,
            }
            for attempt in record.attempts
        ],
        "events": [
            {
                "type": event.type,
                "at": rfc3339(event.at),
                "provider": event.provider,
                "recipient": event.recipient,
                "detail": event.detail,
            }
            for event in record.events
        ],
    }


def _status(text: str | None) -> Status | None:
    try:
        return Status(text) if text is not None else None
    except ValueError:
        raise invalid("status", "invalid_choice", f"must be one of: {', '.join(Status)}") from None


def _named(asked: dict[str, str], parameter: str) -> tuple[str, str] | None:
    """`metadata[order]=1042` as a pair."""
    pairs = [(name[len(parameter) + 1 : -1], text) for name, text in asked.items() if name.startswith(f"{parameter}[")]
    if len(pairs) > 1:
        raise invalid(parameter, "too_many", "is for one name at a time")
    return pairs[0] if pairs else None


def instant(asked: dict[str, str], name: str) -> float | None:
    """A query parameter that is a time, as Unix seconds. Raises InvalidMail."""
    try:
        return parse_instant(asked[name]) if name in asked else None
    except ValueError as error:
        raise invalid(name, "invalid_time", str(error)) from error


def _limit(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or not 1 <= int(text) <= LIMIT_MAX:
        raise invalid("limit", "out_of_range", f"must be a whole number from 1 to {LIMIT_MAX}")
    return int(text)


def _cursor(text: str | None) -> str | None:
    if text is not None and not _ID.fullmatch(text):
        raise invalid("after", "invalid", "must be the id of a mail")
    return text


def _timeout(text: str) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text, re.ASCII) or not 0 <= float(text) <= WAIT_MAX:
        raise invalid("timeout", "out_of_range", f"must be a number of seconds from 0 to {WAIT_MAX:g}")
    return float(text)
