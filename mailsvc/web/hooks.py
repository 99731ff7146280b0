"""`/hooks/<provider>`: where providers tell what became of mails. Each proves in its own way that it is the one."""

from __future__ import annotations

import time
from typing import ClassVar

import structlog

from ..errors import HookRefused, ShuttingDown
from .base import Handler
from .door import household
from .problem import Problem, too_often
from .shapes import COUNT, JSON, shape

MOST = 1 << 20  # bytes of a request
REFUSED = 600  # requests that are not genuine a client may make in a minute; the genuine ones are let in all the same

log = structlog.get_logger("mailsvc.web")


class Hooks(Handler):
    """`/hooks/<provider>`."""

    summary = "Reports of a provider, signed as the provider does it"
    takes_also = ("*/*",)
    gives: ClassVar = {"head": (200, {}), "post": (200, {JSON: shape(new=COUNT)})}
    fails: ClassVar = {"post": (401, 503)}
    public = True
    most = MOST

    async def head(self, name: str) -> None:
        """200 where reports of this provider would be taken: some look before they send any."""
        self.service.reports.provider(name)
        self.finish()

    async def post(self, name: str) -> None:
        """200 as soon as the reports are stored; what they mean for the mails is worked out afterwards.

        401 if the signature or secret is wrong or too old, 404 if no such provider is configured with its webhook key.
        """
        if self.service.stopping.is_set():
            raise ShuttingDown("this process is about to end; the next one will take the reports", retry_after=5)
        headers = {header.lower(): value for header, value in self.request.headers.items()}
        try:
            new = await self.service.reports.take(name, headers, self.body)
        except HookRefused as error:
            log.warning("hook_refused", provider=name, why=str(error))
            raise self._refusal(error) from error
        self.send_json({"new": new})

    def _refusal(self, error: HookRefused) -> Problem:
        """401, whatever is wrong: a 403 would make some providers stop for good."""
        wait = self.service.limits.take(f"hook {household(self.client)}", REFUSED, time.monotonic())
        if wait:
            return too_often("There were too many reports from your address that were not genuine.", wait)
        words = f"This report was refused: {error}."
        return Problem(401, "unauthorized", words, headers={"WWW-Authenticate": 'Basic realm="mailsvc hooks"'})
