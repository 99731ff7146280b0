"""Look-ups: asking a provider whether it has got a mail that is in doubt. Seldom, once for each doubt, and only where
it is allowed. Nothing but a mail that is found settles a doubt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from .model import Mail

log = structlog.get_logger("mailsvc.lookup")
PAUSE = 1.0  # seconds between two look-ups at one provider
PATIENCE = 30  # times that a mail waits for its look-up while others have theirs; then it goes on without
REMEMBERED = 10_000  # mails


@dataclass(frozen=True, slots=True)
class Look:
    """This provider is to be asked whether it has got the mail."""

    provider: str


class Lookups:
    """Which mails were looked for, and where that is not allowed. In memory: after a restart each doubt gets another.

    `providers` are those that can be asked.
    """

    def __init__(self, providers: Iterable[str]) -> None:
        self._providers = set(providers)
        self._next: dict[str, float] = {}
        self._looked: dict[tuple[str, str], None] = {}
        self._waited: dict[str, int] = {}

    def due(self, mail: Mail, now: float) -> Look | float | None:
        """The provider to ask now, or the seconds to wait until then; None if there is nobody to ask any more."""
        for name in sorted(mail.doubted):
            if name not in self._providers or (mail.id, name) in self._looked:
                continue
            wait = self._next.get(name, 0.0) - now
            if wait <= 0:
                return self._begin(mail, name, now)
            waited = self._waited.get(mail.id, 0)
            if waited < PATIENCE:
                self._waited[mail.id] = waited + 1
                _forget(self._waited)
                return max(wait, PAUSE)
        return None

    def forbid(self, name: str) -> None:
        """Its key may not look: never again."""
        if name in self._providers:
            self._providers.remove(name)
            log.warning("lookup_not_allowed", provider=name, now="off")

    def _begin(self, mail: Mail, name: str, now: float) -> Look:
        self._next[name] = now + PAUSE
        self._looked[mail.id, name] = None
        self._waited.pop(mail.id, None)
        _forget(self._looked)
        return Look(name)


def _forget(known: dict[Any, Any]) -> None:
    """Drop the oldest."""
    if len(known) > REMEMBERED:
        known.pop(next(iter(known)))
