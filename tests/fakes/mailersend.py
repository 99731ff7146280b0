"""MailerSend's send endpoint: 202, nothing in the body, the id in a header."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

import orjson

from .endpoint import JSON, Endpoint, Reply, Seen

WORDS = {401: "Unauthenticated.", 422: "The given data was invalid.", 429: "Too Many Attempts."}


class MailerSend(Endpoint):
    name = "mailersend"
    path = re.compile(r"/v1/email$")

    def see(self, headers: Mapping[str, str], document: Any) -> Seen:
        if not self.good_key(headers.get("authorization", "").removeprefix("Bearer ")):
            return Seen(self.error(401))
        try:
            mail_id = next(iter(document.get("tags", [])), None)
            whole = document["from"]["email"] and document["to"][0]["email"] and document["subject"]
            whole = whole and (document.get("text") or document.get("html"))
        except (KeyError, IndexError, TypeError, AttributeError):
            mail_id, whole = None, False
        if not whole:
            return Seen(self.error(422), mail_id)
        headers = {"Content-Type": "text/html; charset=UTF-8", "X-Message-Id": secrets.token_hex(12)}
        return Seen(Reply(202, headers), mail_id)

    def error(self, status: int) -> Reply:
        return Reply(status, JSON, orjson.dumps({"message": WORDS.get(status, f"error {status}")}))
