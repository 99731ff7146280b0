"""What this process has seen of each provider since it started: for people, not for the selector."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Count:
    """`last_error_at` is a Unix time."""

    sent: int = 0
    failed: int = 0
    last_error: str | None = None
    last_error_at: float | None = None


class Tally:
    """Counts by provider."""

    def __init__(self) -> None:
        self._counts: dict[str, Count] = {}

    def __getitem__(self, provider: str) -> Count:
        return self._counts.setdefault(provider, Count())

    def sent(self, provider: str) -> None:
        """It accepted a mail."""
        self[provider].sent += 1

    def failed(self, provider: str, error: str, at: float) -> None:
        """It did not, whosever fault that was."""
        count = self[provider]
        count.failed += 1
        count.last_error, count.last_error_at = error, at
