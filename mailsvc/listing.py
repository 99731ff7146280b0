"""A list of mails: what is asked for, and a page of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .model import Record, Status

# How many mails a list with several filters looks at for one of its pages.
WALK = 2000


@dataclass(frozen=True, slots=True)
class Page:
    """Which mails to list, newest first. `after` is the id of the last mail of the page before.

    `to` is an address in any case; `provider` is the one named in the mail's record. `since` and `until` are about when
    the mail was accepted: from then on, and before. `metadata` is a name and its text.
    """

    owner: str | None = None
    status: Status | None = None
    to: str | None = None
    provider: str | None = None
    after: str | None = None
    limit: int = 20
    since: float | None = None
    until: float | None = None
    tag: str | None = None
    metadata: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list found: no more than its limit. `next` is the `after` with which to look on, None at the end.

    With several filters there may be fewer than the limit, or none, and yet more behind `next`.
    """

    records: Sequence[Record]
    next: str | None
