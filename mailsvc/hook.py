"""A webhook request of a provider: is it genuine, is it fresh, and what does it say. No I/O, no clock."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import orjson

from .errors import HookRefused, HookUnreadable
from .model import Report

FRESH = 300.0  # seconds that a signed request may be old, or early
MIN_SECRET = 16  # characters of a key that a person has made up
MAX_WORD = 255  # characters of an id
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")


class DocumentNeeded(Exception):
    """Only with what is at this URL can it be told whether the request is genuine; ask again with it."""

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(url)


@dataclass(frozen=True, slots=True)
class Hook:
    """The request as it came: header names in lower case, the raw body, `now` in Unix seconds.

    `url` is where the provider was told to send it, None if mailsvc does not know its public name. `documents` are
    bodies that were fetched, by URL.
    """

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    now: float
    url: str | None = None
    documents: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def header(self, name: str) -> str:
        """A header that must be there. Raises HookRefused."""
        value = self.headers.get(name)
        if not value:
            raise HookRefused(f"the header {name} is missing")
        return value

    def json(self) -> Any:
        """The body as JSON. Raises HookUnreadable."""
        return read_json(self.body)

    def unproven_json(self) -> Any:
        """The same where the signature stands in it. Raises HookRefused."""
        try:
            return self.json()
        except HookUnreadable as error:
            raise HookRefused(str(error)) from error

    def document(self, url: str) -> bytes:
        """What is at a URL. Raises DocumentNeeded."""
        if url not in self.documents:
            raise DocumentNeeded(url)
        return self.documents[url]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a genuine request says. `visit` is a URL that the provider wants to be opened, as a proof."""

    reports: tuple[Report, ...] = ()
    visit: str | None = None


def read_json(text: str | bytes) -> Any:
    """JSON that a provider wrote. Raises HookUnreadable."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise HookUnreadable("the body is not JSON") from error


def objects(value: Any) -> list[dict[str, Any]]:
    """The JSON objects of a list, or the one that stands in place of a list. Raises HookUnreadable."""
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise HookUnreadable("the body holds no list of events")
    return [each for each in value if isinstance(each, dict)]


def part(value: Any, *names: str) -> dict[str, Any]:
    """An object within an object; empty if it is not there, or is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


# Whether it is genuine. All of them raise HookRefused, and compare in constant time.


def check_secret(hook: Hook, key: str) -> None:
    """The key as the password of HTTP Basic, with any user name, or as a bearer token."""
    scheme, _, given = hook.header("authorization").partition(" ")
    secret = given.strip().encode()
    if scheme.lower() == "basic":
        try:
            secret = b64decode(given.strip(), validate=True).partition(b":")[2]
        except NotBase64:
            secret = b""
    elif scheme.lower() != "bearer":
        secret = b""
    if not hmac.compare_digest(secret, key.encode()):
        raise HookRefused("the password is wrong")


def secret_fault(provider: str, key: str) -> str | None:
    """What is wrong with a key that a person has made up."""
    if len(key) >= MIN_SECRET:
        return None
    return f"{provider.upper()}_WEBHOOK_KEY must have at least {MIN_SECRET} characters: anybody may try to guess it"


def check_signature(given: str, expected: str) -> None:
    """A signature that can be computed again."""
    if not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
        raise HookRefused("the signature is wrong")


def check_fresh(stamp: object, now: float, limit: float = FRESH) -> None:
    """A Unix time in seconds that is part of what is signed."""
    if not re.fullmatch(r"\d{1,12}", str(stamp), re.ASCII) or abs(now - float(str(stamp))) > limit:
        raise HookRefused("the timestamp is too old, or not one: is the clock of this machine right?")


def hmac_sha256(key: str | bytes, signed: bytes) -> bytes:
    """HMAC-SHA256."""
    return hmac.digest(key.encode() if isinstance(key, str) else key, signed, hashlib.sha256)


# What it says.


def at_unix(value: object, now: float, scale: float = 1.0) -> float:
    """A Unix time in 1/`scale` seconds; now if it is none, or lies ahead."""
    try:
        at = float(str(value)) / scale
    except ValueError:
        return now
    return min(at, now) if math.isfinite(at) and at > 0 else now


def at_iso(value: object, now: float) -> float:
    """A time as in ISO 8601, UTC unless it says otherwise; now if it is none, or lies ahead."""
    try:
        date = datetime.fromisoformat(str(value))
        return at_unix((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp(), now)
    except (ValueError, OverflowError):
        return now


def word(value: object) -> str | None:
    """An id or an address without what cannot be kept; None if it is no text."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return (_UNSAFE.sub(" ", value).strip()[:MAX_WORD] or None) if isinstance(value, str) else None


def words(*values: object) -> str | None:
    """The texts among these, for `detail`."""
    return ": ".join(str(value) for value in values if isinstance(value, str | int) and value) or None


def our_id(*values: object) -> str | None:
    """The first of these that can be the id of a mail; those that are lists are looked into."""
    flat = chain.from_iterable(value if isinstance(value, list) else [value] for value in values)
    return next((value for value in flat if isinstance(value, str) and _UUID.fullmatch(value)), None)


def tidy(report: Report) -> Report:
    """The same with nothing in it that cannot be kept. An event's name that is long is known by its digest."""
    event = _UNSAFE.sub(" ", report.event)
    if len(event) > MAX_WORD:
        event = hashlib.sha256(event.encode()).hexdigest()
    message_id = word((report.provider_message_id or "").strip().strip("<>"))
    return replace(report, event=event, provider_message_id=message_id, recipient=word(report.recipient))
