"""Postmark's send endpoint: everything is told by a code, also what is in a 200."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from .endpoint import JSON, Endpoint, Reply, Seen

CODES = {401: 10, 422: 300, 503: 100}


class Postmark(Endpoint):
    name = "postmark"
    path = re.compile(r"(?<!/v1)(?<!/smtp)/email$")

    def see(self, headers: Mapping[str, str], document: Any) -> Seen:
        if not self.good_key(headers.get("x-postmark-server-token")):
            return Seen(self.error(401))
        if headers.get("accept") != "application/json" or not isinstance(document, dict):
            return Seen(self._error(422, 409))
        metadata = document.get("Metadata")
        mail_id = metadata.get("mailsvc_id") if isinstance(metadata, dict) else None
        whole = document.get("From") and document.get("To") and (document.get("HtmlBody") or document.get("TextBody"))
        if not whole:
            return Seen(self.error(422), mail_id)
        taken = {"To": document["To"], "MessageID": str(uuid.uuid4()), "ErrorCode": 0, "Message": "OK"}
        return Seen(Reply(200, JSON, orjson.dumps(taken)), mail_id)

    def error(self, status: int) -> Reply:
        return self._error(status, CODES.get(status, 0))

    def _error(self, status: int, code: int) -> Reply:
        return Reply(status, JSON, orjson.dumps({"ErrorCode": code, "Message": f"this is {code}"}))
