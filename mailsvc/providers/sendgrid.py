"""SendGrid's v3 API.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
The payload is built by SendGrid's own package. Its client is never used: it blocks, knows no time-out and opens a
connection for each mail.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any

import orjson

from ..ability import Ability
from ..address import Mailbox
from ..errors import HookRefused
from ..hook import Heard, Hook, at_unix, check_fresh, objects, our_id, word, words
from ..label import metadata
from ..model import Attachment, Message, Outcome, Report, ReportType
from ..wire import HttpRequest, Request, Response, describe, from_json, retry_after
from .base import Can, HttpProvider, Result, Settings

_MAX_ARGUMENTS = 10_000  # bytes of custom_args; metadata beyond them is left out
_UNVERIFIED = re.compile(r"sender identity|from address", re.IGNORECASE)


class SendGrid(HttpProvider):
    """SendGrid: 202 means accepted. A suppressed recipient is accepted too; only a report tells that it was dropped."""

    name = "sendgrid"
    rank = 10
    env = ("SENDGRID_API_KEY",)
    shapes = {  # noqa: RUF012 - a ClassVar of the base
        "SENDGRID_API_KEY": (r"SG\.[\w-]{22}\.[\w-]{43}", "SG., 22 characters, a dot and 43 characters")
    }
    can = Can.REPORT
    hook_words = "the verification key of its signed event webhook"
    default_url = "https://api.sendgrid.com"
    ability = Ability(recipients=1000, size=30 * 1024 * 1024)
    accepts_without_body = frozenset({202})

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        # Takes 100 ms and is needed by those only who send by SendGrid.
        from sendgrid.helpers import mail  # noqa: PLC0415

        self._helpers: Any = mail
        self._headers = {
            "Authorization": f"Bearer {settings.values['SENDGRID_API_KEY']}",
            "Content-Type": "application/json",
            "Accept": "application/json",  # without it the answer can be a 406
        }

    def request(self, message: Message) -> Request:
        """One personalization: all recipients see each other, as in any mail with several in its To line."""
        helpers = self._helpers
        mail = helpers.Mail(
            from_email=_named(helpers.From(), message.sender),
            to_emails=[
                *[_named(helpers.To(), mailbox) for mailbox in message.to],
                *[_named(helpers.Cc(), mailbox) for mailbox in message.cc],
                *[_named(helpers.Bcc(), mailbox) for mailbox in message.bcc],
            ],
            subject=message.subject,
        )
        # Our own id comes back in every report. Only at the personalization: the API refuses at the top level what
        # its specification asks for there.
        for key, value in metadata(message, size=_MAX_ARGUMENTS).items():
            mail.add_custom_arg(helpers.CustomArg(key, value, p=0))
        for name, value in (("Message-ID", message.message_id), *message.headers.items()):
            mail.add_header(helpers.Header(name, value))
        # Not by the package: it refuses a text that begins like an API key, as a mail about keys may, turns the order
        # of tags, and makes one more copy of every file.
        payload = {**mail.get(), "content": _content(message), **_reply_to(message), **_tags_and_files(message)}
        return HttpRequest(f"{self.url}/v3/mail/send", self._headers, orjson.dumps(payload))

    def accepted(self, response: Response, message: Message) -> Result:
        """202 is acceptance; 200 without a body is an account in sandbox mode."""
        if response.status != 202 and (response.status != 200 or response.body):
            return self.undocumented(response)
        identifier = response.headers.get("x-message-id")
        return Result(Outcome.ACCEPTED, describe(response.status, ""), provider_message_id=identifier)

    def refused(self, response: Response, message: Message) -> Result:
        """Read the list of errors first: out of credits is a 401 like a wrong key."""
        errors = _errors(response)
        if errors is None:
            return self.foreign(response)
        texts = "; ".join(text for text, _ in errors)
        detail = describe(response.status, texts)
        if response.status == 429:
            return self.throttled(response, detail, "x-ratelimit-reset")
        if "maximum credits exceeded" in texts.lower():
            return Result(Outcome.QUOTA, detail, retry_after=retry_after(response))
        if response.status == 403 and any(field == "from" or _UNVERIFIED.search(text) for text, field in errors):
            return Result(Outcome.SENDER_REFUSED, detail)
        if response.status in (401, 403):
            hint = "; an EU subuser needs SENDGRID_URL=https://api.eu.sendgrid.com"
            return Result(Outcome.UNAUTHORIZED, detail + hint)
        return Result(Outcome.REFUSED, detail)

    @classmethod
    def hook_fault(cls, key: str) -> str | None:
        """Also whether it is a public key."""
        try:
            _public_key(key)
        except ValueError:
            return "SENDGRID_WEBHOOK_KEY must be the verification key of the signed event webhook; copy it again"
        return None

    def listen(self, hook: Hook, key: str) -> Heard:
        """Batches of events, signed with ECDSA over the timestamp and the body."""
        _check(hook, key)
        reports = (_report(event, hook) for event in objects(hook.json()))
        return Heard(tuple(report for report in reports if report))


def _named(email: Any, mailbox: Mailbox) -> Any:
    """The package's own type, filled in: given an address alone, it would look for a name within it."""
    email.email, email.name = mailbox.address, mailbox.name or None
    return email


def _person(mailbox: Mailbox) -> dict[str, str]:
    return {"email": mailbox.address, "name": mailbox.name} if mailbox.name else {"email": mailbox.address}


def _reply_to(message: Message) -> dict[str, Any]:
    """One address, or a list of several: the API refuses both at once."""
    people = [_person(mailbox) for mailbox in message.reply_to]
    if len(people) > 1:
        return {"reply_to_list": people}
    return {"reply_to": people[0]} if people else {}


def _tags_and_files(message: Message) -> dict[str, Any]:
    files = [_file(each) for each in message.attachments]
    found = {"categories": list(message.tags), "attachments": files}
    return {name: value for name, value in found.items() if value}


def _file(file: Attachment) -> dict[str, str]:
    found = {"content": file.base64, "type": file.content_type, "filename": file.filename}
    if not file.content_id:
        return {**found, "disposition": "attachment"}
    return {**found, "disposition": "inline", "content_id": file.content_id}


def _content(message: Message) -> list[dict[str, str]]:
    """Text before HTML, and no empty part: the API refuses both otherwise."""
    parts = (("text/plain", message.text), ("text/html", message.html))
    return [{"type": kind, "value": value} for kind, value in parts if value]


def _errors(response: Response) -> list[tuple[str, str | None]] | None:
    """Message and field of each error; None if the body is not SendGrid's. `field` may be null or the word `null`."""
    document = from_json(response.body)
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list) or not errors:
        return None
    if not all(isinstance(error, dict) and isinstance(error.get("message"), str) for error in errors):
        return None
    return [(error["message"], error.get("field")) for error in errors]


# Reports. https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
_TYPES = {
    "processed": ReportType.SENT,
    "deferred": ReportType.DELAYED,
    "delivered": ReportType.DELIVERED,
    "dropped": ReportType.REJECTED,
    "bounce": ReportType.BOUNCED,
    "spamreport": ReportType.COMPLAINED,
    "open": ReportType.OPENED,
    "click": ReportType.CLICKED,
    "unsubscribe": ReportType.UNSUBSCRIBED,
    "group_unsubscribe": ReportType.UNSUBSCRIBED,
}


def _public_key(key: str) -> Any:
    """Raises ValueError."""
    # Takes 50 ms and is needed by those only who want reports.
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    found = load_der_public_key(b64decode(key, validate=True))
    if not isinstance(found, EllipticCurvePublicKey):
        raise ValueError("not a key on an elliptic curve")
    return found


def _check(hook: Hook, key: str) -> None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    signature = hook.header("x-twilio-email-event-webhook-signature")
    stamp = hook.header("x-twilio-email-event-webhook-timestamp")
    try:
        signed = stamp.encode("utf-8", "replace") + hook.body
        _public_key(key).verify(b64decode(signature, validate=True), signed, ECDSA(SHA256()))
    except (ValueError, InvalidSignature) as error:
        raise HookRefused("the signature is wrong") from error
    check_fresh(stamp, hook.now)


def _report(event: dict[str, Any], hook: Hook) -> Report | None:
    """`sg_message_id` is the id that the answer had, a dot and more."""
    kind, identifier = _TYPES.get(str(event.get("event"))), word(event.get("sg_event_id"))
    if kind is None or identifier is None:
        return None
    return Report(
        kind,
        at_unix(event.get("timestamp"), hook.now),
        SendGrid.name,
        identifier,
        our_id(event.get("mailsvc_id")),
        (word(event.get("sg_message_id")) or "").partition(".")[0],
        word(event.get("email")),
        event.get("type") != "blocked" if kind is ReportType.BOUNCED else None,
        words(event.get("reason") or event.get("response"), event.get("status")),
    )
