"""The outbox: what a store of mails must be able to do. One method is one transaction; `now` comes from the caller.

All methods raise StorageUnavailable when the store cannot be read or written now, StorageBroken when it must not be
trusted any more. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..model import Event, Mail, Outcome, Record, Status


@dataclass(frozen=True, slots=True)
class Addition:
    """A mail to be stored. `owner` names the API key; `fingerprint` is a digest of the request body."""

    mail: Mail
    due_at: float
    owner: str = ""
    idempotency_key: str | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Added:
    """What the caller is told; `replayed` when an earlier request with the same key made the mail."""

    id: str
    status: Status
    created_at: float
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Beginning:
    """An attempt that is about to write its first byte."""

    mail_id: str
    n: int
    provider: str
    score: float
    considered: list[dict[str, Any]]
    started_at: float


@dataclass(frozen=True, slots=True)
class Settlement:
    """How an attempt ended and where the mail stands now.

    `status` is SENDING while another provider is asked in the same go. `due_at` is None when nothing is due any more.
    `n` is 0 when the mail's standing changes without an attempt (it gave up waiting).
    `recipients` maps addresses to a status of their own; all others take the mail's status.
    """

    mail_id: str
    n: int
    outcome: Outcome | None
    status: Status
    due_at: float | None
    rounds: int
    ended_at: float
    provider: str | None = None
    provider_message_id: str | None = None
    http_status: int | None = None
    detail: str | None = None
    error: str | None = None
    recipients: dict[str, Status] | None = None
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Which mails to list, newest first. `after` is the id of the last mail of the page before."""

    owner: str | None = None
    status: Status | None = None
    to: str | None = None
    provider: str | None = None
    after: str | None = None
    limit: int = 20


class Outbox(Protocol):
    """The store of mails. Batches in, one result for each row out, in the same order."""

    async def recover(self, now: float, on_uncertain_after: float) -> list[str]:
        """At start: give back what an ended owner had claimed; close its open attempts as `interrupted`.

        A mail with an open attempt becomes `uncertain`, due `on_uncertain_after` seconds from now, or never if its
        policy is `hold`. Returns the ids of those mails.
        """

    async def add(self, additions: Sequence[Addition]) -> list[Added | Exception]:
        """Store mails durably. A row that cannot be stored gives an exception in its place (IdempotencyKeyReused
        for a key used with another fingerprint) and spoils no other row.
        """

    async def claim(self, room: int, now: float, lease: float) -> list[Mail]:
        """Up to `room` mails that are due, oldest first, for `lease` seconds. A claim that is lost is due again."""

    async def begin(self, beginnings: Sequence[Beginning]) -> None:
        """Write attempts down, durably, before their first byte. The mails are `sending` from here on."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Write down how attempts ended, durably. False where it changed nothing: settled before, or unknown.

        May be repeated with the same rows without harm.
        """

    async def release(self, ids: Sequence[str], due_at: float) -> None:
        """Give claimed mails back that nobody was asked to send: no try and no round is lost."""

    async def get(self, id: str, owner: str | None = None) -> Record | None:  # noqa: A002 - the field's own name
        """All that is known of a mail; None if there is none for this owner (None: any owner)."""

    async def mail(self, id: str) -> Mail | None:  # noqa: A002 - the field's own name
        """The mail itself, with its bodies; None if there is none."""

    async def list(self, page: Page) -> list[Record]:
        """Up to `page.limit` mails, newest first."""

    async def counts(self) -> dict[Status, int]:
        """How many mails are in each status; kept, not counted."""

    async def close(self) -> None:
        """Finish what runs and let go of the store."""
