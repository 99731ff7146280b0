"""SendGrid's API, version 3: send mails.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
"""

from __future__ import annotations

from typing import Any

from ...errors import InvalidMail
from ...submission import Submission
from ..base import rfc3339
from ..problem import Problem
from .base import CANNOT, Compat, Fields, root, said

MOST = 500  # personalizations: each is a mail, and all are stored in one transaction
_NAMES = {
    "from": "/from",
    "subject": "/subject",
    "content": "/content",
    "html": "/content",
    "text": "/content",
    "reply_to": "/reply_to",
    "send_at": "/send_at",
    "attachments": "/attachments",
    "tags": "/categories",
    "metadata": "custom_args",
}
_NO_TIME = 253_402_300_800  # the year 10000
_WRONG_KEY = "The provided authorization grant is invalid, expired, or revoked"


class SendGridMail(Compat):
    """`/compat/sendgrid/v3/mail/send`."""

    async def post(self) -> None:
        """Send a mail for each personalization, all or none. 202 without a body, or 200 for its sandbox mode."""
        self.admit()
        document = self.document()
        submissions, sandbox = _submissions(document)
        if not sandbox:
            added = await self.accept(submissions, document)
            self.set_header("X-Message-Id", added[0].id)
            if len(added) > 1:
                self.set_header("X-Mailsvc-Ids", ",".join(each.id for each in added))
        self.set_status(200 if sandbox else 202)
        self.set_header("Content-Type", "text/plain")
        self.finish()

    def told(self, fault: Problem) -> tuple[int, str, Any]:
        """`{"errors": [{"message", "field", "help"}]}`."""
        status = 400 if fault.status in (409, 415, 422) else fault.status
        if fault.code == "unauthorized":
            rows: list[dict[str, Any]] = [{"message": _WRONG_KEY, "field": None, "help": None}]
        elif fault.faults:
            rows = [
                {"message": f"{each.field}: {each.message}", "field": each.field, "help": None} for each in fault.faults
            ]
        else:
            rows = [{"message": said(fault), "field": None, "help": None}]
        return status, "application/json", {"errors": rows}


def _submissions(document: object) -> tuple[list[Submission], bool]:
    """The mails, and whether they are only to be looked at. Raises InvalidMail."""
    given = Fields(document)
    people = given.take("personalizations", list, "an array")
    if not people or len(people) > MOST:
        given.fault("personalizations", "missing", f"must hold 1 to {MOST} objects")
    given.need("from")
    common = {
        "from": _box(given.take("from"), "from", given),
        "subject": given.take("subject"),
        "reply_to": _answers(given),
        **_content(given),
        "attachments": [_file(each, n, given) for n, each in enumerate(given.each("attachments"))],
        "send_at": _time(given),
        "tags": given.take("categories", list, "an array"),
    }
    headers, arguments = (given.take(name, dict, "an object") or {} for name in ("headers", "custom_args"))
    sandbox = _settings(given)
    given.close()
    found, known = [], {root(fault.field) for fault in given.faults}
    for n, each in enumerate((people or [])[:MOST]):
        one = Fields(each, f"personalizations.{n}.", _NAMES)
        found.append(_mail(one, common, headers, arguments))
        given.faults += [fault for fault in one.faults if not {root(fault.field)} & known and fault not in given.faults]
    if given.faults:
        raise InvalidMail(given.faults)
    return [each for each in found if each is not None], sandbox


def _mail(one: Fields, common: dict[str, Any], headers: dict[str, Any], arguments: dict[str, Any]) -> Submission | None:
    one.need("to")
    mail = dict(common)
    for role in ("to", "cc", "bcc"):
        mail[role] = [_box(each, f"{role}.{n}.", one) for n, each in enumerate(one.each(role))]
    sender = one.take("from")
    if sender is not None:
        mail["from"] = _box(sender, "from.", one)
    mail["subject"] = one.take("subject") or common["subject"]
    mail["send_at"] = _time(one) or common["send_at"]
    mail["headers"] = headers | (one.take("headers", dict, "an object") or {})
    mail["metadata"] = arguments | (one.take("custom_args", dict, "an object") or {})
    return one.submission(mail)


def _box(value: object, place: str, given: Fields) -> str | None:
    """`{"email", "name"}` as `Name <email>`."""
    if value is None:
        return None
    box = Fields(value, f"{given.place}{place.rstrip('.')}.")
    email, name = box.take("email", str, "a string"), box.take("name", str, "a string")
    if not email or "<" in email:
        box.fault("email", "invalid_address", "must be an address such as ann@example.com")
    box.close()
    given.faults += box.faults
    if not name or not email:
        return email  # type: ignore[no-any-return]
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{email}>'


def _time(given: Fields) -> str | None:
    """Unix seconds, as this API has times."""
    at = given.take("send_at", int, "a whole number of seconds since 1970")
    if at is not None and not 0 <= at < _NO_TIME:
        given.fault("send_at", "out_of_range", "must be a whole number of seconds since 1970")
        return None
    return None if at is None else rfc3339(at)


def _answers(given: Fields) -> list[Any] | None:
    one, several = given.take("reply_to"), given.take("reply_to_list", list, "an array")
    if one is not None and several:
        given.fault("reply_to", "exclusive", "excludes reply_to_list")
    boxes = [one] if one is not None else several or []
    return [_box(each, "reply_to", given) for each in boxes]


def _content(given: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for n, each in enumerate(given.each("content")):
        part = Fields(each, f"content.{n}.")
        kind, value = part.take("type", str, "a string"), part.take("value", str, "a string")
        name = {"text/plain": "text", "text/html": "html"}.get((kind or "").partition(";")[0].strip().lower())
        if name is None:
            part.fault("type", "unsupported", "must be text/plain or text/html")
        elif name in found:
            part.fault("type", "repeated", f"{kind} is there twice")
        else:
            found[name] = value
        part.close()
        given.faults += part.faults
    return found


def _file(value: object, n: int, given: Fields) -> dict[str, Any]:
    """An attachment. `content_id` counts where it is inline, as SendGrid has it."""
    file = Fields(value, f"attachments.{n}.")
    found = {name: file.take(name) for name in ("filename", "content", "content_id")}
    found["content_type"] = file.take("type")
    disposition = file.take("disposition", str, "a string") or "attachment"
    if disposition not in ("attachment", "inline"):
        file.fault("disposition", "invalid_choice", "must be attachment or inline")
    if disposition == "inline" and not found["content_id"]:
        file.fault("content_id", "missing", "is needed by an inline file")
    if disposition != "inline":
        found["content_id"] = None
    file.close()
    given.faults += file.faults
    return {name: each for name, each in found.items() if each is not None}


def _settings(given: Fields) -> bool:
    """Settings that are off say what is so anyway; of the others, only the sandbox mode is known. Whether it is on."""
    sandbox = False
    for group in ("mail_settings", "tracking_settings"):
        for name, value in (given.take(group, dict, "an object") or {}).items():
            on = isinstance(value, dict) and value.get("enable") not in (None, False)
            if name == "sandbox_mode" and group == "mail_settings":
                sandbox = on
            elif on or not isinstance(value, dict | None):
                given.fault(f"{group}.{str(name)[:100]}", "unsupported", CANNOT)
    return sandbox
