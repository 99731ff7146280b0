"""Mailgun's send endpoint: a form, Basic authentication, a word where others have a document."""

from __future__ import annotations

import email
import re
import secrets
from base64 import b64decode
from typing import TYPE_CHECKING

import orjson

from .endpoint import JSON, Endpoint, Reply, Seen

if TYPE_CHECKING:
    from .connection import HttpRequest

WORDS = {400: "to parameter is not a valid address. please check documentation", 402: "Request failed"}


class Mailgun(Endpoint):
    name = "mailgun"
    path = re.compile(r"/v3/[^/]+/messages$")

    def read(self, request: HttpRequest) -> Seen:
        if not self.good_key(_password(request.headers.get("authorization", ""))):
            return Seen(self.error(401))
        form = _fields(request)
        mail_id = form.get("v:mailsvc_id")
        if not (form.get("from") and form.get("to") and form.get("subject") and (form.get("text") or form.get("html"))):
            return Seen(self.error(400), mail_id)
        identifier = form.get("h:Message-Id") or f"<{secrets.token_hex(8)}@{request.path.split('/')[-2]}>"
        return Seen(Reply(200, JSON, orjson.dumps({"id": identifier, "message": "Queued. Thank you."})), mail_id)

    def error(self, status: int) -> Reply:
        if status == 401:
            return Reply(401, {"Content-Type": "text/plain"}, b"Forbidden")
        return Reply(status, JSON, orjson.dumps({"message": WORDS.get(status, f"error {status}")}))


def _password(header: str) -> str:
    """The password of the user `api`; empty if there is none."""
    try:
        user, _, password = b64decode(header.removeprefix("Basic "), validate=True).decode().partition(":")
    except ValueError:
        return ""
    return password if user == "api" and header.startswith("Basic ") else ""


def _fields(request: HttpRequest) -> dict[str, str]:
    """The form, the last value of each field, without files; empty if it is none."""
    head = f"Content-Type: {request.headers.get('content-type', '')}\r\n\r\n"
    form = email.message_from_bytes(head.encode() + request.body)
    if form.get_content_type() != "multipart/form-data" or not form.is_multipart():
        return {}
    return {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True).decode()
        for part in form.get_payload()
        if not part.get_filename()
    }
