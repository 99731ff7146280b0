"""Resend's API: send a mail, send a batch, ask for a mail.

https://resend.com/docs/api-reference/emails/send-email
https://resend.com/docs/api-reference/errors
"""

from __future__ import annotations

from typing import Any

from ...address import Mailbox
from ...errors import InvalidMail
from ...instant import parse_instant
from ...model import Mail, Record, Status
from ...submission import Submission
from ..base import rfc3339
from ..email import known_id
from ..problem import Problem
from .base import Compat, Fields, items, only, said, sentence

MOST = 100  # mails in a batch
_NAMES = {"content": "html or text", "send_at": "scheduled_at"}
_LISTS = ("to", "cc", "bcc", "reply_to")
# Our codes as the status and the name that Resend has for the same.
_ERRORS = {
    "invalid": (422, "validation_error"),
    "idempotency_key_reused": (409, "invalid_idempotent_request"),
    "forbidden": (403, "restricted_api_key"),
    "not_found": (404, "not_found"),
    "method_not_allowed": (405, "method_not_allowed"),
    "rate_limited": (429, "rate_limit_exceeded"),
    "internal": (500, "internal_server_error"),
}
_EVENTS = {
    **dict.fromkeys((Status.QUEUED, Status.SENDING, Status.UNCERTAIN), "queued"),
    Status.DELAYED: "delivery_delayed",
    **dict.fromkeys((Status.REJECTED, Status.FAILED, Status.EXPIRED), "failed"),
}


class _Resend(Compat):
    def told(self, fault: Problem) -> tuple[int, str, Any]:
        """`{"statusCode", "name", "message"}`."""
        status, name = _ERRORS.get(fault.code, (fault.status, "validation_error"))
        if fault.code == "unauthorized":
            missing = "Authorization" not in self.request.headers
            status, name = (401, "missing_api_key") if missing else (403, "invalid_api_key")
        elif fault.status == 503:
            name = "application_error"
        elif any(each.field == "Idempotency-Key" for each in fault.faults):
            status, name = 400, "invalid_idempotency_key"
        elif fault.faults and all(each.code == "missing" for each in fault.faults):
            name = "missing_required_field"
        return status, "application/json", {"statusCode": status, "name": name, "message": said(fault, _NAMES)}


class ResendMails(_Resend):
    """`/compat/resend/emails`."""

    async def post(self) -> None:
        """Send a mail."""
        self.admit()
        document = self.document()
        (added,) = await self.accept([only(Fields(document, names=_NAMES), _submission)], document)
        self.send_json({"id": added.id})


class ResendBatch(_Resend):
    """`/compat/resend/emails/batch`."""

    async def post(self) -> None:
        """Send at most 100 mails: all or none, or with `x-batch-validation: permissive` those that are right."""
        self.admit()
        document = self.document()
        read = [Fields(each, f"{n}.", _NAMES) for n, each in enumerate(items(document, MOST))]
        found = [_submission(each) for each in read]
        faults = [fault for each in read for fault in each.faults]
        permissive = self.request.headers.get("X-Batch-Validation", "").lower() == "permissive"
        if faults and not permissive:
            raise InvalidMail(faults)
        good = [each for each in found if each is not None]
        added = await self.accept(good, document) if good else []
        answer: dict[str, Any] = {"data": [{"id": each.id} for each in added]}
        if permissive:
            wrong = [(n, each.faults) for n, each in enumerate(read) if each.faults]
            answer["errors"] = [{"index": n, "message": sentence(faults)} for n, faults in wrong]
        self.send_json(answer)


class ResendCancel(_Resend):
    """`/compat/resend/emails/<id>/cancel`."""

    async def post(self, mail_id: str) -> None:
        """Do not send a mail that waits."""
        self.admit()
        record = await self.service.mails.cancel(known_id(mail_id), self.key.sees)
        self.send_json({"object": "email", "id": record.id})


class ResendMail(_Resend):
    """`/compat/resend/emails/<id>`."""

    async def patch(self, mail_id: str) -> None:
        """Send a scheduled mail at another time."""
        self.admit()
        given = Fields(self.document())
        given.ignore("id", mail_id)  # the Python SDK says it twice
        given.need("scheduled_at")
        text = given.take("scheduled_at", str, "a string")
        given.close()
        try:
            at = parse_instant(text or "")
        except ValueError as error:
            if not given.faults:
                given.fault("scheduled_at", "invalid_time", str(error))
        if given.faults:
            raise InvalidMail(given.faults)
        record = await self.service.mails.reschedule(known_id(mail_id), at, self.key.sees)
        self.send_json({"object": "email", "id": record.id})

    async def get(self, mail_id: str) -> None:
        """What became of a mail."""
        self.admit()
        record = await self.service.mails.get(known_id(mail_id), self.key.sees)
        self.send_json(_view(record, await self.service.mails.mail(record.id)))


def _submission(given: Fields) -> Submission | None:
    given.need("from")
    mail = {name: given.take(name) for name in ("from", "subject", "html", "text", "headers", *_LISTS)}
    mail["send_at"] = given.take("scheduled_at")
    files = [_file(each, n, given) for n, each in enumerate(given.each("attachments"))]
    return given.submission({**mail, "metadata": _tags(given), "attachments": files})


def _tags(given: Fields) -> dict[str, Any]:
    """Resend's tags have names: what is metadata here, and comes back with the mail."""
    found: dict[str, Any] = {}
    for tag in given.each("tags"):
        if not isinstance(tag, dict) or set(tag) != {"name", "value"} or not isinstance(tag["name"], str):
            given.fault("tags", "type_error", "must be an array of objects with name and value")
        elif tag["name"] in found:
            given.fault("tags", "repeated", f"has {tag['name'][:80]} more than once")
        else:
            found[tag["name"]] = tag["value"]
    return found


def _file(value: object, n: int, given: Fields) -> dict[str, Any]:
    """An attachment. Its content is base64, or an array of bytes, as JavaScript and Python write them."""
    file = Fields(value, f"{given.place}attachments[{n}].")
    found = {name: file.take(name) for name in ("filename", "content", "content_type", "content_id")}
    if isinstance(found["content"], list):
        try:
            found["content"] = bytes(found["content"])
        except (TypeError, ValueError):
            file.fault("content", "type_error", "must be base64 or an array of bytes")
    file.close()
    given.faults += file.faults
    return {name: each for name, each in found.items() if each is not None}


def _view(record: Record, mail: Mail) -> dict[str, Any]:
    def of(role: str) -> list[str]:
        return [each.address for each in record.recipients if each.role == role]

    def written(boxes: tuple[Mailbox, ...]) -> list[str]:
        return [str(box) for box in boxes]

    shown = not record.sensitive and record.erased_at is None
    return {
        "object": "email",
        "id": record.id,
        "to": of("to"),
        "from": record.sender,
        "created_at": rfc3339(record.created_at),
        "subject": record.subject,
        "html": mail.html if shown else None,
        "text": (mail.text or mail.content) if shown else None,
        "cc": of("cc"),
        "bcc": of("bcc"),
        "reply_to": written(mail.reply_to),
        "tags": [{"name": name, "value": value} for name, value in record.metadata.items()],
        "scheduled_at": rfc3339(record.due_at) if record.status is Status.SCHEDULED else None,
        "last_event": _EVENTS.get(record.status, record.status.value),
    }
