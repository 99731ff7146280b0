"""An attempt in an outbox: how it begins, before its first byte, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .model import Event, Outcome, Payload, Resolution, Status


@dataclass(frozen=True, slots=True)
class Beginning:
    """An attempt that is about to write its first byte. `n` is one more than the attempts made so far.

    `payload` is kept until the mail's fate is settled, so that the same request can be made again; the first one for a
    mail and a provider stays. `resolved` closes the mail's open doubts.
    """

    mail_id: str
    n: int
    provider: str
    score: float
    considered: list[dict[str, Any]]
    started_at: float
    payload: Payload | None = None
    resolved: Resolution | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """How an attempt ended and where the mail stands now.

    `status` is SENDING while another provider is asked in the same go; the mail then keeps its `due_at`.
    `due_at` is None when nothing is due any more.
    `n` is 0 when the mail's standing changes without an attempt (it gave up waiting); not while one is running, and
    only from the status `expected` if there is one. `resolved` closes the mail's open doubts.
    `provider` and `provider_message_id` are kept from before where they are None; `error` is not.
    `recipients` maps addresses to a status of their own, which stays; all others take the mail's status.
    Texts of a provider may hold anything: what cannot be stored in them is left out.
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
    resolved: Resolution | None = None
    expected: Status | None = None
