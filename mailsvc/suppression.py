"""The suppression list: addresses that are not mailed any more, and why. What a report means for it is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from .model import Report, ReportType

SOFT_LIMIT = 3  # different mails in a row that came back for the moment, before an address counts as bad
SOFT_FOR = 7 * 86_400.0  # seconds that it is left alone then
WHY = "every address in to is on the suppression list"


class Reason(StrEnum):
    """Why an address is on the list."""

    BOUNCE = "bounce"  # it does not exist, or takes no mail for good
    SOFT_BOUNCES = "soft_bounces"  # SOFT_LIMIT mails in a row came back
    COMPLAINT = "complaint"  # its owner called a mail spam
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Suppression:
    """One address on the list. `reason` is a Reason, or what a person wrote.

    `source` is the provider that told, or `api`; `mail_id` the mail that came back.

    Times are Unix seconds; it ends at `expires_at`, None: never.
    """

    address: str
    reason: str
    source: str
    created_at: float
    expires_at: float | None = None
    mail_id: str | None = None

    def holds(self, now: float) -> bool:
        """Whether the address is not to be mailed now."""
        return self.expires_at is None or self.expires_at > now


class Lesson(StrEnum):
    """What a report teaches about an address."""

    BAD = "bad"
    ANNOYED = "annoyed"
    WEAK = "weak"  # came back for the moment: bad if that goes on
    GOOD = "good"


def lesson(report: Report) -> Lesson | None:
    """What a report about one recipient teaches; None: nothing.

    A refusal by a provider's own list is no bounce of today, and who unsubscribes still wants his receipts.
    """
    if report.type is ReportType.COMPLAINED:
        return Lesson.ANNOYED
    if report.type is ReportType.BOUNCED and report.permanent is not None:
        return Lesson.BAD if report.permanent else Lesson.WEAK
    return Lesson.GOOD if report.type is ReportType.DELIVERED else None


class SuppressionStore(Protocol):
    """The list in an outbox. Addresses are compared without case.

    All methods raise StorageUnavailable and StorageBroken as the outbox does.
    """

    async def put(self, entries: Sequence[Suppression]) -> None:
        """Put addresses on the list, durably; what stood there of them is replaced."""

    async def remove(self, address: str) -> bool:
        """Take an address off the list, durably, and forget what came back from it. False if it was not on it."""

    async def list(self, after: str, limit: int) -> Sequence[Suppression]:
        """Up to `limit` entries in the order of their addresses, those that have ended too, after an address."""

    async def among(self, addresses: Sequence[str], now: float) -> Mapping[str, Suppression]:
        """Those of the addresses that are not to be mailed `now`, by the address in lower case."""
