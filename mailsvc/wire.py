"""What goes over the wire to a provider and what comes back, as data; and how an answer's words and times are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

_ISO = re.compile(r"\d{4}-\d\d-\d\dT")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One HTTP request. Headers and body may hold secrets.

    `key` is the idempotency key by which the provider knows a repeated request; the body then holds no secret, so that
    it can be kept. `sign` makes the headers of a signature that is valid for minutes only, out of method, URL, headers,
    body and the Unix time.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"
    key: str | None = None
    sign: Callable[[str, str, Mapping[str, str], bytes, float], Mapping[str, str]] | None = None

    def headers_at(self, now: float) -> Mapping[str, str]:
        """The headers with which it goes out at this Unix time."""
        if self.sign is None:
            return self.headers
        return {**self.headers, **self.sign(self.method, self.url, self.headers, self.body, now)}


@dataclass(frozen=True, slots=True)
class SmtpRequest:
    """One transaction. `security`: `tls` (from the first byte), `starttls` (required) or `plain`. `data` has CRLFs."""

    host: str
    port: int
    security: str
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    sender: str = field(repr=False)
    recipients: tuple[str, ...] = field(repr=False)
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keep:
    """Nothing to send: the mail is in the database already, and stays there to be looked at."""


Request = HttpRequest | SmtpRequest | Keep


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer: header names in lower case, body cut at a limit, `at` the Unix time it came.

    `complete` is False when the connection broke or timed out after the status line and headers.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    at: float = 0.0
    complete: bool = True


@dataclass(frozen=True, slots=True)
class SmtpReply:
    """The reply that ended an SMTP transaction.

    `stage` is where: `connect`, `starttls`, `auth`, `mail`, `rcpt`, `data`, or `done` when the message was taken.
    `code` is None where the server offered no reply code (it lacks STARTTLS or AUTH).
    `refused` maps recipients to their reply; with `done` those are the ones left out.
    """

    stage: str
    code: int | None
    text: str
    refused: Mapping[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer to Keep."""


Answer = Response | SmtpReply | Kept


def describe(status: int, text: str | bytes) -> str:
    """`503: the provider's own words`, for `detail`; of a page, what a browser would show."""
    words = one_line(text)
    if words.startswith("<"):
        words = one_line(re.sub(r"<[^<>]*>", " ", words))
    return f"{status}: {words}" if words else f"answered {status}"


def one_line(text: str | bytes) -> str:
    """A provider's words made harmless: one line, no control characters, nothing that UTF-8 cannot hold."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    return re.sub(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+", " ", raw.decode("utf-8", "replace")).strip()


def from_json(body: bytes) -> Any:
    """The value of a JSON body; None if it is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def retry_after(response: Response, *headers: str) -> float | None:
    """Seconds to wait, by `Retry-After` or else the first usable of the other headers; None if the answer has none."""
    for header in ("retry-after", *headers):
        seconds = seconds_until(response.headers.get(header), response.at)
        if seconds is not None:
            return seconds
    return None


def seconds_until(value: str | None, at: float) -> float | None:
    """A `Retry-After` or reset header as seconds from `at`: seconds, a Unix time, an HTTP date or an ISO 8601 time.

    None if unusable. Not clamped: the selector does that. A number above 1e9 is taken for a Unix time.
    """
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"\d{1,12}(\.\d+)?", text, re.ASCII):
        number = float(text)
        return number - at if number > 1e9 else number
    try:
        date = datetime.fromisoformat(text) if _ISO.match(text) else parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - at
    except (ValueError, OverflowError):
        return None
