"""SparkPost's send endpoint."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

import orjson

from .endpoint import JSON, Endpoint, Reply, Seen

WORDS = {
    401: "Unauthorized.",
    403: "Forbidden.",
    404: "resource not found",
    420: "Exceed Sending Limit (daily)",
    422: "required field is missing",
    429: "Too many requests",
}


class SparkPost(Endpoint):
    name = "sparkpost"
    path = re.compile(r"/api/v1/transmissions/?$")

    def see(self, headers: Mapping[str, str], document: Any) -> Seen:
        if not self.good_key(headers.get("authorization")):
            return Seen(self.error(401))
        try:
            mail_id, content = document.get("metadata", {}).get("mailsvc_id"), document["content"]
            people = [person["address"]["email"] for person in document["recipients"]]
            whole = people and content["from"]["email"] and content["subject"]
            whole = whole and (content.get("text") or content.get("html"))
        except (KeyError, TypeError, AttributeError):
            mail_id, people, whole = None, [], False
        if not whole:
            return Seen(self.error(422), mail_id)
        counts = {"total_accepted_recipients": len(people), "total_rejected_recipients": 0}
        results = {"id": str(secrets.randbits(56)), **counts}
        return Seen(Reply(200, JSON, orjson.dumps({"results": results})), mail_id)

    def error(self, status: int) -> Reply:
        return Reply(status, JSON, orjson.dumps({"errors": [{"message": WORDS.get(status, f"error {status}")}]}))
