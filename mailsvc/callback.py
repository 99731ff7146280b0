"""The nouns of callbacks: where an application wants to be told, what it is told, and what a store of both must do.

A notice is one event for one callback. How it is signed is the rule of https://www.standardwebhooks.com.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

import orjson

from .model import Status

# What is told: every status but those of a mail that is on its way, which would only be noise.
TYPES = tuple(f"mail.{status.value}" for status in Status if status.settled)
TEST = "callback.test"
PATTERNS = ("*", "mail.*", *TYPES)

# Seconds between the tries of a notice, the first of which is made at once: about 75 hours in all.
LADDER = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
PATIENCE = 5 * 86_400.0  # seconds without a success after which a callback is switched off
SECRET_MARK, SECRET_BYTES = "whsec_", 32
MAX_SECRETS = 4  # that are good at a time, so that the header stays short


class State(StrEnum):
    """What has become of a notice."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"  # all its tries are used up


class Off(StrEnum):
    """Why a callback is switched off."""

    HAND = "by_hand"
    GONE = "gone"  # it has answered 410
    FAILING = "failing"  # nothing was taken for PATIENCE seconds


@dataclass(frozen=True, slots=True)
class Secret:
    """What notices are signed with, until a time if another one has taken its place."""

    text: str = field(repr=False)
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Callback:
    """Where to tell an application what has happened. Times are Unix seconds.

    `events` are some of PATTERNS, `secrets` the newest first. `version` grows with every change by a person.
    """

    id: str
    url: str = field(repr=False)  # its path and query may hold a secret
    events: tuple[str, ...]
    description: str
    secrets: tuple[Secret, ...]
    created_at: float
    version: int = 1
    disabled_at: float | None = None
    disabled_why: Off | None = None
    failing_since: float | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """One event for one callback: what happened `at` a time, and how far the telling has come.

    `id` stays over all tries and replays, so that a double can be known. `due_at` is when it is tried next; None when
    it is not. `tries` were made so far, `rung` of them since it began or was replayed.
    """

    number: int
    id: str
    callback: str
    type: str
    at: float
    mail: str | None
    provider: str | None
    provider_message_id: str | None
    error: str | None
    tags: tuple[str, ...]
    metadata: dict[str, str]
    state: State
    due_at: float | None
    rung: int
    tries: int


@dataclass(frozen=True, slots=True)
class Try:
    """One request that told a notice, or did not. `took` is in seconds; `error` is None where it was taken."""

    n: int
    at: float
    took: float
    http_status: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a try ended, and where the notice stands now. `gone`: the callback wants nothing any more."""

    notice: Notice
    done: Try
    state: State
    due_at: float | None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """A notice in the log, with its tries."""

    notice: Notice
    tries: tuple[Try, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """What to tell again: one notice by its `id`, or those that happened from `since` until before `until`.

    What still waits is left as it is.
    """

    id: str | None = None
    since: float = 0.0
    until: float = 0.0
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Glimpse:
    """How a callback stands, for who looks at it from outside of the service: `waiting` is how many notices wait."""

    id: str
    url: str = field(repr=False)
    disabled_why: Off | None
    failing_since: float | None
    waiting: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many notices of a callback wait, and since when the first of them is due."""

    number: int
    oldest_due_at: float


class CallbackStore(Protocol):
    """What an outbox must do for callbacks. Whoever moves a mail writes its notices in the same transaction.

    All methods raise StorageUnavailable and StorageBroken as those of the Outbox do.
    """

    async def add(self, callback: Callback) -> None:
        """Keep a callback, durably. Conflict if there is one with its id."""

    async def change(self, callback: Callback) -> bool:
        """Write down `url`, `events`, `description` and `secrets`, durably; its version grows by one.

        False if there is no such callback in this version any more.
        """

    async def switch(self, id: str, disabled_at: float | None) -> bool:  # noqa: A002 - the field's own name
        """Switch a callback off by hand, or on (None); durably. False if there is none with this id."""

    async def remove(self, id: str, now: float) -> bool:  # noqa: A002 - the field's own name
        """The callback is no more, durably, and its notices are told no more. False if there is none with this id."""

    async def all(self) -> Sequence[Callback]:
        """All callbacks, oldest first."""

    async def tell(self, id: str, type: str, now: float) -> str:  # noqa: A002 - the fields' own names
        """Write down a notice for this callback alone that is due now; its id."""

    async def claim(self, rooms: Mapping[str, int], now: float, lease: float) -> Sequence[Notice]:
        """Notices that are due, up to so many of each of these callbacks, for `lease` seconds."""

    async def end(self, endings: Sequence[Ending]) -> Sequence[str]:
        """Write down how tries ended. A try whose number is taken was another process's: it changes nothing.

        A callback that is gone, or has failed for PATIENCE seconds, is switched off; the ids of those.
        """

    async def release(self, ids: Sequence[str], now: float) -> None:
        """Give claimed notices back; they are due now."""

    async def log(
        self,
        id: str,  # noqa: A002 - the field's own name
        limit: int,
        after: str | None = None,
        state: State | None = None,
    ) -> Sequence[Told]:
        """The notices of a callback, newest first, up to `limit`, beginning after the one with the id `after`."""

    async def find(self, id: str, notice_id: str) -> Told | None:  # noqa: A002 - the field's own name
        """One notice of this callback; None if there is none with that id."""

    async def replay(self, id: str, wanted: Replay, now: float) -> int:  # noqa: A002 - the field's own name
        """Tell notices of this callback again, beginning at the foot of the ladder; how many."""

    async def backlog(self) -> Mapping[str, Backlog]:
        """What waits, by callback; nothing for one for which nothing does."""

    async def forget(self, before: float) -> bool:
        """Forget what happened before a time, but nothing that is still to be told. A small step; True while more."""


def new_callback(url: str, events: Sequence[str], description: str, now: float) -> Callback:
    """A callback with an id and a secret made at random."""
    return Callback(f"cb_{os.urandom(8).hex()}", url, tuple(events), description, (new_secret(),), now)


def new_secret() -> Secret:
    """A secret made at random."""
    return Secret(SECRET_MARK + base64.b64encode(os.urandom(SECRET_BYTES)).decode())


def new_notice_id() -> str:
    """As the databases make them, too."""
    return f"msg_{os.urandom(16).hex()}"


def body(notice: Notice) -> bytes:
    """What is told, the same to the byte for every try of the notice."""
    at = datetime.fromtimestamp(notice.at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    data: dict[str, object] = {"id": notice.callback}
    if notice.mail is not None:
        data = {
            "id": notice.mail,
            "status": notice.type.rpartition(".")[2],
            "provider": notice.provider,
            "provider_message_id": notice.provider_message_id,
            "error": notice.error,
            "tags": notice.tags,
            "metadata": notice.metadata,
        }
    return orjson.dumps({"type": notice.type, "timestamp": at, "data": data})


def headers(callback: Callback, notice: Notice, content: bytes, now: float) -> dict[str, str]:
    """The headers of a try that is made now, signed with every secret that is still good."""
    timestamp = str(int(now))
    signed = f"{notice.id}.{timestamp}.".encode() + content
    good = [secret.text for secret in callback.secrets if secret.until is None or secret.until > now]
    return {
        "Content-Type": "application/json",
        "webhook-id": notice.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{_signature(text, signed)}" for text in good),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_MARK))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
