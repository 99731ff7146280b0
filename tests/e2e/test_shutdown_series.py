"""Stops by SIGTERM while mails come in, one after the other: none is lost, none goes out twice, each ends in peace."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import aiohttp

from tests.e2e.process import FORM, Mailsvc
from tests.e2e.test_main_path import live
from tests.e2e.truth import judged
from tests.fakes import FakeProvider

STOPS = 50 if os.environ.get("FAULTS") == "all" else 6  # a series of 50 with `make faulttest`
CLIENTS, MAILS_A_STOP = 8, 20
LONGEST = 25.0  # seconds that a stop may take


class Posting:
    """Clients that post until told to stop, and post again with the same key what got no answer."""

    def __init__(self, service: Mailsvc) -> None:
        self.service, self.accepted, self.stopped = service, list[str](), False
        self.refusals: set[tuple[int, str]] = set()
        self._number = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))

    async def until(self, accepted: int) -> None:
        while len(self.accepted) < accepted:
            await asyncio.sleep(0.01)

    async def _client(self) -> None:
        while not self.stopped:
            self._number += 1
            await self._post(self._number)

    async def _post(self, number: int) -> None:
        mail, key = FORM | {"to": f"user{number}@example.com"}, {"Idempotency-Key": f"mail-{number}"}
        for _ in range(3000):
            try:
                status, _, body = await self.service.call("POST", "/email", json=mail, headers=key)
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.01)  # nobody listens between two processes
                continue
            if status == 202:
                self.accepted.append(body["id"])
                return
            self.refusals.add((status, body["code"]))
            await asyncio.sleep(0.01)
        raise AssertionError(f"mail {number} was never accepted")


async def test_a_series_of_stops_under_load_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        sendgrid.fault("delay", seconds=0.05)
        async with Mailsvc(tmp_path, **live(sendgrid, MAILSVC_CONCURRENCY="16")) as service:
            posting = Posting(service)
            clients = asyncio.create_task(posting.run())
            codes, longest = [], 0.0
            for stop in range(1, STOPS + 1):
                await posting.until(stop * MAILS_A_STOP)
                begun = time.monotonic()
                service.terminate()
                codes.append(await service.ended())
                longest = max(longest, time.monotonic() - begun)
                await service.start()
            posting.stopped = True
            await clients
            for mail_id in posting.accepted:
                await service.until(mail_id, "sent")
            findings = await judged(service, posting.accepted, sendgrid)

    assert codes == [0] * STOPS
    assert longest < LONGEST
    assert posting.refusals <= {(503, "shutting_down")}
    assert findings.broken == ()
    assert (findings.lost, findings.doubled, findings.in_doubt) == (0, 0, 0)
    assert findings.accepted == len(set(posting.accepted)) == len(sendgrid.ledger) >= STOPS * MAILS_A_STOP
