"""Brevo.

https://developers.brevo.com/reference/sendtransacemail
https://developers.brevo.com/docs/heterogenous-versions-batch-emails (the idempotency key)
Errors are told apart by `code`. A key that was used before is answered by an error, not by the first answer; the guide
says for 30 minutes, the changelog for 15.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any

import orjson

from ..ability import Ability, endings
from ..address import Mailbox, encoded_words
from ..hook import Heard, Hook, at_unix, check_secret, objects, our_id, part, secret_fault, word, words
from ..label import metadata
from ..model import Message, Outcome, Report, ReportType
from ..wire import HttpRequest, Response, describe, from_json, retry_after
from .base import Can, HttpProvider, Result, Settings

_REFUSED = (
    "invalid_parameter",
    "missing_parameter",
    "out_of_range",
    "duplicate_parameter",
    "bad_request",
    "unprocessable_entity",
)
_OUTCOMES = {
    **dict.fromkeys(_REFUSED, Outcome.REFUSED),
    **dict.fromkeys(("unauthorized", "permission_denied"), Outcome.UNAUTHORIZED),
    "not_enough_credits": Outcome.QUOTA,
    "account_under_validation": Outcome.SUSPENDED,
    "too_many_requests": Outcome.RATE_LIMITED,
    # Not about the mail, so nothing that a second opinion would help.
    **dict.fromkeys(("document_not_found", "method_not_allowed", "not_acceptable"), Outcome.DOWN),
}
# For a code that is not known.
_STATUSES = {
    401: Outcome.UNAUTHORIZED,
    402: Outcome.QUOTA,
    403: Outcome.UNAUTHORIZED,
    **dict.fromkeys((404, 405, 406), Outcome.DOWN),
    429: Outcome.RATE_LIMITED,
}
_SENDER = re.compile(r"\bsender\b(?!.*\bname\b)", re.IGNORECASE)
# A repeated address or tag is a fault of the mail; mailsvc sends none. What else is repeated is the request.
_REPEATED_FIELD = re.compile(r"\b(to|cc|bcc|e-?mails?|recipients?|tags?|attachments?)\b", re.IGNORECASE)
_SPECIALS = re.compile(r"[()<>@,;:\\\".\[\]]")


_MAX_CUSTOM = 900  # bytes in X-Mailin-custom, so that it stays one line; metadata beyond them is left out
# The only endings of files that it takes.
_LISTED = endings(
    "xlsx xls xlsm ods docx docm doc odt csv pdf txt rtf ppt pptx pub msg mobi ics xml css html htm shtml gif jpg jpeg "
    "png bmp tif tiff eps cgm zip tar ez pkpass mp3 m4a wma ogg flac wav aif aifc aiff mp4 m4v mov avi mkv mpeg mpg wmv"
)


class Brevo(HttpProvider):
    """Brevo: 201 with an id. It wants HTML, and no header of ours beyond ASCII."""

    name = "brevo"
    rank = 60
    env = ("BREVO_API_KEY",)
    shapes = {  # noqa: RUF012 - a ClassVar of the base
        "BREVO_API_KEY": (
            r"xkeysib-[\w-]{40,}",
            "xkeysib- and more than 40 characters; that of SMTP (xsmtpsib-) is another",
        )
    }
    can = Can.DEDUPE | Can.REPORT
    hook_words = "a password of your own; Brevo signs nothing"
    default_url = "https://api.brevo.com"
    ability = Ability(
        recipients=99,
        name=70,
        size=20 * 1024 * 1024,
        ascii_headers=True,
        custom_headers=True,
        reply_to=1,
        inline=False,
        listed=_LISTED,
    )
    key_life = 15 * 60.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._headers = {
            "api-key": settings.values["BREVO_API_KEY"],
            "Content-Type": "application/json",
            "Accept": "application/json",
        }

    def request(self, message: Message) -> HttpRequest:
        """One request for all recipients. The key is a header of the mail; `X-Mailin-custom` comes back in reports."""
        body: dict[str, Any] = {
            "sender": _person(message.sender),
            "to": [_person(mailbox) for mailbox in message.to],
            **({"cc": [_person(mailbox) for mailbox in message.cc]} if message.cc else {}),
            **({"bcc": [_person(mailbox) for mailbox in message.bcc]} if message.bcc else {}),
            **({"replyTo": _answers(message.reply_to[0])} if message.reply_to else {}),
            "subject": message.subject,
            "htmlContent": message.html or _as_html(message.text or ""),
            **({"textContent": message.text} if message.text else {}),
            "headers": {
                "X-Mailin-custom": _custom(message),
                "idempotencyKey": message.key,
                **message.headers,
            },
            **({"tags": list(message.tags)} if message.tags else {}),
            **({"attachment": _files(message)} if message.attachments else {}),
        }
        return self.again(orjson.dumps(body), message.key)

    def again(self, body: bytes, key: str) -> HttpRequest:
        """The key stands in the body, the credentials in a header."""
        return HttpRequest(f"{self.url}/v3/smtp/email", self._headers, body, key=key)

    def accepted(self, response: Response, message: Message) -> Result:
        """201 with the id of the mail; any other 2xx with one is as good."""
        document = from_json(response.body)
        identifier = document.get("messageId") if isinstance(document, dict) else None
        several = document.get("messageIds") if isinstance(document, dict) else None
        if isinstance(several, list) and several:
            identifier = several[0]
        if not isinstance(identifier, str) or not identifier:
            return self.undocumented(response)
        return Result(Outcome.ACCEPTED, describe(response.status, ""), provider_message_id=identifier)

    def refused(self, response: Response, message: Message) -> Result:
        """An error by code."""
        document = from_json(response.body)
        return self._error(response, document) if _is_error(document) else self.foreign(response)

    def _error(self, response: Response, error: Mapping[str, Any]) -> Result:
        code, words, status = error["code"], str(error.get("message") or ""), response.status
        detail = describe(status, f"{code}: {words}")
        if _is_repeated(code, words):
            return Result(Outcome.UNANSWERED, detail + "; it has got this mail before", key_taken=True, same_mail=True)
        outcome = _OUTCOMES.get(code, _STATUSES.get(status, Outcome.REFUSED))
        if outcome is Outcome.REFUSED and _SENDER.search(words):
            outcome = Outcome.SENDER_REFUSED
        if outcome is Outcome.RATE_LIMITED:
            return self.throttled(response, detail, "x-sib-ratelimit-reset")
        if code == "unauthorized":
            detail += "; or this machine's address is not among the authorised IPs of the account"
        if outcome is Outcome.DOWN:
            detail += f"; check {self.url_setting}"
        return Result(outcome, detail, retry_after=retry_after(response))

    @classmethod
    def hook_fault(cls, key: str) -> str | None:
        """Also whether it is too short: a person has made it up."""
        return secret_fault(cls.name, key) or super().hook_fault(key)

    def listen(self, hook: Hook, key: str) -> Heard:
        """An event, or a list of them, with the key as password."""
        check_secret(hook, key)
        reports = (_report(event, hook) for event in objects(hook.json()))
        return Heard(tuple(report for report in reports if report))


def _is_error(document: object) -> bool:
    return isinstance(document, dict) and isinstance(document.get("code"), str)


def _is_repeated(code: str, words: str) -> bool:
    """Whether the key was used before. The guide calls the error duplicate_parameter, the list of codes has another."""
    if code == "duplicate_request":
        return True
    return code == "duplicate_parameter" and ("idempot" in words.lower() or not _REPEATED_FIELD.search(words))


def _person(mailbox: Mailbox) -> dict[str, str]:
    return {"email": mailbox.address, "name": _name(mailbox.name)} if mailbox.name else {"email": mailbox.address}


def _custom(message: Message) -> str:
    return json.dumps(metadata(message, size=_MAX_CUSTOM, ascii_only=True), separators=(",", ":"))


def _answers(mailbox: Mailbox) -> dict[str, str]:
    """Without a name beyond ASCII, which Brevo would write into the header as it is, and the mail may be lost."""
    named = mailbox.name and mailbox.name.isascii() and "=?" not in mailbox.name
    return {"email": mailbox.address, "name": mailbox.name} if named else {"email": mailbox.address}


def _files(message: Message) -> list[dict[str, str]]:
    """Of what type a file is, Brevo reads in its name."""
    return [{"name": each.filename, "content": each.base64} for each in message.attachments]


def _name(name: str) -> str:
    """Brevo drops a name that is beyond ASCII and has a special character, unless it is encoded already.

    Seen in 2022 by others. Since it leaves encoded words alone, a name that looks like one is encoded, too.
    """
    encode = "=?" in name or (not name.isascii() and _SPECIALS.search(name))
    return encoded_words(name) if encode else name


def _as_html(text: str) -> str:
    """A text as HTML that reads the same."""
    return f'<div style="white-space: pre-wrap">{escape(text)}</div>'


# Reports. https://developers.brevo.com/docs/transactional-webhooks
_TYPES = {
    "request": ReportType.SENT,
    "deferred": ReportType.DELAYED,
    "delivered": ReportType.DELIVERED,
    "hard_bounce": ReportType.BOUNCED,
    "soft_bounce": ReportType.BOUNCED,
    **dict.fromkeys(("blocked", "invalid_email", "error"), ReportType.REJECTED),
    **dict.fromkeys(("spam", "complaint"), ReportType.COMPLAINED),
    **dict.fromkeys(("unsubscribe", "unsubscribed"), ReportType.UNSUBSCRIBED),
    **dict.fromkeys(("opened", "unique_opened", "proxy_open", "unique_proxy_open"), ReportType.OPENED),
    "click": ReportType.CLICKED,
}


def _report(event: dict[str, Any], hook: Hook) -> Report | None:
    """An event has no id of its own; `ts_epoch`, in milliseconds, is the only time that is surely UTC."""
    name, recipient, message_id = str(event.get("event")), word(event.get("email")), word(event.get("message-id"))
    kind = _TYPES.get(name)
    if kind is None:
        return None
    custom = from_json(str(event.get("X-Mailin-custom") or "").encode("utf-8", "replace"))
    return Report(
        kind,
        at_unix(event.get("ts_epoch"), hook.now, 1000.0),
        Brevo.name,
        f"{name} {message_id} {recipient} {event.get('ts_epoch')} {word(event.get('link')) or ''}",
        our_id(part(custom).get("mailsvc_id")),
        message_id,
        recipient,
        name == "hard_bounce" if kind is ReportType.BOUNCED else None,
        words(event.get("reason")),
    )
