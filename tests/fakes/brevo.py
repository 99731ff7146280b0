"""Brevo's send endpoint: a key in the body, whose second use is an error."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from .endpoint import JSON, Endpoint, Reply, Seen

CODES = {
    400: "missing_parameter",
    401: "unauthorized",
    402: "not_enough_credits",
    403: "permission_denied",
    404: "document_not_found",
    405: "method_not_allowed",
    429: "too_many_requests",
}


class Brevo(Endpoint):
    name = "brevo"
    path = re.compile(r"/v3/smtp/email$")

    def see(self, headers: Mapping[str, str], document: Any) -> Seen:
        if not self.good_key(headers.get("api-key")):
            return Seen(self.error(401))
        try:
            custom, key = document["headers"].get("X-Mailin-custom", "{}"), document["headers"].get("idempotencyKey")
            mail_id = orjson.loads(custom).get("mailsvc_id")
            whole = document["sender"]["email"] and document["to"][0]["email"]
            whole = whole and document["subject"] and document["htmlContent"]
        except (KeyError, IndexError, TypeError, AttributeError, orjson.JSONDecodeError):
            mail_id, key, whole = None, None, False
        if not whole:
            return Seen(self.error(400), mail_id)
        identifier = f"<{secrets.token_hex(8)}@smtp-relay.mailin.fr>"
        return Seen(Reply(201, JSON, orjson.dumps({"messageId": identifier})), mail_id, key)

    def error(self, status: int) -> Reply:
        return self._error(status, CODES.get(status, "internal_error"))

    def replay(self, first: Seen) -> Seen:
        return replace(first, reply=self.conflict("duplicate_parameter"), replayed=True)

    def conflict(self, name: str) -> Reply:
        return self._error(400, "duplicate_parameter")

    def _error(self, status: int, code: str) -> Reply:
        return Reply(status, JSON, orjson.dumps({"code": code, "message": f"this is {code.replace('_', ' ')}"}))
