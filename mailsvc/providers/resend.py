"""Resend.

https://resend.com/docs/api-reference/emails/send-email
https://resend.com/docs/dashboard/emails/idempotency-keys
Errors are told apart by `name`: a 403 stands for a wrong key and for an unverified domain. A request that is repeated
with the same `Idempotency-Key` within a day, and with the same body, gets the first answer again.
"""

from __future__ import annotations

import hmac
import mimetypes
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from typing import Any

import orjson

from ..ability import EXECUTABLE, Ability
from ..address import Mailbox
from ..errors import HookRefused
from ..hook import Heard, Hook, at_iso, check_fresh, hmac_sha256, our_id, part, word, words
from ..label import plain_pairs
from ..model import Attachment, Message, Outcome, Report, ReportType
from ..wire import HttpRequest, Response, describe, from_json, retry_after
from .base import Can, HttpProvider, Result, Settings

_OUTCOMES = {
    **dict.fromkeys(("missing_api_key", "restricted_api_key", "invalid_api_key"), Outcome.UNAUTHORIZED),
    "suspended_api_key": Outcome.SUSPENDED,
    "invalid_from_address": Outcome.SENDER_REFUSED,
    **dict.fromkeys(("daily_quota_exceeded", "monthly_quota_exceeded"), Outcome.QUOTA),
    "rate_limit_exceeded": Outcome.RATE_LIMITED,
    # The first request with this key is still at work there, or had another body: the mail may be on its way.
    **dict.fromkeys(("concurrent_idempotent_requests", "invalid_idempotent_request"), Outcome.UNANSWERED),
    # Not about the mail, so nothing that a second opinion would help.
    **dict.fromkeys(("not_found", "method_not_allowed"), Outcome.DOWN),
    **dict.fromkeys(("application_error", "internal_server_error"), Outcome.DOWN),
}
# For an error whose name is not known, and for `validation_error`: what its status says.
_STATUSES = {
    401: Outcome.UNAUTHORIZED,
    403: Outcome.UNAUTHORIZED,
    409: Outcome.UNANSWERED,
    429: Outcome.RATE_LIMITED,
}


class Resend(HttpProvider):
    """Resend: 200 with an id. The mail's id is the idempotency key, until it is retried by request."""

    name = "resend"
    rank = 50
    env = ("RESEND_API_KEY",)
    shapes = {"RESEND_API_KEY": (r"re_\w{16,}", "re_ and at least 16 characters")}  # noqa: RUF012 - see the base
    can = Can.DEDUPE | Can.REPORT
    hook_words = "the signing secret of the webhook, whsec_…"
    default_url = "https://api.resend.com"
    ability = Ability(to=50, size=40 * 1024 * 1024, unlisted=EXECUTABLE)
    key_life = 24 * 3600.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._headers = {
            "Authorization": f"Bearer {settings.values['RESEND_API_KEY']}",
            "Content-Type": "application/json",
        }

    def request(self, message: Message) -> HttpRequest:
        """One request for all recipients. Tags come back in every report."""
        body: dict[str, Any] = {
            "from": str(message.sender),
            "to": _all(message.to),
            **({"cc": _all(message.cc)} if message.cc else {}),
            **({"bcc": _all(message.bcc)} if message.bcc else {}),
            **({"reply_to": _all(message.reply_to)} if message.reply_to else {}),
            "subject": message.subject,
            **{kind: value for kind, value in (("text", message.text), ("html", message.html)) if value},
            "headers": {"Message-ID": message.message_id, **message.headers},
            "tags": [{"name": name, "value": value} for name, value in plain_pairs(message).items()],
            **({"attachments": [_file(each) for each in message.attachments]} if message.attachments else {}),
        }
        return self.again(orjson.dumps(body), message.key)

    def again(self, body: bytes, key: str) -> HttpRequest:
        """The key stands in a header, the credentials in another."""
        return HttpRequest(f"{self.url}/emails", {**self._headers, "Idempotency-Key": key}, body, key=key)

    def accepted(self, response: Response, message: Message) -> Result:
        """200 with the id of the mail."""
        document = from_json(response.body)
        identifier = document.get("id") if isinstance(document, dict) else None
        if response.status != 200 or not isinstance(identifier, str) or not identifier:
            return self.undocumented(response)
        return Result(Outcome.ACCEPTED, describe(200, ""), provider_message_id=identifier)

    def refused(self, response: Response, message: Message) -> Result:
        """An error by name."""
        document = from_json(response.body)
        return self._error(response, document) if _is_error(document) else self.foreign(response)

    def _error(self, response: Response, error: Mapping[str, Any]) -> Result:
        name, status = _name(error), response.status
        outcome = _OUTCOMES.get(name, _STATUSES.get(status, Outcome.REFUSED))
        if name == "validation_error" and status == 403:
            outcome = Outcome.SENDER_REFUSED  # the domain is not verified, or the account may write to itself alone
        detail = describe(status, f"{name}: {error.get('message') or ''}")
        if outcome is Outcome.RATE_LIMITED:
            return self.throttled(response, detail, "ratelimit-reset")
        if name in ("not_found", "method_not_allowed"):
            detail += f"; check {self.url_setting}"
        taken = name == "invalid_idempotent_request"
        return Result(outcome, detail, retry_after=retry_after(response), key_taken=taken)

    @classmethod
    def hook_fault(cls, key: str) -> str | None:
        """Also whether it is such a secret."""
        if _secret(key):
            return None
        return "RESEND_WEBHOOK_KEY must be the signing secret of the webhook, whsec_ and more; copy it again"

    def listen(self, hook: Hook, key: str) -> Heard:
        """One event, signed as Svix does it. Any of several signatures will do, while a secret is being changed."""
        identifier, stamp = hook.header("svix-id"), hook.header("svix-timestamp")
        signed = f"{identifier}.{stamp}.".encode("utf-8", "replace") + hook.body
        expected = "v1," + b64encode(hmac_sha256(_secret(key), signed)).decode()
        given = hook.header("svix-signature").split()[:16]
        if not any(hmac.compare_digest(each.encode("utf-8", "replace"), expected.encode()) for each in given):
            raise HookRefused("the signature is wrong")
        check_fresh(stamp, hook.now)
        report = _report(hook.json(), hook, identifier)
        return Heard((report,) if report else ())


def _all(boxes: tuple[Mailbox, ...]) -> list[str]:
    return [str(mailbox) for mailbox in boxes]


def _file(file: Attachment) -> dict[str, str]:
    """Without a type that another ending would have: such a mail is accepted, and never delivered."""
    found = {"filename": file.filename, "content": file.base64}
    if mimetypes.guess_type(file.filename, strict=False)[0] in (None, file.content_type):
        found["content_type"] = file.content_type
    return {**found, "content_id": file.content_id} if file.content_id else found


def _name(error: Mapping[str, Any]) -> str:
    """Official answers have `name`, some imitations `type`."""
    return str(error.get("name") or error.get("type"))


def _is_error(document: object) -> bool:
    return isinstance(document, dict) and any(isinstance(document.get(field), str) for field in ("name", "type"))


# Reports. https://resend.com/docs/dashboard/webhooks/event-types
_TYPES = {
    "email.sent": ReportType.SENT,
    "email.delivery_delayed": ReportType.DELAYED,
    "email.delivered": ReportType.DELIVERED,
    "email.bounced": ReportType.BOUNCED,
    **dict.fromkeys(("email.failed", "email.suppressed"), ReportType.REJECTED),
    "email.complained": ReportType.COMPLAINED,
    "email.opened": ReportType.OPENED,
    "email.clicked": ReportType.CLICKED,
}


def _secret(key: str) -> bytes:
    """The bytes of the secret; none if it is no such secret."""
    try:
        return b64decode(key.removeprefix("whsec_"), validate=True) if key.startswith("whsec_") else b""
    except NotBase64:
        return b""


def _report(event: Any, hook: Hook, identifier: str) -> Report | None:
    """Which of several recipients it is about is not told. Tags were sent as a list and come back as a map."""
    data = part(event, "data")
    kind, people, bounce = _TYPES.get(str(part(event).get("type"))), data.get("to"), part(data, "bounce")
    if kind is None:
        return None
    hard = {"Permanent": True, "Transient": False}.get(str(bounce.get("type")))
    return Report(
        kind,
        at_iso(part(event).get("created_at"), hook.now),
        Resend.name,
        identifier,
        our_id(part(data, "tags").get("mailsvc_id")),
        word(data.get("email_id")),
        word(people[0]) if isinstance(people, list) and len(people) == 1 else None,
        hard if kind is ReportType.BOUNCED else None,
        words(
            bounce.get("subType"),
            bounce.get("message") or part(data, "failed").get("reason") or part(data, "suppressed").get("reason"),
        ),
    )
