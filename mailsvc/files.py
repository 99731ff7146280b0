"""The attachments of the mails that are being sent: read when they are needed, and never too many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from .model import Attachment, Mail

ROOM = 48 * 1024 * 1024  # bytes of attachments in memory at a time, of all mails; a larger one goes alone


class Files:
    """Gives out attachments by `read`, which takes the id of a mail, while there is room for them.

    Who came first is first served, so that a large one is not passed by small ones for ever.
    """

    def __init__(self, read: Callable[[str], Awaitable[Sequence[Attachment]]], room: int = ROOM) -> None:
        self._read, self._room = read, room
        self._used = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def of(self, mail: Mail) -> AsyncIterator[tuple[Attachment, ...]]:
        """The attachments of this mail with their content. Raises StorageUnavailable."""
        if not mail.attachments:
            yield ()
            return
        size = mail.attached
        async with self._turn, self._freed:
            await self._freed.wait_for(lambda: not self._used or self._used + size <= self._room)
            self._used += size
        try:
            yield tuple(await self._read(mail.id))
        finally:
            async with self._freed:
                self._used -= size
                self._freed.notify_all()
