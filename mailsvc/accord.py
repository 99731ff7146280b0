"""How this process agrees with others about providers: a pause, a closing, a bench, and who tries one on the bench.

A score is each process's own. What is agreed is one row for each provider in the shared store; who has news merges it
there and follows what comes of it, and the others hear that there is news.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import structlog

from .council import Agreement, Council, Proposal
from .errors import StorageUnavailable
from .selector import Selector
from .standing import Standing

SLACK = 0.5  # seconds by which two processes may differ about the same moment
AGAIN = 1.0  # seconds until another process may have a probe to spare

log = structlog.get_logger("mailsvc.accord")


class Accord:
    """Keeps the selector and the council of one another's mind. `process` is a name that no other process has.

    `probing` is how many seconds a probe may take; `followed` is called when others may have changed something.
    """

    def __init__(
        self,
        council: Council,
        selector: Selector,
        process: str,
        probing: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.followed: Callable[[], None] = lambda: None
        self._council, self._selector, self._process = council, selector, process
        self._probing, self._monotonic = probing, monotonic
        self._rows: dict[str, Agreement] = {}
        self._words = {name: standing.word() for name, standing in selector.standings.items()}
        self._resumed: set[str] = set()
        self._claimed: set[str] = set()
        self._news, self._turn = asyncio.Event(), asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Follow what holds already, whatever this process remembers, and be there for news. Raises Unavailable."""
        await self._council.found([*self._selector.standings])
        self._words = {name: standing.word() for name, standing in self._selector.standings.items()}
        await self.agree()
        self._task = asyncio.create_task(self._run(), name="accord")

    async def stop(self) -> None:
        """Agree on nothing more."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    def heed(self) -> None:
        """Others have news."""
        self._news.set()

    def notice(self) -> None:
        """Something has happened here; if others have to know of it, they will."""
        if self._over() or any(s.word() != self._words[name] for name, s in self._selector.standings.items()):
            self._news.set()

    async def resume(self, name: str) -> None:
        """A person wants it asked again, by all. Raises Unavailable; then it is said later."""
        self._resumed.add(name)
        await self.agree()

    async def claim_probe(self, name: str) -> float:
        """0 if this process may try the provider now; else seconds until it may ask again. Raises Unavailable."""
        known = self._rows.get(name)
        if known and await self._council.claim_probe(self._process, name, known.version, self._probing):
            self._claimed.add(name)
            return 0.0
        await self.agree()
        return self._rows[name].probed_for or AGAIN

    async def agree(self) -> None:
        """Say what there is to say, and follow what holds. Raises Unavailable."""
        async with self._turn:
            while not await self._round():
                pass

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self.agree()
                self.followed()
            except StorageUnavailable as error:
                log.debug("accord_waits", error=str(error))
                self._news.set()
                await asyncio.sleep(AGAIN)
            except Exception:  # whatever it was, the loop goes on: it would never be begun again
                log.exception("accord_failed")
                await asyncio.sleep(AGAIN)

    async def _round(self) -> bool:
        """One exchange with the others. False if meanwhile more has happened here."""
        said = {name: standing.word() for name, standing in self._selector.standings.items()}
        resumed, over = set(self._resumed), self._over()
        found = [self._proposal(name, word, name in resumed, name in over) for name, word in said.items()]
        proposals = [proposal for proposal in found if proposal != Proposal(proposal.name)]
        benching = {proposal.name for proposal in proposals if proposal.benched is not None}
        rows = await self._council.agree(self._process, proposals)
        self._resumed -= resumed
        self._claimed -= over
        settled = True
        for row in rows:
            standing = self._selector.standings.get(row.name)
            if standing is None:
                continue
            if standing.word() == said[row.name]:
                self._follow(standing, row, outvoted=row.name in benching and row.bench_by != self._process)
            else:
                self._words[row.name] = said[row.name]
                settled = False
        return settled

    def _proposal(self, name: str, word: tuple[bool, bool, float, int, float], resumed: bool, over: bool) -> Proposal:
        """What the others do not know yet."""
        now, standing = self._monotonic(), self._selector.standings[name]
        (paused, *bench, closed_until), (was_paused, *was, was_closed) = word, self._words[name]
        news = bench != was and not resumed and (over or standing.benched)
        return Proposal(
            name,
            paused=paused if paused != was_paused else None,
            resumed=resumed,
            closed_for=closed_until - now if closed_until > max(was_closed, now) else None,
            benched=standing.benched if news else None,
            bench_for=max(0.0, standing.bench_until - now) if news else 0.0,
            memory=standing.bench_memory() if news else {},
            probed=over,
        )

    def _follow(self, standing: Standing, row: Agreement, *, outvoted: bool) -> None:
        """Think as all do, where this process has nothing newer to say."""
        now, known = self._monotonic(), self._rows.get(row.name)
        standing.elsewhere_until = now + row.probed_for if row.probed_for else -math.inf
        standing.paused = row.paused
        if row.closed_for > 0 and now + row.closed_for > standing.closed_until + SLACK:
            standing.follow_closing(now, now + row.closed_for)
        theirs = row.bench_by != self._process and (known is None or row.bench_number != known.bench_number)
        if (theirs or outvoted) and row.benched:
            standing.follow_bench(now, now + row.bench_for, row.memory)
        elif theirs or outvoted:
            standing.follow_end(now, row.memory)
        if known and row.resumes != known.resumes:
            self._selector.resume(row.name)
        self._rows[row.name], self._words[row.name] = row, standing.word()

    def _over(self) -> set[str]:
        """The probes that this process has claimed and that are done."""
        return {name for name in self._claimed if self._selector.standings[name].probe is None}
