"""What an endpoint of a fake provider is: it looks at a request and answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from .connection import HttpRequest

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an endpoint makes of a request. `replayed`: the mail was taken before, with the same `key`."""

    reply: Reply
    mail_id: str | None = None
    key: str | None = None
    replayed: bool = False


class Endpoint:
    """One provider. `key` is the API key that is good; None: any."""

    name: str
    path: re.Pattern[str]

    def __init__(self, key: str | None = None) -> None:
        self.key = key

    def good_key(self, key: object) -> bool:
        return isinstance(key, str) and bool(key) and self.key in (None, key)

    def read(self, request: HttpRequest) -> Seen:
        """Answer a request."""
        try:
            document = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            document = None
        return self.see(request.headers, document)

    def see(self, headers: Mapping[str, str], document: Any) -> Seen:
        """Answer a request; `document` is its JSON body, None if it is none."""
        raise NotImplementedError

    def error(self, status: int) -> Reply:
        """The provider's own words for a status."""
        raise NotImplementedError

    def replay(self, first: Seen) -> Seen:
        """What it says to a request whose mail was taken before: the same again."""
        return replace(first, replayed=True)

    def conflict(self, name: str) -> Reply:
        """What it says about an idempotency key, if it knows such keys."""
        raise NotImplementedError
