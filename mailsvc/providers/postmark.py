"""Postmark.

https://postmarkapp.com/developer/api/email-api
https://postmarkapp.com/developer/api/overview#error-codes
Everything is told by `ErrorCode`, also inside of a 200. Which recipients were left out stands in a sentence only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson

from ..ability import Ability, endings
from ..address import Mailbox
from ..hook import Heard, Hook, at_iso, check_secret, objects, our_id, part, secret_fault, word, words
from ..label import OWN_ID, metadata
from ..model import Attachment, Mail, Message, Outcome, Report, ReportType
from ..wire import HttpRequest, Response, describe, from_json, retry_after
from .base import Can, HttpProvider, Result, Settings

_OUTCOMES = {
    10: Outcome.UNAUTHORIZED,
    100: Outcome.DOWN,
    300: Outcome.REFUSED,
    **dict.fromkeys((400, 401), Outcome.SENDER_REFUSED),
    **dict.fromkeys((402, 403, 409, 410, 411, 701), Outcome.REFUSED),
    405: Outcome.QUOTA,
    406: Outcome.RECIPIENT_REFUSED,
    **dict.fromkeys((412, 413), Outcome.SUSPENDED),
    **dict.fromkeys((1235, 1236), Outcome.UNAUTHORIZED),  # no such message stream on this server: a matter of settings
}
_HINTS = {
    10: "; POSTMARK_SERVER_TOKEN must be the token of a server, not of the account",
    1235: "; the server needs the message stream outbound",
    1236: "; the server needs the message stream outbound",
}
# For a code that is not known. A 200 with a code is a refusal like any other.
_STATUSES = {401: Outcome.UNAUTHORIZED, 403: Outcome.UNAUTHORIZED, 404: Outcome.DOWN, 429: Outcome.RATE_LIMITED}
# The endings of files that it refuses.
_UNLISTED = endings(
    "vbs exe bin bat chm com cpl crt hlp hta inf ins isp jse lnk mdb pcd pif reg scr sct shs vbe vba wsf wsh wsl msc "
    "msi msp mst"
)
_BAD_RECIPIENT = re.compile(r"(Invalid|Error\s+parsing)\s+'(To|Cc|Bcc)'", re.IGNORECASE)
_INACTIVE = re.compile(r"inactive addresses:\s*(.*?)\.?\s*(?:Inactive recipients|\Z)", re.IGNORECASE | re.DOTALL)


class Postmark(HttpProvider):
    """Postmark: 200 and code 0. It takes a mail for some recipients and leaves out those that bounced before."""

    name = "postmark"
    rank = 40
    env = ("POSTMARK_SERVER_TOKEN",)
    shapes = {  # noqa: RUF012 - a ClassVar of the base
        "POSTMARK_SERVER_TOKEN": (r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|POSTMARK_API_TEST", "a UUID")
    }
    can = Can.REPORT | Can.LOOKUP
    hook_words = "a password of your own; Postmark signs nothing"
    default_url = "https://api.postmarkapp.com"
    ability = Ability(recipients=50, size=10 * 1024 * 1024, text=5 * 1024 * 1024, unlisted=_UNLISTED)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._headers = {
            "X-Postmark-Server-Token": settings.values["POSTMARK_SERVER_TOKEN"],
            "Content-Type": "application/json",
            "Accept": "application/json",
        }

    def request(self, message: Message) -> HttpRequest:
        """One request for all recipients. Without X-PM-KeepID the Message-ID would be replaced."""
        body = {
            "From": str(message.sender),
            "To": _line(message.to),
            **({"Cc": _line(message.cc)} if message.cc else {}),
            **({"Bcc": _line(message.bcc)} if message.bcc else {}),
            **({"ReplyTo": _line(message.reply_to)} if message.reply_to else {}),
            "Subject": message.subject,
            **{kind: value for kind, value in (("TextBody", message.text), ("HtmlBody", message.html)) if value},
            "Headers": [
                {"Name": "Message-ID", "Value": message.message_id},
                {"Name": "X-PM-KeepID", "Value": "true"},
                *[{"Name": name, "Value": value} for name, value in message.headers.items()],
            ],
            **({"Tag": message.tags[0]} if message.tags else {}),
            "Metadata": metadata(message, count=10, name=20, value=80),
            **({"Attachments": [_file(each) for each in message.attachments]} if message.attachments else {}),
            "MessageStream": "outbound",
        }
        return HttpRequest(f"{self.url}/email", self._headers, orjson.dumps(body))

    def lookup(self, mail: Mail) -> HttpRequest:
        """Its search takes metadata as a filter. https://postmarkapp.com/developer/api/messages-api"""
        wanted = {"count": 20, "offset": 0, "recipient": mail.to[0].address, "metadata_mailsvc_id": mail.id}
        return HttpRequest(f"{self.url}/messages/outbound?{urlencode(wanted)}", self._headers, b"", "GET")

    def seen(self, document: Any, mail: Mail) -> str | None:
        """Also if it ignores the filter: the metadata must be this mail's."""
        listed = document.get("Messages") if isinstance(document, dict) else None
        for found in listed if isinstance(listed, list) else ():
            if isinstance(found, dict) and part(found, "Metadata").get(OWN_ID) == mail.id:
                return str(found.get("MessageID") or "")
        return None

    def accepted(self, response: Response, message: Message) -> Result:
        """Code 0, or none: it is missing when the delivery may be delayed."""
        document = from_json(response.body)
        if _is_error(document):
            return self._error(response, document, message)
        if response.status != 200 or not isinstance(document, dict) or document.get("ErrorCode", 0) != 0:
            return self.undocumented(response)
        identifier, words = document.get("MessageID"), document.get("Message")
        if not isinstance(identifier, str) or not identifier:
            return self.undocumented(response)
        words = words if isinstance(words, str) else ""
        left_out = dict.fromkeys(_inactive(words, message), "Postmark holds this address for inactive")
        return Result(
            Outcome.ACCEPTED,
            describe(200, _without_recipients(words, message)),
            provider_message_id=identifier,
            refused=left_out,
        )

    def refused(self, response: Response, message: Message) -> Result:
        """An error by code."""
        document = from_json(response.body)
        return self._error(response, document, message) if _is_error(document) else self.foreign(response)

    def failed(self, response: Response, message: Message) -> Result:
        """Also here an error by code: the service is closed for maintenance with one."""
        document = from_json(response.body)
        return self._error(response, document, message) if _is_error(document) else super().failed(response, message)

    def _error(self, response: Response, error: Mapping[str, Any], message: Message) -> Result:
        code, words = error["ErrorCode"], error["Message"]
        unknown = Outcome.DOWN if response.status >= 500 else Outcome.REFUSED
        outcome = _OUTCOMES.get(code, _STATUSES.get(response.status, unknown))
        if code == 300 and len(message.everybody) == 1 and _BAD_RECIPIENT.match(words):
            outcome = Outcome.RECIPIENT_REFUSED  # of several, nobody says which: the others get a chance elsewhere
        detail = describe(response.status, f"{code}: {_without_recipients(words, message)}") + _HINTS.get(code, "")
        if outcome is Outcome.RATE_LIMITED:
            return self.throttled(response, detail)
        if response.status == 404 and outcome is Outcome.DOWN:
            detail += f"; check {self.url_setting}"
        return Result(outcome, detail, retry_after=retry_after(response))

    @classmethod
    def hook_fault(cls, key: str) -> str | None:
        """Also whether it is too short: a person has made it up."""
        return secret_fault(cls.name, key) or super().hook_fault(key)

    def listen(self, hook: Hook, key: str) -> Heard:
        """One event, with the key as its password."""
        check_secret(hook, key)
        reports = (_report(event, hook) for event in objects(hook.json()))
        return Heard(tuple(report for report in reports if report))


def _line(boxes: tuple[Mailbox, ...]) -> str:
    return ", ".join(str(mailbox) for mailbox in boxes)


def _file(file: Attachment) -> dict[str, str]:
    found = {"Name": file.filename, "Content": file.base64, "ContentType": file.content_type}
    return {**found, "ContentID": f"cid:{file.content_id}"} if file.content_id else found


def _is_error(document: object) -> bool:
    if not isinstance(document, dict) or not isinstance(document.get("Message"), str):
        return False
    code = document.get("ErrorCode")
    return isinstance(code, int) and code != 0


def _inactive(words: str, message: Message) -> list[str]:
    """The recipients that a sentence names as left out; Postmark writes them in lower case."""
    found = _INACTIVE.search(words)
    named = {address.strip().lower() for address in found[1].split(",")} if found else set()
    return [mailbox.address for mailbox in message.everybody if mailbox.address.lower() in named]


def _without_recipients(words: str, message: Message) -> str:
    """The words without the addresses that the mail goes to."""
    for mailbox in message.everybody:
        words = re.sub(re.escape(mailbox.address), "…", words, flags=re.IGNORECASE)
    return words


# Reports. https://postmarkapp.com/developer/webhooks/webhooks-overview
_TYPES = {
    "Delivery": ReportType.DELIVERED,
    "Bounce": ReportType.BOUNCED,
    "SpamComplaint": ReportType.COMPLAINED,
    "Open": ReportType.OPENED,
    "Click": ReportType.CLICKED,
    "SubscriptionChange": ReportType.UNSUBSCRIBED,
}
# What comes as a bounce and is none: an automatic answer has been written by somebody who has the mail.
_NO_BOUNCES = {
    "AutoResponder": ReportType.SENT,
    "SpamComplaint": ReportType.COMPLAINED,
    "Unsubscribe": ReportType.UNSUBSCRIBED,
}
_HARD = frozenset(
    {"HardBounce", "BadEmailAddress", "Blocked", "SpamNotification", "ManuallyDeactivated", "DMARCPolicy"}
)
_SOFT = frozenset({"Transient", "DnsError", "AddressChange", "OpenRelayTest", "SoftBounce"})
_TIMES = ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")


def _report(event: dict[str, Any], hook: Hook) -> Report | None:
    name, kind = str(event.get("RecordType")), str(event.get("Type"))
    found = _TYPES.get(name)
    if name == "Bounce":
        found = _NO_BOUNCES.get(kind, found)
    if found is None or (name == "SubscriptionChange" and event.get("SuppressionReason") != "ManualSuppression"):
        return None
    recipient, message_id = word(event.get("Recipient")) or word(event.get("Email")), word(event.get("MessageID"))
    time = next((event[each] for each in _TIMES if isinstance(event.get(each), str)), "")
    bounce = {True: kind in _HARD, False: None}[kind in _HARD | _SOFT and found is ReportType.BOUNCED]
    return Report(
        found,
        at_iso(time, hook.now),
        Postmark.name,
        f"{name} {event.get('ID') or ''} {message_id} {recipient} {time} {word(event.get('OriginalLink')) or ''}",
        our_id(part(event, "Metadata").get("mailsvc_id")),
        message_id,
        recipient,
        bounce,
        words(kind if name == "Bounce" else None, event.get("Details") or event.get("Description")),
    )
