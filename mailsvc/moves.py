"""What has moved since a time: mails, and their attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .model import Outcome, Status


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt in short; `outcome` is None while it runs."""

    n: int
    provider: str
    outcome: Outcome | None
    score: float


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a mail stands since `at`, and its attempts that began or ended in the time that was asked for."""

    id: str
    status: Status
    at: float
    attempts: Sequence[Tried]


@dataclass(frozen=True, slots=True)
class Moves:
    """Mails that have moved, the oldest move first; not `whole` where more had moved before them."""

    mails: Sequence[Moved]
    whole: bool
