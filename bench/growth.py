"""Within one process: claims and accepts as the outbox grows, and the time of one pick."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from mailsvc.address import Mailbox
from mailsvc.model import Mail, OnUncertain, Status, new_id
from mailsvc.outbox import open_outbox
from mailsvc.outbox.base import Addition, Outbox, Page
from mailsvc.selector import Selector, Verdict

SENDER, TO = Mailbox("shop@example.com"), (Mailbox("ann@example.com", "Ann"),)
BATCH, CLAIM, TURNS = 1000, 64, 50


def addition(now: float) -> Addition:
    """A small mail."""
    mail = Mail(new_id(now), now, SENDER, TO, "Your order", OnUncertain.RESEND, content="It has left our house.")
    return Addition(mail, now)


async def grow(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Milliseconds of a claim of 64, of an accept of 32 and of lists of 20, with so many mails waiting."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="mailsvc-bench-") as folder:
        outbox, rows = await open_outbox(f"sqlite:///{folder}/mail.db"), 0
        for size in sizes:
            while rows < size:
                await outbox.add([addition(time.time()) for _ in range(BATCH)])
                rows += BATCH
            claim, lists, accept = await _claim(outbox), await _lists(outbox), await _accept(outbox)
            rows += TURNS * 32
            times = {"claim_ms": claim, "accept_ms": accept, "list_ms": max(lists.values())}
            found.append({"rows": size, **times, "lists": lists})
        await outbox.close()
    return found


async def _claim(outbox: Outbox) -> float:
    took = []
    for _ in range(TURNS):
        start = time.perf_counter()
        mails = await outbox.claim(CLAIM, time.time(), 60.0)
        took.append(time.perf_counter() - start)
        await outbox.release([mail.id for mail in mails], mails[0].created_at)
    return statistics.median(took) * 1000


async def _lists(outbox: Outbox) -> dict[str, float]:
    """What `GET /email` asks, with filters that all mails pass and with filters that none does."""
    middle = (await outbox.list(Page(status=Status.QUEUED, limit=100)))[-1].id
    pages = {
        "newest": Page(),
        "later page": Page(after=middle),
        "status of all": Page(status=Status.QUEUED),
        "status of none": Page(status=Status.FAILED),
        "recipient of all": Page(to=TO[0].address),
        "recipient of none": Page(to="nobody@example.com"),
        "provider of none": Page(provider="sendgrid"),
        "owner of all, recipient of all": Page(owner="", to=TO[0].address),
        "status and recipient of all": Page(status=Status.QUEUED, to=TO[0].address),
        "status of none, recipient of all": Page(status=Status.FAILED, to=TO[0].address),
    }
    return {what: await _list(outbox, page) for what, page in pages.items()}


async def _list(outbox: Outbox, page: Page) -> float:
    took = []
    for _ in range(5):
        start = time.perf_counter()
        await outbox.list(page)
        took.append(time.perf_counter() - start)
    return statistics.median(took) * 1000


async def _accept(outbox: Outbox) -> float:
    took = []
    for _ in range(TURNS):
        batch = [addition(time.time()) for _ in range(32)]
        start = time.perf_counter()
        await outbox.add(batch)
        took.append(time.perf_counter() - start)
    return statistics.median(took) * 1000


def pick_microseconds(providers: int = 5, turns: int = 20_000) -> float:
    """One pick, with mails in flight and one provider benched."""
    selector = Selector({f"p{n}": 50.0 - 10 * n for n in range(providers)}, rng=random.Random(1))
    for second in range(20):
        selector.finish(selector.start("p0", float(second)), Verdict.SERVER_ERROR, float(second))
        selector.start("p1", float(second))
    start = time.perf_counter()
    for _ in range(turns):
        selector.pick(30.0)
    return (time.perf_counter() - start) / turns * 1e6


def measured(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """`grow`, run to its end."""
    return asyncio.run(grow(sizes))
