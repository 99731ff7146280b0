"""How many mails there are."""

from __future__ import annotations

from typing import ClassVar

from ..access import Scope
from ..model import Status
from .base import Handler
from .shapes import COUNT, JSON, shape


class Counts(Handler):
    """`/email/counts`."""

    summary = "How many mails are in each status"
    reads = Scope.ADMIN
    gives: ClassVar = {"get": (200, {JSON: shape(counts=shape(**{status.value: COUNT for status in Status}))})}

    async def get(self) -> None:
        """The number of mails by status, those of all keys; kept, not counted."""
        self.admit()
        counts = await self.service.counts()
        self.send_json({"counts": {status.value: number for status, number in counts.items()}})
