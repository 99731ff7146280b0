"""The journal of attempts: begun before the first byte, settled however long that takes. Group commit for both."""

from __future__ import annotations

import asyncio

import structlog

from .attempt import Beginning, Settlement
from .batcher import Batcher
from .errors import StorageBroken, StorageUnavailable
from .outbox.base import Outbox

MAX_BATCH = 256  # rows in one transaction
PAUSE, PAUSE_MAX = 0.1, 5.0  # seconds between tries to write a result down

log = structlog.get_logger("mailsvc.journal")


class Journal:
    """Writes attempts to the outbox. `sizes`: how many at a time."""

    def __init__(self, outbox: Outbox) -> None:
        self._beginnings = Batcher(outbox.begin, MAX_BATCH, "begin")
        self._settlements = Batcher(outbox.settle, MAX_BATCH, "settle")
        self.attachments = outbox.attachments
        self.sizes = {"begin": self._beginnings.sizes, "settle": self._settlements.sizes}

    async def begin(self, beginning: Beginning) -> None:
        """On the disk when this returns. Raises StorageUnavailable: then nothing may be sent."""
        await self._beginnings(beginning)

    async def settle(self, settlement: Settlement) -> bool:
        """On the disk when this returns, after as many tries as it takes: a note that is lost means a mail sent twice.

        False if it changed nothing, because another process has taken the mail over or a report was faster. Raises
        StorageBroken alone.
        """
        pause, repeated = PAUSE, False
        while True:
            try:
                # What changes nothing in a second try may have been written by the first.
                return await self._settlements(settlement) or repeated
            except StorageBroken:
                raise
            except StorageUnavailable as error:
                log.error("result_not_written", mail=settlement.mail_id, error=str(error), again_in_s=pause)
                await asyncio.sleep(pause)
                pause, repeated = min(PAUSE_MAX, pause * 2), True

    async def close(self) -> None:
        """Wait for what is being written."""
        await self._beginnings.close()
        await self._settlements.close()
