"""A crash test: mails are posted, the process is killed at a chosen moment and started again, over and over; then it is
looked what became of every mail.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .clients import Clients
from .invariants import Evidence, Findings, doubtful, examine
from .process import Process
from .provider import LoopbackProvider
from .storage import scratch
from .trap import MOMENTS, Trap

IN_FLIGHT = 16  # attempts at a time
PATIENCE = 5.0  # seconds to wait for a moment that may not come; then the process is killed where it is
SKIPS = {"request": 8, "commit": 12, "connection": 1, "half": 6, "whole": 6, "answer": 6}  # at most this many pass
REPLAYED = 2  # mails of a cycle that are posted once more
SERVICE = {
    "MAILSVC_FROM": "crashtest@example.com",
    "MAILSVC_LOG": "warning",
    "MAILSVC_TIMEOUT": "5",
    "MAILSVC_UNCERTAIN_AFTER": "0.3",
    "MAILSVC_RETRY": "0.2,0.4,0.8",
    "MAILSVC_CONCURRENCY": str(IN_FLIGHT),
    "MAILSVC_LEASE": "1",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for. `environ` is what a process needs of this machine's environment.

    `forgetful`: the provider forgets its keys, so that promises must be found broken.
    """

    cycles: int
    mails: int
    database: str | None
    seed: int
    environ: Mapping[str, str]
    forgetful: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of mail: with a provider that knows repeated requests, without, and without and `hold`."""

    name: str
    findings: Findings


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. `kills` by moment; `databases` are the words of their checks; `faults` is all that is wrong."""

    parts: tuple[Part, ...]
    kills: Mapping[str, int]
    databases: tuple[str, ...]
    faults: tuple[str, ...]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not self.faults


async def crash(plan: Plan, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Run the whole plan. Raises ConfigError, NotStarted."""
    begun, rng = time.monotonic(), random.Random(plan.seed)  # noqa: S311 - to be repeated by its seed, no secret
    moments = list(islice(cycle(MOMENTS), plan.cycles))
    half = (plan.cycles + 1) // 2
    scenes = [await _scene(plan, rng, moments[:half], progress, dedupes=True)]
    if moments[half:]:
        scenes.append(await _scene(plan, rng, moments[half:], progress, dedupes=False))
    parts = tuple(part for scene in scenes for part in scene.parts())
    faults = [fault for scene in scenes for fault in scene.faults]
    faults += [broken for part in parts for broken in part.findings.broken]
    kills = sum((scene.kills for scene in scenes), Counter[str]())
    databases = tuple(scene.database for scene in scenes)
    return Result(parts, kills, databases, tuple(faults), time.monotonic() - begun)


async def _scene(
    plan: Plan, rng: random.Random, moments: list[str], progress: Callable[[str], None], *, dedupes: bool
) -> Scene:
    """One database and one kind of provider."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="mailsvc-crashtest-")))
        store = await scratch(plan.database, folder)
        stack.push_async_callback(store.remove)
        trap = Trap()
        provider = await stack.enter_async_context(
            LoopbackProvider(rng, trap, dedupes=dedupes, forgetful=plan.forgetful)
        )
        settings = SERVICE | {"DATABASE_URL": store.url} | _providers(provider.url, dedupes=dedupes)
        process = Process({**plan.environ, **settings}, folder)
        stack.push_async_callback(process.end)
        clients = await stack.enter_async_context(Clients(process, trap))
        scene = Scene(process, clients, provider, trap, rng)
        await process.start()
        for number, moment in enumerate(moments, 1):
            progress(f"{scene.name}: kill {number} of {len(moments)}, {MOMENTS[moment]}")
            await scene.cycle(moment, plan.mails)
        progress(f"{scene.name}: what became of {len(clients.posted)} mails")
        await scene.finish()
        scene.in_flight = IN_FLIGHT * (1 if store.locked else len(moments))
        scene.database = await store.check()
        if scene.database != "ok":
            scene.faults.append(f"the database is damaged: {scene.database}")
        return scene


def _providers(url: str, *, dedupes: bool) -> dict[str, str]:
    if dedupes:
        return {"RESEND_API_KEY": "crash-test", "RESEND_URL": url}
    sendgrid = {"SENDGRID_API_KEY": "crash-test", "SENDGRID_URL": url}
    return sendgrid | {"MANDRILL_API_KEY": "crash-test", "MANDRILL_URL": url}


class Scene:
    """A process, its clients and its provider, through all kills."""

    def __init__(
        self, process: Process, clients: Clients, provider: LoopbackProvider, trap: Trap, rng: random.Random
    ) -> None:
        self._process, self._clients, self._provider, self._trap, self._rng = process, clients, provider, trap, rng
        self.name = "with keys" if provider.dedupes else "without keys"
        self.kills: Counter[str] = Counter()
        self.faults: list[str] = []
        self.database, self.in_flight = "", IN_FLIGHT
        self._mails: Mapping[str, Mapping[str, Any] | None] = {}
        self._number = 0

    async def cycle(self, moment: str, mails: int) -> None:
        """Post, kill, start again; every mail is accepted at the end."""
        killed, rng = asyncio.Event(), self._rng

        def spring() -> bool:
            self._process.kill()
            killed.set()
            return rng.random() < 0.5

        if moment == "connection":
            self._provider.close_idle()
        timer = None
        if moment in SKIPS:
            self._trap.set(moment, rng.randrange(SKIPS[moment]), spring)
        else:
            timer = asyncio.get_running_loop().call_later(rng.uniform(0, 0.2), spring)
        posts = [asyncio.create_task(self._post(rng.random() < 0.5)) for _ in range(mails)]
        try:
            await asyncio.wait_for(killed.wait(), PATIENCE)
        except TimeoutError:
            self._trap.clear()
            spring()
            moment = "random"
        if timer is not None:
            timer.cancel()
        await self._process.ended()
        self.kills[moment] += 1
        if moment == "start":
            await self._kill_while_it_starts()
        await self._process.start()
        await asyncio.gather(*posts)
        again = rng.sample(self._clients.posted[-mails:], min(REPLAYED, mails))
        await asyncio.gather(*(self._clients.post(mail.key, hold=mail.hold) for mail in again))

    async def _post(self, hold: bool) -> None:
        self._number += 1
        await self._clients.post(f"crash test {self._number}", hold=hold)

    async def _kill_while_it_starts(self) -> None:
        await self._process.begin()
        await asyncio.sleep(self._rng.uniform(0, self._process.took))
        self._process.kill()
        await self._process.ended()

    async def finish(self) -> None:
        """No more kills: wait until nothing moves, keep what is known of each mail, end the process in peace."""
        self._mails = await self._clients.mails()
        counted, shown = await self._clients.doubts(), sum(map(doubtful, self._mails.values()))
        if counted != shown:
            self.faults.append(f"G3: /metrics counts {counted} attempts in doubt, the mails show {shown}")
        code = await self._process.stop()
        if code != 0:
            self.faults.append(f"SIGTERM ended the process with exit code {code}")

    def parts(self) -> list[Part]:
        """What was found, for each kind of mail."""
        dedupes = self._provider.dedupes
        evidence = Evidence(self._clients.posted, self._mails, self._provider.ledger, dedupes, self.in_flight)
        if dedupes:
            return [Part("the provider knows repeated requests", examine(evidence))]
        return [
            Part("it does not, and mails say resend", examine(_only(evidence, hold=False))),
            Part("it does not, and mails say hold", examine(_only(evidence, hold=True))),
        ]


def _only(evidence: Evidence, *, hold: bool) -> Evidence:
    """What concerns the mails of one policy."""
    posted = [mail for mail in evidence.posted if mail.hold is hold]
    ids = {mail.id for mail in posted}
    others = {mail.id for mail in evidence.posted if mail.hold is not hold}
    return replace(
        evidence,
        posted=posted,
        mails={mail_id: evidence.mails[mail_id] for mail_id in ids},
        ledger=[request for request in evidence.ledger if request.mail_id not in others],
    )
