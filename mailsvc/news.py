"""The news of attempts, mails and providers: in the log for people, and on the feed for whoever listens now."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from .feed import Feed
from .model import Status
from .providers.base import Result
from .selector import Selector

log = structlog.get_logger("mailsvc.news")


class News:
    """Says each thing once, by the mail's id or the provider's name, and never an address or a content."""

    def __init__(self, feed: Feed, selector: Selector, monotonic: Callable[[], float]) -> None:
        self._feed, self._selector, self._monotonic = feed, selector, monotonic
        self._states: dict[str, str] = {}

    def mail(self, mail_id: str, status: Status) -> None:
        """Where a mail stands."""
        self._feed.say("mail", mail_id, status=status.value)

    def begun(self, mail_id: str, n: int, provider: str, score: float) -> None:
        """An attempt is under way."""
        self._feed.say("attempt", mail_id, n=n, provider=provider, outcome=None, score=score)

    def ended(
        self, mail_id: str, n: int, provider: str, score: float, result: Result, status: Status, took: float
    ) -> None:
        """An attempt is over, after `took` seconds, and the mail stands somewhere."""
        log.info(
            "attempt",
            mail=mail_id,
            n=n,
            provider=provider,
            outcome=result.outcome.value,
            http_status=result.http_status,
            ms=round(took * 1000),
            score=score,
            mail_status=status.value,
        )
        self._feed.say("attempt", mail_id, n=n, provider=provider, outcome=result.outcome.value)
        self.mail(mail_id, status)
        self.providers()

    def providers(self) -> None:
        """Each change of a provider's state."""
        for candidate in self._selector.survey(self._monotonic()):
            # While a provider recovers it is full and open again with every mail: that is no news.
            state = "open" if candidate.state == "full" else candidate.state
            before = self._states.get(candidate.name, "open")
            if state != before:
                self._states[candidate.name] = state
                write = log.info if state == "open" else log.warning
                write("provider", provider=candidate.name, state=state, was=before, why=candidate.reason)
                self._feed.say("provider", candidate.name, state=state, reason=candidate.reason)
