"""What operators and platforms ask: is it alive, does it take mail, what can it do."""

from __future__ import annotations

from .base import Handler


class Healthz(Handler):
    """`/healthz`."""

    summary = "Whether the process is alive"
    public = True

    async def get(self) -> None:
        """200 as long as the event loop turns."""
        self.send_json({"status": "ok"})


class Readyz(Handler):
    """`/readyz`."""

    summary = "Whether a mail would be accepted now"
    public = True

    async def get(self) -> None:
        """200, or 503 with the reason."""
        await self.service.ready()
        self.send_json({"status": "ready"})
