"""What a caller adds to an outbox, one mail or several, and what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .model import Mail, Status

# How long a second request with the same Idempotency-Key is sure to get the first answer, in seconds.
KEEP_IDEMPOTENCY_KEYS = 24 * 3600.0
KEY_REUSED = "this Idempotency-Key was used before with another request body"


@dataclass(frozen=True, slots=True)
class Addition:
    """A mail to be stored. `owner` names the API key; `fingerprint` is a digest of the request body.

    It is `scheduled` if `due_at` is later than the mail's `created_at`, else `queued`.
    """

    mail: Mail
    due_at: float
    owner: str = ""
    idempotency_key: str | None = None
    fingerprint: str = ""

    @property
    def status(self) -> Status:
        """What the mail is first."""
        return Status.SCHEDULED if self.due_at > self.mail.created_at else Status.QUEUED


@dataclass(frozen=True, slots=True)
class Added:
    """What the caller is told; `replayed` when an earlier request with the same key made the mail."""

    id: str
    status: Status
    created_at: float
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Mails to be stored all together or not at all, and the `answer` to the request for them, a text of the caller's.

    `additions` have no key of their own; that of the request is the batch's.
    """

    additions: Sequence[Addition]
    created_at: float
    answer: str
    owner: str = ""
    idempotency_key: str | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Batched:
    """What a batch is answered: for each mail, in their order, its `id` and `status`, or its `error`."""

    data: Sequence[dict[str, Any]]
    replayed: bool = False
