"""What each of the processes on one database has seen: once a second it shows its own, and gets everybody's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from .council import Council
from .errors import StorageUnavailable

EVERY = 1.0  # seconds

log = structlog.get_logger("mailsvc.neighbours")


class Neighbours:
    """`all` is what each process has shown last, by its name, with this process among them; JSON values.

    `changed` is called with a provider's name when another process sees it otherwise than before.
    """

    def __init__(self, council: Council, process: str, sight: Callable[[], Mapping[str, Any]]) -> None:
        self.all: Mapping[str, Mapping[str, Any]] = {}
        self._council, self.process, self._sight = council, process, sight
        self.changed: Callable[[str], None] = lambda provider: None
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Show what is seen from now on."""
        self._task = asyncio.create_task(self._run(), name="neighbours")

    async def stop(self) -> None:
        """Show nothing more; the others forget it in a few seconds."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def show(self) -> Mapping[str, Mapping[str, Any]]:
        """Show what is seen now, and get what all have shown. Raises Unavailable.

        One at a time, so that what is counted never goes back for whoever reads it.
        """
        async with self._turn:
            before, self.all = self.all, await self._council.show(self.process, self._sight())
        for provider in _providers(self.all):
            if self._elsewhere(before, provider) != self._elsewhere(self.all, provider):
                self.changed(provider)
        return self.all

    def _elsewhere(self, sights: Mapping[str, Mapping[str, Any]], provider: str) -> list[object]:
        """How others see it. A score creeps back by itself, which is news only when it shows."""
        seen = [sight["providers"].get(provider) for name, sight in sights.items() if name != self.process]
        return [row and row | {"score": round(row["score"], 1), "health": 0, "until": 0} for row in seen]

    async def _run(self) -> None:
        while True:
            try:
                await self.show()
            except StorageUnavailable as error:
                log.debug("neighbours_not_seen", error=str(error))
            except Exception:  # whatever it was, the loop goes on: it would never be begun again
                log.exception("neighbours_failed")
            await asyncio.sleep(EVERY)


def _providers(sights: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {provider for sight in sights.values() for provider in sight["providers"]}
