"""Postmark's API: send a mail, send a batch.

https://postmarkapp.com/developer/api/email-api
https://postmarkapp.com/developer/api/overview#error-codes
"""

from __future__ import annotations

import time
from typing import Any

from ...address import split_mailboxes
from ...submission import Submission
from ..base import rfc3339
from ..problem import Problem
from .base import Compat, Fields, items, only, said, sentence

MOST = 500  # mails in a batch
INVALID = 300
_NAMES = {
    "from": "From",
    "to": "To",
    "cc": "Cc",
    "bcc": "Bcc",
    "reply_to": "ReplyTo",
    "subject": "Subject",
    "html": "HtmlBody",
    "text": "TextBody",
    "content": "HtmlBody or TextBody",
    "headers": "Headers",
    "attachments": "Attachments",
    "metadata": "Metadata",
    "tags": "Tag",
}
# Our codes as the status and the code that Postmark has for the same.
_ERRORS = {
    "invalid": (422, INVALID),
    "malformed_json": (422, 402),
    "unsupported_media_type": (422, 409),
    "unauthorized": (401, 10),
    "forbidden": (422, 405),
    "idempotency_key_reused": (422, INVALID),
}


class _Postmark(Compat):
    def told(self, fault: Problem) -> tuple[int, str, Any]:
        """`{"ErrorCode", "Message"}`."""
        status, code = _ERRORS.get(fault.code, (fault.status, 100 if fault.status == 503 else fault.status))
        words = said(fault)
        if fault.code == "unauthorized":
            words = "No or no valid API key: send one of mailsvc in the header X-Postmark-Server-Token."
        return status, "application/json", {"ErrorCode": code, "Message": words}


class PostmarkMail(_Postmark):
    """`/compat/postmark/email`."""

    async def post(self) -> None:
        """Send a mail."""
        self.admit()
        document = self.document()
        (added,) = await self.accept([only(Fields(document, names=_NAMES), _submission)], document)
        self.send_json(_answer(document, added.id, added.created_at))


class PostmarkBatch(_Postmark):
    """`/compat/postmark/email/batch`."""

    async def post(self) -> None:
        """Send at most 500 mails: those that are right, in one transaction; each has an answer of its own."""
        self.admit()
        document = items(self.document(), MOST)
        read = [Fields(each, names=_NAMES) for each in document]
        found = [_submission(each) for each in read]
        good = [each for each in found if each is not None]
        added = iter(await self.accept(good, document) if good else [])
        answers = []
        for each, fields, submission in zip(document, read, found, strict=True):
            if submission is None:
                wrong = {"ErrorCode": INVALID, "Message": sentence(fields.faults)}
                answers.append(_answer(each, "", time.time()) | wrong)
            else:
                one = next(added)
                answers.append(_answer(each, one.id, one.created_at))
        self.send_json(answers)


def _answer(given: Any, mail_id: str, at: float) -> dict[str, Any]:
    to = given.get("To") if isinstance(given, dict) else None
    return {
        "To": to if isinstance(to, str) else "",
        "SubmittedAt": rfc3339(at),
        "MessageID": mail_id,
        "ErrorCode": 0,
        "Message": "OK",
    }


def _submission(given: Fields) -> Submission | None:
    given.need("From")
    mail: dict[str, Any] = {name: given.take(_NAMES[name]) for name in ("from", "subject", "html", "text", "metadata")}
    for name in ("to", "cc", "bcc", "reply_to"):
        mail[name] = split_mailboxes(given.take(_NAMES[name], str, "a string with addresses, between commas") or "")
    mail["tags"] = given.take("Tag", str, "a string")
    mail["headers"] = _headers(given)
    mail["attachments"] = [_file(each, n, given) for n, each in enumerate(given.each("Attachments"))]
    given.ignore("TrackOpens", False)
    given.ignore("TrackLinks", "None")
    given.ignore("MessageStream", "outbound")
    return given.submission(mail)


def _headers(given: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for header in given.each("Headers"):
        if not isinstance(header, dict) or set(header) != {"Name", "Value"} or not isinstance(header["Name"], str):
            given.fault("Headers", "type_error", "must be an array of objects with Name and Value")
        elif header["Name"] in found:
            given.fault("Headers", "repeated", f"has {header['Name'][:80]} more than once")
        else:
            found[header["Name"]] = header["Value"]
    return found


def _file(value: object, n: int, given: Fields) -> dict[str, Any]:
    """An attachment. Postmark writes the id of an inline one as in the HTML, with `cid:`."""
    file = Fields(value, f"{given.place}Attachments[{n}].")
    found = {"filename": file.take("Name"), "content": file.take("Content"), "content_type": file.take("ContentType")}
    content_id = file.take("ContentID", str, "a string")
    found["content_id"] = content_id.removeprefix("cid:") if content_id else None
    file.take("ContentLength")  # what is there is counted
    file.close()
    given.faults += file.faults
    return {name: each for name, each in found.items() if each is not None}
