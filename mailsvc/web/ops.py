"""What operators and platforms ask: is it alive, does it take mail, what has it done, what does it hold."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar

from tornado.iostream import StreamClosedError

from ..access import Scope
from ..errors import Unavailable
from ..metrics import Packed, Reading, Store, exposition, packed
from ..service import Service
from .base import Handler
from .shapes import JSON, OPEN_METRICS, SQLITE, TEXT, shape, words

PIECE = 1 << 20  # bytes of a copy that are sent at a time


class Healthz(Handler):
    """`/healthz`."""

    summary = "Whether the process is alive"
    gives: ClassVar = {"get": (200, {JSON: shape(status=words("ok"))}), "head": (200, {})}
    public = True

    async def get(self) -> None:
        """200 as long as the event loop turns."""
        self.send_json({"status": "ok"})

    head = get


class Readyz(Handler):
    """`/readyz`."""

    summary = "Whether a mail would be accepted now"
    gives: ClassVar = {"get": (200, {JSON: shape(status=words("ready"))}), "head": (200, {})}
    fails: ClassVar = {"get": (503,), "head": (503,)}
    public = True

    async def get(self) -> None:
        """200, or 503 with the reason."""
        await self.service.ready()
        self.send_json({"status": "ready"})

    head = get


class Metrics(Handler):
    """`/metrics`."""

    summary = "What this process has done and how everything stands, for Prometheus"
    gives: ClassVar = {"get": (200, {TEXT: {"type": "string"}, OPEN_METRICS: {"type": "string"}})}

    async def get(self) -> None:
        """200 also when the database gives no answer: the rest is known then, and wanted more than ever."""
        self.admit()
        reading, accept = await read(self.service), self.request.headers.get("Accept", "")
        text, content_type = exposition(reading, accept, await figures(self.service))
        self.set_header("Content-Type", content_type)
        self.finish(text)


class Backup(Handler):
    """`/backup`."""

    summary = "A consistent copy of the SQLite database"
    gives: ClassVar = {"get": (200, {SQLITE: {}})}
    fails: ClassVar = {"get": (409,)}
    reads = Scope.ADMIN

    async def get(self) -> None:
        """The file. 409 on PostgreSQL, which has a tool of its own for that."""
        self.admit()
        copy = await self.service.copy()
        with copy, suppress(StreamClosedError):
            self.set_header("Content-Type", SQLITE)
            self.set_header("Content-Disposition", 'attachment; filename="mailsvc.db"')
            self.set_header("Content-Length", str(os.fstat(copy.fileno()).st_size))
            while piece := await asyncio.to_thread(copy.read, PIECE):
                self.write(piece)
                await self.flush()


async def figures(service: Service) -> Mapping[str, Packed] | None:
    """What each process has counted, for any of them may be asked next. Of this one alone without the database."""
    if service.neighbours is None:
        return None
    with suppress(Unavailable):
        await service.neighbours.show()
        return {name: sight["figures"] for name, sight in service.neighbours.all.items()}
    return {service.neighbours.process: packed(service.reading(None))}


async def read(service: Service) -> Reading:
    """Everything that is shown, as it is now."""
    store = None
    with suppress(Unavailable):
        counts, doubts, extent = await service.counts(), await service.doubts(), await service.extent()
        store = Store(counts, doubts, extent, await service.callbacks.backlog())
    return service.reading(store)
