"""The moment of a kill: a step that is reached somewhere, and what happens there, once."""

from __future__ import annotations

from collections.abc import Callable

# Where a process is killed, and what that is called for people.
MOMENTS = {
    "answer": "a provider had answered that instant",
    "whole": "a provider had read a mail and not answered",
    "half": "a provider had read half of a mail",
    "connection": "a provider was being connected to",
    "commit": "a mail had been accepted that instant",
    "request": "a mail had been posted and not answered",
    "random": "at any time",
    "start": "while it started",
}


class Trap:
    """Set for one step at a time."""

    def __init__(self) -> None:
        self._step, self._skip = "", 0
        self._spring: Callable[[], bool] = bool

    def set(self, step: str, skip: int, spring: Callable[[], bool]) -> None:
        """The step is passed `skip` times; then `spring` is called. It returns whether a mail is taken nevertheless."""
        self._step, self._skip, self._spring = step, skip, spring

    def clear(self) -> None:
        """Nothing happens any more."""
        self._step = ""

    def reach(self, step: str) -> bool | None:
        """What `spring` returned, if this was the moment; else None."""
        if step != self._step:
            return None
        self._skip -= 1
        if self._skip >= 0:
            return None
        self._step = ""
        return self._spring()
