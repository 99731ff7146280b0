"""The live feed: what happens now, for whoever listens now. Nothing is kept; the outbox has the truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

MAX_BEHIND = 1000  # items a slow listener may be behind before it loses the oldest


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that happened: `kind` is mail, attempt or provider; `subject` the mail's id or the provider's name.

    `number` counts all that was said, so that a listener can tell that it has missed something; `at` is the Unix time.
    """

    kind: str
    subject: str
    data: dict[str, Any] = field(default_factory=dict)
    number: int = field(default=0, compare=False)
    at: float = field(default=0.0, compare=False)


class Feed:
    """Says everything to everybody who listens, and waits for nobody.

    `relay` is given each item that is said here, for the listeners of other processes, and `joined` is called when
    somebody begins to listen.
    """

    def __init__(self) -> None:
        self._listeners: dict[str | None, set[asyncio.Queue[Item]]] = {None: set()}
        self._number = 0
        self.relay: Callable[[str, str, dict[str, Any]], None] | None = None
        self.joined: Callable[[], None] = lambda: None

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners[None]) or len(self._listeners) > 1

    def say(self, kind: str, subject: str, **data: Any) -> None:
        """Tell whoever listens to everything, or to this subject. Costs next to nothing when nobody does."""
        self.pass_on(kind, subject, data)
        if self.relay:
            self.relay(kind, subject, data)

    def pass_on(self, kind: str, subject: str, data: dict[str, Any]) -> None:
        """The same, to the listeners of this process alone: what another one has said."""
        self._number += 1
        at = time.time()
        for listener in (*self._listeners[None], *self._listeners.get(subject, ())):
            if listener.full():
                listener.get_nowait()
            listener.put_nowait(Item(kind, subject, data, self._number, at))

    @contextmanager
    def listen(self, subject: str | None = None) -> Iterator[asyncio.Queue[Item]]:
        """A queue of everything that is said while the block runs, or of what is said about one subject."""
        queue: asyncio.Queue[Item] = asyncio.Queue(MAX_BEHIND)
        self._listeners.setdefault(subject, set()).add(queue)
        self.joined()
        try:
            yield queue
        finally:
            self._listeners[subject].discard(queue)
            if subject is not None and not self._listeners[subject]:
                del self._listeners[subject]
