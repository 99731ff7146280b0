"""A client for mailsvc in one file, of the standard library alone: copy it, or import it from here.

    client = Client("https://mail.example.com", key)
    sent = client.send("ann@example.com", "Hello", content="**It works.**")
    mail = client.get(sent.id, wait=20)

A request that got no answer, or "not now", is made again with the same Idempotency-Key, so no second mail comes of it.
Errors are exceptions: `Refused` when the request has to change, `NotNow` when it may be made again later.
"""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

AGAIN = (429, 502, 503, 504)  # statuses after which the same request may be made again
WAITING = ("scheduled", "queued", "sending")
LONGEST_WAIT = 60  # seconds that the server holds an answer back
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0  # seconds between tries, where the server names none


@dataclass(frozen=True, slots=True)
class Sent:
    """A mail that the server has stored; `replayed` when an earlier request with this key did it."""

    id: str
    status: str
    created_at: str
    replayed: bool = False


class ClientError(Exception):
    """What the server says, or that it says nothing.

    `status` is that of HTTP, 0 without an answer; `code` is stable; `errors` has the field, code and message of each
    fault; `retry_after` is in seconds.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        self.status, self.retry_after = status, retry_after
        self.code = str(problem.get("code", "no_answer" if not status else "unknown"))
        self.detail = str(problem.get("detail", f"the answer was {status}"))
        self.errors: Sequence[Mapping[str, str]] = problem.get("errors") or []
        self.request_id = str(problem.get("request_id", ""))
        fields = "; ".join(f"{fault.get('field')}: {fault.get('message')}" for fault in self.errors)
        super().__init__(f"{self.detail} ({fields})" if fields else self.detail)


class Refused(ClientError):
    """The request has to change before it is made again: a field, the key, the id."""


class NotNow(ClientError):
    """It was tried for as long as the client is patient. Whether a mail was stored is not known if `status` is 0."""


class Client:
    """`url` is the server's, `key` an API key of it. It may be used by several threads.

    A request has `timeout` seconds for its answer, and is repeated for at most `patience` seconds.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout: float = 30.0, patience: float = 60.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("url must begin with http:// or https://")
        self._url, self._timeout, self._patience = url.rstrip("/"), timeout, patience
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._opener = urllib.request.build_opener(_Stay)

    def send(
        self,
        to: str | Sequence[str],
        subject: str | None = None,
        *,
        content: str | None = None,
        html: str | None = None,
        text: str | None = None,
        template: str | Mapping[str, Any] | None = None,
        variables: Mapping[str, Any] | None = None,
        sender: str | None = None,
        attachments: Sequence[str | Path | Mapping[str, Any]] = (),
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> Sent:
        """Have a mail stored and sent. `content` is markdown; `fields` are the others of `POST /email`.

        A `template`, by its name or as the API takes it, stands in place of `subject` and the bodies, with `variables`.
        `attachments` are files by their path, or objects as the API takes them, whose `content` may be bytes.
        Give an `idempotency_key` of your own (an order's number) to be safe across a restart of your program, too.
        Raises Refused and NotNow; ValueError for `variables` without a `template`.
        """
        if variables is not None and template is None:
            raise ValueError("variables go with a template")
        mail: dict[str, Any] = {"to": to if isinstance(to, str) else list(to), "subject": subject, **fields}
        if template is not None:
            used = {"name": template} if isinstance(template, str) else template
            mail["template"] = {**used, **({"variables": variables} if variables is not None else {})}
        mail |= {"content": content, "html": html, "text": text, "from": sender}
        mail |= {"attachments": [_file(each) for each in attachments] or None}
        body = json.dumps({name: value for name, value in mail.items() if value is not None}).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        answer, told = self._call("POST", "/email", body, headers)
        return Sent(answer["id"], answer["status"], answer["created_at"], "Idempotent-Replayed" in told)

    def get(self, id: str, *, wait: float = 0.0) -> dict[str, Any]:  # noqa: A002 - the field's own name
        """All that is known of a mail; with `wait`, once it has left the queue or after so many seconds.

        Raises Refused (404 for an unknown id) and NotNow.
        """
        path, end = f"/email/{quote(id, safe='')}", time.monotonic() + wait
        while True:
            left = end - time.monotonic()
            timeout = min(left, LONGEST_WAIT, self._timeout / 2)
            query = "?" + urlencode({"wait": "settled", "timeout": f"{timeout:.3f}"}) if left > 0 else ""
            mail, _ = self._call("GET", path + query)
            if left <= 0 or mail["status"] not in WAITING:
                return dict(mail)

    def _call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Any, HTTPMessage]:
        """The answer's JSON and headers, after as many tries as it takes."""
        end, pause = time.monotonic() + self._patience, FIRST_PAUSE
        while True:
            try:
                return self._once(method, path, body, {**self._headers, **(headers or {})})
            except NotNow as error:
                wait = error.retry_after if error.retry_after is not None else pause * random.uniform(0.5, 1)  # noqa: S311 - jitter
                if time.monotonic() + wait > end:
                    raise
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _once(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[Any, HTTPMessage]:
        request = urllib.request.Request(self._url + path, body, headers, method=method)  # noqa: S310 - checked above
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return json.loads(response.read()), response.headers
        except urllib.error.HTTPError as error:
            with error:
                raise _problem(error.code, _document(error), error.headers.get("Retry-After")) from None
        except (OSError, HTTPException) as error:
            words = f"no answer from {self._url}: {getattr(error, 'reason', None) or error or type(error).__name__}"
            raise NotNow(0, {"detail": words}) from error
        except ValueError as error:
            raise NotNow(0, {"detail": f"the answer of {self._url} is not JSON: is the URL right?"}) from error


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would hand the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _problem(status: int, document: Mapping[str, Any], retry_after: str | None) -> ClientError:
    if status in AGAIN or document.get("code") == "idempotency_in_flight":
        return NotNow(status, document, float(retry_after) if retry_after and retry_after.isdecimal() else None)
    return Refused(status, document)


def _document(error: urllib.error.HTTPError) -> Mapping[str, Any]:
    try:
        found = json.loads(error.read())
    except (ValueError, OSError, HTTPException):
        found = None
    return found if isinstance(found, dict) else {}


def _file(given: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(given, str | Path):
        path = Path(given)
        given = {"filename": path.name, "content": path.read_bytes()}
    content = given.get("content")
    return {**given, **({"content": b64encode(content).decode()} if isinstance(content, bytes) else {})}
