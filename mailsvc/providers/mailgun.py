"""Mailgun.

https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages/post-v3--domain-name--messages
Errors have a text and no code. A wrong region looks like a wrong key (401) or an unknown domain (404), and a wrong path
like success: a 200 that greets from the "Mailgun Magnificent API".
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

from ..ability import Ability
from ..errors import HookRefused
from ..hook import Heard, Hook, at_unix, check_fresh, check_signature, hmac_sha256, our_id, part, word, words
from ..label import OWN_ID, ascii_tags, metadata
from ..model import Attachment, Mail, Message, Outcome, Report, ReportType
from ..wire import HttpRequest, Response, describe, from_json, retry_after
from .base import RATE_PAUSE, Can, HttpProvider, Result, Settings

_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*")
_ABOUT_RECIPIENT = re.compile(r"\bto'? parameter is not", re.IGNORECASE)
_TRY_AGAIN = re.compile(r"try again (?:after|in) (\d{1,6}) second", re.IGNORECASE)
_UNVERIFIED = re.compile(r"\b(unverified|not verified)\b", re.IGNORECASE)
_MAX_OPTIONS, _OWN_OPTIONS = 16 * 1024, 1024  # bytes of all `o:`, `h:` and `v:`, and of those that are always there
_MAX_TAGS = 3
_STATUSES = {401: Outcome.UNAUTHORIZED, 402: Outcome.QUOTA, 405: Outcome.DOWN, 406: Outcome.DOWN}


class Mailgun(HttpProvider):
    """Mailgun: one bad address fails the whole request; a suppressed one is accepted, and only a report tells."""

    name = "mailgun"
    rank = 30
    env = ("MAILGUN_API_KEY", "MAILGUN_DOMAIN")
    example = {"MAILGUN_DOMAIN": "mg.example.com"}  # noqa: RUF012 - a ClassVar of the base
    shapes = {  # noqa: RUF012 - a ClassVar of the base
        "MAILGUN_API_KEY": (
            r"(key-)?[0-9a-f]{32}(-[0-9a-f]{8}){0,2}",
            "32 hexadecimal digits, perhaps with key- before",
        )
    }
    can = Can.REPORT | Can.LOOKUP
    hook_words = "the HTTP webhook signing key"
    default_url = "https://api.mailgun.net"
    ability = Ability(recipients=1000, size=25 * 1024 * 1024, header_bytes=_MAX_OPTIONS - _OWN_OPTIONS)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._login = b64encode(f"api:{settings.values['MAILGUN_API_KEY']}".encode()).decode()

    @classmethod
    def faults(cls, settings: Settings) -> list[str]:
        """Also whether MAILGUN_DOMAIN is a domain: a slash in it would lead to another path, and to a 200."""
        if _DOMAIN.fullmatch(settings.values["MAILGUN_DOMAIN"]):
            return super().faults(settings)
        return [*super().faults(settings), "MAILGUN_DOMAIN must be a domain, such as mg.example.com"]

    def secrets(self) -> tuple[str, ...]:
        """The key, as it is and as it goes over the wire. The domain is none."""
        return (self.settings.values["MAILGUN_API_KEY"], self._login)

    def request(self, message: Message) -> HttpRequest:
        """A form. Without `recipient-variables`, all recipients see each other and `%recipient.x%` stays as it is."""
        fields = [
            ("from", str(message.sender)),
            *[("to", str(mailbox)) for mailbox in message.to],
            *[("cc", str(mailbox)) for mailbox in message.cc],
            *[("bcc", str(mailbox)) for mailbox in message.bcc],
            ("subject", message.subject),
            *[(kind, value) for kind, value in (("text", message.text), ("html", message.html)) if value],
            *_options(message),
        ]
        # Nobody who writes a mail knows its id yet, so the boundary cannot stand in it.
        boundary = hashlib.sha256(message.id.encode()).hexdigest()[:40]
        headers = {"Authorization": f"Basic {self._login}", "Content-Type": f"multipart/form-data; boundary={boundary}"}
        url = f"{self.url}/v3/{self.settings.values['MAILGUN_DOMAIN']}/messages"
        return HttpRequest(url, headers, _form(boundary, fields, message.attachments))

    def lookup(self, mail: Mail) -> HttpRequest:
        """Its events by our Message-ID, which a sending key may not read.

        https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/events
        """
        wanted = {"limit": 10, "message-id": f"{mail.id}@{mail.sender.domain}"}
        url = f"{self.url}/v3/{self.settings.values['MAILGUN_DOMAIN']}/events?{urlencode(wanted)}"
        return HttpRequest(url, {"Authorization": f"Basic {self._login}"}, b"", "GET")

    def seen(self, document: Any, mail: Mail) -> str | None:
        """Any event of the mail shows that it is there, but for one that says that it was not taken."""
        for event in _events(document):
            name = part(part(event, "message"), "headers").get("message-id")
            ours = part(event, "user-variables").get(OWN_ID) == mail.id or name == f"{mail.id}@{mail.sender.domain}"
            if ours and event.get("event") != "rejected":
                return str(name or "")
        return None

    def accepted(self, response: Response, message: Message) -> Result:
        """A 200 whose message begins with "Queued". The id is a Message-ID; reports and logs have it without `<>`."""
        document = from_json(response.body)
        if response.body.lstrip().startswith(b"<") or b"Mailgun Magnificent API" in response.body:
            hint = f"not the API of Mailgun; check {self.url_setting} and MAILGUN_DOMAIN: "
            return Result(Outcome.DOWN, hint + describe(response.status, response.body))
        words = document.get("message") if isinstance(document, dict) else None
        if response.status != 200 or not isinstance(words, str) or not words.startswith("Queued"):
            return self.undocumented(response)
        identifier = document.get("id")
        identifier = identifier.strip("<>") if isinstance(identifier, str) else None
        return Result(Outcome.ACCEPTED, describe(200, words), provider_message_id=identifier)

    def refused(self, response: Response, message: Message) -> Result:
        """Status first, then the text."""
        words = _words(response.body)
        if words is None:
            return self.foreign(response)
        detail = describe(response.status, words)
        if response.status == 429:
            return _throttled(response, words, detail)
        outcome = _outcome(response.status, words, message)
        if response.status in (401, 404, 405, 406):
            detail += f"; check MAILGUN_DOMAIN and {self.url_setting} (https://api.eu.mailgun.net in the EU)"
        return Result(outcome, detail, retry_after=retry_after(response))

    def listen(self, hook: Hook, key: str) -> Heard:
        """One event. What is signed is a timestamp and a token, not the event: so a token is good for one event only,
        and an event that does not name mail and recipient is none.
        """
        document = hook.unproven_json()
        signature = part(document, "signature")
        stamp, token = str(signature.get("timestamp")), word(signature.get("token"))
        if token is None:
            raise HookRefused("the signature is missing")
        check_signature(str(signature.get("signature")), hmac_sha256(key, f"{stamp}{token}".encode()).hex())
        check_fresh(stamp, hook.now)
        report = _report(part(document, "event-data"), hook, token)
        return Heard((report,) if report else ())


def _events(document: Any) -> list[dict[str, Any]]:
    items = document.get("items") if isinstance(document, dict) else None
    return [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []


def _options(message: Message) -> list[tuple[str, str]]:
    """Headers, tags and variables. Together they have a limit: tags and metadata get what the headers leave of it."""
    answers = ", ".join(str(mailbox) for mailbox in message.reply_to)
    options = [
        ("h:Message-Id", message.message_id),
        *([("h:Reply-To", answers)] if answers else []),
        *[(f"h:{name}", value) for name, value in message.headers.items()],
        *[("o:tag", tag) for tag in ascii_tags(message.tags, _MAX_TAGS)],
    ]
    left = _MAX_OPTIONS - sum(len(name.encode()) + len(value.encode()) for name, value in options)
    return options + [(f"v:{key}", value) for key, value in metadata(message, size=left).items()]


def _form(boundary: str, fields: list[tuple[str, str]], files: tuple[Attachment, ...]) -> bytes:
    """multipart/form-data (RFC 7578). A file without a name would be dropped in silence."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    for file in files:
        # The HTML shows an inline one by its name.
        field, name = ("inline", file.content_id) if file.content_id else ("attachment", file.filename)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        parts += [f"{head}Content-Type: {file.content_type}\r\n\r\n".encode(), file.content, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])


def _words(body: bytes) -> str | None:
    """The text of an error; None if it is none of Mailgun's. A wrong key gets the bare word, in JSON or not."""
    document = from_json(body)
    if isinstance(document, dict):
        words = document.get("message")
        return words if isinstance(words, str) else None
    bare = document if isinstance(document, str) else body.decode("utf-8", "replace")
    return bare if bare.strip().lower() == "forbidden" else None


def _outcome(status: int, words: str, message: Message) -> Outcome:
    if status == 400:
        # Nobody knows which of several it was, so the others are given a chance elsewhere.
        alone = len(message.everybody) == 1 and _ABOUT_RECIPIENT.search(words)
        return Outcome.RECIPIENT_REFUSED if alone else Outcome.REFUSED
    if status == 403:
        if words.strip().lower() == "forbidden":
            return Outcome.UNAUTHORIZED
        return Outcome.SENDER_REFUSED if _UNVERIFIED.search(words) else Outcome.SUSPENDED
    if status == 404:
        return Outcome.SENDER_REFUSED if "domain" in words.lower() else Outcome.DOWN
    return _STATUSES.get(status, Outcome.REFUSED)


def _throttled(response: Response, words: str, detail: str) -> Result:
    """No header is documented; the text says how long."""
    wait, said = retry_after(response), _TRY_AGAIN.search(words)
    if wait is None:
        wait = float(said[1]) if said else RATE_PAUSE
    return Result(Outcome.RATE_LIMITED, detail, retry_after=wait)


# Reports. https://documentation.mailgun.com/docs/mailgun/user-manual/tracking-messages/
_TYPES = {
    "accepted": ReportType.SENT,
    "delivered": ReportType.DELIVERED,
    "rejected": ReportType.REJECTED,
    "complained": ReportType.COMPLAINED,
    "opened": ReportType.OPENED,
    "clicked": ReportType.CLICKED,
    "unsubscribed": ReportType.UNSUBSCRIBED,
}


def _report(event: dict[str, Any], hook: Hook, token: str) -> Report | None:
    headers, status = part(event, "message", "headers"), part(event, "delivery-status")
    recipient, identifier = word(event.get("recipient")) or word(headers.get("to")), word(event.get("id"))
    kind = _TYPES.get(str(event.get("event")))
    if event.get("event") == "failed":
        kind = _failure(event)
    if kind is None or recipient is None or identifier is None:
        return None
    return Report(
        kind,
        at_unix(event.get("timestamp"), hook.now),
        Mailgun.name,
        identifier,
        our_id(part(event, "user-variables").get("mailsvc_id")),
        word(headers.get("message-id")),
        recipient,
        True if kind is ReportType.BOUNCED else None,
        words(
            status.get("code"),
            status.get("message") or status.get("description"),
            event.get("reason") or part(event, "reject").get("reason"),
        ),
        token,
    )


def _failure(event: dict[str, Any]) -> ReportType:
    """Temporary: Mailgun tries again. An address that it had on its list is no fresh bounce."""
    if event.get("severity") == "temporary":
        return ReportType.DELAYED
    suppressed = str(event.get("reason")).startswith("suppress-")
    return ReportType.REJECTED if suppressed else ReportType.BOUNCED
