"""A provider translates: a message into a request, an answer into a result. It does no I/O and has no clock."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Flag, auto
from typing import ClassVar, final

from ..model import Message, Outcome

MAX_DETAIL = 1000


class Can(Flag):
    """What a provider is able to do beyond sending."""

    NOTHING = 0
    DEDUPE = auto()  # honours an idempotency key
    REPORT = auto()  # tells later what became of a mail
    LOOKUP = auto()  # finds a mail by our id
    INLINE = auto()  # carries inline images


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says about one provider: its variables by name (secrets, so never shown), URL and score."""

    values: Mapping[str, str] = field(repr=False)
    url: str | None = None
    score: float = 50.0


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One HTTP request. Headers and body may hold secrets."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class SmtpRequest:
    """One SMTP transaction. `security` is `tls` (from the first byte), `starttls` (required) or `plain`."""

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


@dataclass(frozen=True, slots=True)
class Result:
    """What an answer means.

    `detail` is for the operator: one line, no secret, at most 1,000 characters. `retry_after` is in seconds.
    `refused` maps the recipients of a partial acceptance that were left out to the reason.
    `stuck`: accepted, but the provider says that it will not leave; it may still leave later.
    """

    outcome: Outcome
    detail: str = ""
    http_status: int | None = None
    provider_message_id: str | None = None
    retry_after: float | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    stuck: bool = False


class Provider(ABC):
    """One e-mail service. A file in this folder with a subclass is all it takes to add one.

    `rank` orders the providers for the default scores, lowest first. `env` are the variables that switch it on;
    the first is the provider's own. `default_url` is None for a provider that has no URL of its own.
    """

    name: ClassVar[str]
    rank: ClassVar[int]
    env: ClassVar[tuple[str, ...]]
    can: ClassVar[Can] = Can.NOTHING
    default_url: ClassVar[str | None] = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = (settings.url or self.default_url or "").rstrip("/")

    def __repr__(self) -> str:
        return f"<provider {self.name}>"

    @classmethod
    def faults(cls, settings: Settings) -> list[str]:  # noqa: ARG003 - subclasses look at them
        """What is wrong with the settings, one sentence each, without their values."""
        return []

    @abstractmethod
    def request(self, message: Message) -> Request:
        """What to send for this message."""

    @abstractmethod
    def read(self, answer: Answer, message: Message) -> Result:
        """What the answer to that request means."""


class HttpProvider(Provider):
    """A provider with an HTTP API. Subclasses read their own 2xx and 4xx; the rest means the same everywhere."""

    # Statuses that alone decide that the mail was taken, so that a cut body changes nothing.
    accepts_without_body: ClassVar[frozenset[int]] = frozenset()

    @final
    def read(self, answer: Answer, message: Message) -> Result:
        """Apply the rules that hold for every HTTP provider, then the provider's own."""
        assert isinstance(answer, Response)  # noqa: S101 - for the type checker; an HttpRequest gets no other answer
        status = answer.status
        if 300 <= status < 400:
            setting = f"{self.name.upper()}_URL"
            return Result(Outcome.DOWN, f"answered with a redirect ({status}); check {setting}", status)
        if status in (408, 504):
            return Result(Outcome.UNANSWERED, f"answered {status}: it may have taken the mail", status)
        if 200 <= status < 300:
            if not answer.complete and status not in self.accepts_without_body:
                return Result(Outcome.UNANSWERED, f"answered {status}, then the answer was cut off", status)
            return self.accepted(answer, message)
        if status >= 500:
            return self.failed(answer, message)
        return self.refused(answer, message)

    @abstractmethod
    def accepted(self, response: Response, message: Message) -> Result:
        """Read a 2xx answer. One that the provider's documentation does not know is UNANSWERED."""

    @abstractmethod
    def refused(self, response: Response, message: Message) -> Result:
        """Read a 4xx answer (408 excepted)."""

    def failed(self, response: Response, message: Message) -> Result:  # noqa: ARG002 - for those that look at it
        """Read a 5xx answer (504 excepted): the provider is down, unless its body says something else."""
        return Result(Outcome.DOWN, describe(response.status, one_line(response.body)), response.status)


def describe(status: int, text: str) -> str:
    """`503: the provider's own words`, for `detail`."""
    return f"{status}: {text}"[:MAX_DETAIL] if text else f"answered {status}"


def one_line(text: str | bytes) -> str:
    """A provider's words made harmless: one line, no control characters, at most 1,000 characters."""
    if isinstance(text, bytes):
        text = text[: 4 * MAX_DETAIL].decode("utf-8", "replace")
    return re.sub(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+", " ", text).strip()[:MAX_DETAIL]


def seconds_until(value: str | None, at: float) -> float | None:
    """A `Retry-After` or reset header as seconds from `at`: seconds, an HTTP date or a Unix time. None if unusable.

    Not clamped: the selector does that. A number above 1e9 is taken for a Unix time.
    """
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"\d{1,12}(\.\d+)?", text):
        number = float(text)
        return number - at if number > 1e9 else number
    try:
        return parsedate_to_datetime(text).timestamp() - at
    except (ValueError, OverflowError):
        return None
