"""The send endpoints of the providers, as far as a mail needs them: authentication, the shape of a mail, the answer."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from .brevo import Brevo
from .endpoint import JSON, Endpoint, Reply, Seen
from .mailersend import MailerSend
from .mailgun import Mailgun
from .postmark import Postmark
from .ses import Ses
from .sparkpost import SparkPost

SENDGRID_WORDS = {
    400: "Bad Request",
    401: "The provided authorization grant is invalid, expired, or revoked",
    403: "access forbidden",
    413: "content too large",
    429: "too many requests",
}
MANDRILL_NAMES = {
    401: "Invalid_Key",
    402: "PaymentRequired",
    422: "ValidationError",
    429: "RequestLimitExceeded",
    500: "GeneralError",
    503: "ServiceUnavailable",
}
RESEND_NAMES = {
    400: "validation_error",
    401: "missing_api_key",
    403: "invalid_api_key",
    405: "method_not_allowed",
    422: "missing_required_field",
    429: "rate_limit_exceeded",
}


class SendGrid(Endpoint):
    name = "sendgrid"
    path = re.compile(r"/v3/mail/send$")

    def see(self, headers: Mapping[str, str], document: Any) -> Seen:
        if not self.good_key(headers.get("authorization", "").removeprefix("Bearer ")):
            return Seen(self.error(401))
        try:
            person = document["personalizations"][0]
            mail_id = person.get("custom_args", {}).get("mailsvc_id")
            whole = person["to"][0]["email"] and document["from"]["email"] and document["subject"]
            whole = whole and all(part["value"] for part in document["content"])
        except (KeyError, IndexError, TypeError, AttributeError):
            mail_id, whole = None, False
        if not whole:
            return Seen(self.error(400), mail_id)
        return Seen(Reply(202, {"X-Message-Id": secrets.token_urlsafe(16)}), mail_id)

    def error(self, status: int) -> Reply:
        if status >= 500:
            return Reply(status, {"Content-Type": "text/html"}, b"<html><body>unavailable</body></html>")
        errors = [{"message": SENDGRID_WORDS.get(status, f"error {status}"), "field": None, "help": None}]
        return Reply(status, JSON, orjson.dumps({"errors": errors}))


class Mandrill(Endpoint):
    name = "mandrill"
    path = re.compile(r"/api/1\.\d/messages/send(\.json)?$")

    def see(self, headers: Mapping[str, str], document: Any) -> Seen:
        if not isinstance(document, dict) or not self.good_key(document.get("key")):
            return Seen(self.error(401))
        try:
            message = document["message"]
            mail_id = message.get("metadata", {}).get("mailsvc_id")
            whole = message["from_email"] and (message.get("html") or message.get("text"))
            people = [person["email"] for person in message["to"]]
        except (KeyError, TypeError, AttributeError):
            mail_id, whole, people = None, False, []
        if not whole or not people:
            return Seen(self.error(422), mail_id)
        fates = [
            {
                "email": email,
                "status": "sent",
                "reject_reason": None,
                "queued_reason": None,
                "_id": secrets.token_hex(16),
            }
            for email in people
        ]
        return Seen(Reply(200, JSON, orjson.dumps(fates)), mail_id)

    def error(self, status: int) -> Reply:
        name = MANDRILL_NAMES.get(status, "GeneralError")
        error = {"status": "error", "code": -2 if status in (422, 503) else status, "name": name, "message": name}
        return Reply(status, JSON, orjson.dumps(error))


class Resend(Endpoint):
    name = "resend"
    path = re.compile(r"/emails$")

    def see(self, headers: Mapping[str, str], document: Any) -> Seen:
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if not self.good_key(given):
            return Seen(self.error(403 if given else 401))
        try:
            tags = {tag["name"]: tag["value"] for tag in document.get("tags", [])}
            whole = document["from"] and document["to"] and document["subject"]
            whole = whole and (document.get("html") or document.get("text"))
        except (KeyError, TypeError, AttributeError):
            tags, whole = {}, False
        mail_id, key = tags.get("mailsvc_id"), headers.get("idempotency-key")
        if not whole:
            return Seen(self.error(422), mail_id)
        return Seen(Reply(200, JSON, orjson.dumps({"id": str(uuid.uuid4())})), mail_id, key)

    def error(self, status: int) -> Reply:
        return self._error(status, RESEND_NAMES.get(status, "application_error"))

    def conflict(self, name: str) -> Reply:
        return self._error(409, name)

    def _error(self, status: int, name: str) -> Reply:
        return Reply(status, JSON, orjson.dumps({"statusCode": status, "name": name, "message": f"this is {name}"}))


ENDPOINTS: tuple[type[Endpoint], ...] = (
    SendGrid,
    Mandrill,
    Mailgun,
    Postmark,
    Resend,
    Brevo,
    SparkPost,
    MailerSend,
    Ses,
)
