"""MailerSend.

https://developers.mailersend.com/api/v1/email.html
https://developers.mailersend.com/general.html
Success is a 202 without a body, with the id in a header; a JSON body tells which recipients are on a suppression list.
Headers of our own are for its largest plan only, so the mail's id is a tag, and there is no Message-ID of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from ..ability import Ability
from ..address import Mailbox
from ..hook import Heard, Hook, at_iso, check_signature, hmac_sha256, our_id, part, word, words
from ..model import Attachment, Message, Outcome, Report, ReportType
from ..wire import HttpRequest, Response, describe, from_json, retry_after
from .base import Can, HttpProvider, Result, Settings

_MAX_TAGS = 5
_STATUSES = {401: Outcome.UNAUTHORIZED, **dict.fromkeys((404, 405, 421), Outcome.DOWN), 429: Outcome.RATE_LIMITED}
_UNVERIFIED = re.compile(r"from\.email\b.*\bverified", re.IGNORECASE | re.DOTALL)
_HELD = re.compile(r"suspend|paused|under review|not approved|blocked|disabled|restricted", re.IGNORECASE)


class MailerSend(HttpProvider):
    """MailerSend: 202. An account whose sending is paused takes mail all the same, and says so in a header."""

    name = "mailersend"
    rank = 80
    env = ("MAILERSEND_API_KEY",)
    shapes = {"MAILERSEND_API_KEY": (r"mlsn\.[0-9a-f]{64}", "mlsn. and 64 digits")}  # noqa: RUF012 - see the base
    can = Can.REPORT
    hook_words = "the signing secret of the webhook"
    default_url = "https://api.mailersend.com"
    ability = Ability(to=50, cc=10, bcc=10, size=25 * 1024 * 1024, headers=0, reply_to=1)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._headers = {
            "Authorization": f"Bearer {settings.values['MAILERSEND_API_KEY']}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }

    def request(self, message: Message) -> HttpRequest:
        """One request for all recipients."""
        body = {
            "from": _person(message.sender),
            "to": [_person(mailbox) for mailbox in message.to],
            **({"cc": [_person(mailbox) for mailbox in message.cc]} if message.cc else {}),
            **({"bcc": [_person(mailbox) for mailbox in message.bcc]} if message.bcc else {}),
            **({"reply_to": _person(message.reply_to[0])} if message.reply_to else {}),
            "subject": message.subject,
            **{kind: value for kind, value in (("text", message.text), ("html", message.html)) if value},
            "tags": [message.id, *message.tags][:_MAX_TAGS],
            **({"attachments": [_file(each) for each in message.attachments]} if message.attachments else {}),
        }
        return HttpRequest(f"{self.url}/v1/email", self._headers, orjson.dumps(body))

    def accepted(self, response: Response, message: Message) -> Result:
        """202 with an id is acceptance; without one it is, when there is nothing in the body."""
        identifier = response.headers.get("x-message-id")
        warnings = _warnings(response.body)
        if response.status != 202 or (warnings is None and response.body.strip() and not identifier):
            return self.undocumented(response)
        left_out = _suppressed(warnings or [], message)
        words = ": ".join([*(str(warning["type"]) for warning in warnings or []), *dict.fromkeys(left_out.values())])
        if not identifier and any(warning["type"] == "ALL_SUPPRESSED" for warning in warnings or []):
            return Result(Outcome.RECIPIENT_REFUSED, describe(202, words))
        stuck = response.headers.get("x-send-paused", "").strip().lower() == "true"
        return Result(
            Outcome.ACCEPTED,
            describe(202, "sending is paused" if stuck else words),
            provider_message_id=identifier,
            refused=left_out,
            stuck=stuck,
        )

    def refused(self, response: Response, message: Message) -> Result:
        """A text, and perhaps faults by field. A used-up quota is a 429 like any other, but for a header."""
        document = from_json(response.body)
        if response.status == 429 and response.headers.get("x-apiquota-remaining", "").strip() == "0":
            wait = retry_after(response, "x-apiquota-reset")
            return Result(Outcome.QUOTA, describe(429, _words(document) or "the quota is used up"), retry_after=wait)
        words = _words(document)
        if words is None:
            return self.foreign(response)
        detail, outcome = describe(response.status, words), _STATUSES.get(response.status, Outcome.REFUSED)
        if outcome is Outcome.RATE_LIMITED:
            return self.throttled(response, detail)
        if outcome is Outcome.DOWN:
            detail += f"; check {self.url_setting}"
        if response.status == 403:
            outcome = Outcome.SUSPENDED if _HELD.search(words) else Outcome.UNAUTHORIZED
        if response.status == 422 and _UNVERIFIED.search(words):
            outcome = Outcome.SENDER_REFUSED
        return Result(outcome, detail, retry_after=retry_after(response))

    def listen(self, hook: Hook, key: str) -> Heard:
        """One event, signed with HMAC-SHA256. Nothing tells when: what comes again is known by its id."""
        check_signature(hook.header("signature"), hmac_sha256(key, hook.body).hex())
        report = _report(hook.json(), hook)
        return Heard((report,) if report else ())


def _person(mailbox: Mailbox) -> dict[str, str]:
    person = {"email": mailbox.address}
    return {**person, "name": mailbox.name} if mailbox.name else person


def _file(file: Attachment) -> dict[str, str]:
    """Of what type it is, MailerSend reads in its name."""
    found = {"content": file.base64, "filename": file.filename}
    if not file.content_id:
        return {**found, "disposition": "attachment"}
    return {**found, "disposition": "inline", "id": file.content_id}


def _warnings(body: bytes) -> list[Mapping[str, Any]] | None:
    """The warnings of a 202; None if the body is not a documented one."""
    document = from_json(body)
    found = document.get("warnings") if isinstance(document, dict) else None
    if not isinstance(found, list) or not found:
        return None
    known = all(isinstance(warning, dict) and isinstance(warning.get("type"), str) for warning in found)
    return found if known else None


def _suppressed(warnings: list[Mapping[str, Any]], message: Message) -> dict[str, str]:
    """The recipients on a suppression list, and why."""
    spelling = {mailbox.address.lower(): mailbox.address for mailbox in message.everybody}
    found = {}
    for warning in warnings:
        recipients = warning.get("recipients")
        for recipient in recipients if isinstance(recipients, list) else []:
            address = recipient.get("email") if isinstance(recipient, dict) else None
            if isinstance(address, str) and address.lower() in spelling:
                found[spelling[address.lower()]] = _reason(recipient)
    return found


def _reason(recipient: Mapping[str, Any]) -> str:
    reasons = recipient.get("reasons") or recipient.get("reason")
    words = ", ".join(map(str, reasons)) if isinstance(reasons, list) else str(reasons or "")
    return f"suppressed: {words}" if words else "suppressed"


def _words(document: object) -> str | None:
    """The message and the faults by field: `message (field: fault; …)`. None if the body is not MailerSend's."""
    if not isinstance(document, dict) or not isinstance(document.get("message"), str):
        return None
    errors = document.get("errors")
    faults = errors.items() if isinstance(errors, dict) else ()
    told = [f"{field}: {' '.join(map(str, texts)) if isinstance(texts, list) else texts}" for field, texts in faults]
    return f"{document['message']} ({'; '.join(told)})" if told else str(document["message"])


# Reports. https://developers.mailersend.com/api/v1/webhooks.html
_TYPES = {
    "sent": ReportType.SENT,
    "deferred": ReportType.DELAYED,
    "delivered": ReportType.DELIVERED,
    "soft_bounced": ReportType.BOUNCED,
    "hard_bounced": ReportType.BOUNCED,
    "spam_complaint": ReportType.COMPLAINED,
    **dict.fromkeys(("opened", "opened_unique"), ReportType.OPENED),
    **dict.fromkeys(("clicked", "clicked_unique"), ReportType.CLICKED),
    "unsubscribed": ReportType.UNSUBSCRIBED,
}


def _report(event: Any, hook: Hook) -> Report | None:
    data, mail = part(event, "data"), part(event, "data", "email")
    name, identifier = str(data.get("type")), word(data.get("id"))
    if name not in _TYPES or identifier is None:
        return None
    return Report(
        _TYPES[name],
        at_iso(data.get("created_at") or event.get("created_at"), hook.now),
        MailerSend.name,
        identifier,
        our_id(mail.get("tags")),
        word(part(mail, "message").get("id")),
        word(part(mail, "recipient").get("email")),
        name == "hard_bounced" if _TYPES[name] is ReportType.BOUNCED else None,
        words(part(data, "morph").get("reason")),
    )
