"""What a provider remembers of requests by their idempotency keys."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from .endpoints import Endpoint, Seen


class Keys:
    """Repeats the first answer to the same request; refuses another body, and a request whose first one is not done.

    Without `honoured` it knows nothing and every request is a new one.
    """

    def __init__(self, *, honoured: bool = True) -> None:
        self.honoured = honoured
        self._kept: dict[str, tuple[str, Seen]] = {}
        self._busy: set[str] = set()

    def check(self, endpoint: Endpoint, seen: Seen, body: bytes) -> Seen:
        """What the provider says when it takes the key into account."""
        if not self.honoured or seen.key is None or not 200 <= seen.reply.status < 300:
            return seen
        if seen.key in self._busy:
            return replace(seen, reply=endpoint.conflict("concurrent_idempotent_requests"))
        kept = self._kept.get(seen.key)
        if kept is None:
            return seen
        if kept[0] != _digest(body):
            return replace(seen, reply=endpoint.conflict("invalid_idempotent_request"))
        return endpoint.replay(kept[1])

    def take(self, seen: Seen, body: bytes) -> None:
        """The mail was taken: from here on the same request gets the same answer."""
        if seen.key is not None:
            self._kept.setdefault(seen.key, (_digest(body), seen))

    def begin(self, seen: Seen) -> None:
        """The request is at work."""
        if seen.key is not None:
            self._busy.add(seen.key)

    def end(self, seen: Seen) -> None:
        """It is done."""
        if seen.key is not None:
            self._busy.discard(seen.key)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
