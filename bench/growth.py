"""Within one process: claims and accepts as the outbox grows, and the time of one pick."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from mailsvc.addition import Addition
from mailsvc.address import Mailbox
from mailsvc.attempt import Beginning, Settlement
from mailsvc.listing import Page
from mailsvc.model import Mail, OnUncertain, Outcome, Status, new_id
from mailsvc.outbox import open_outbox
from mailsvc.outbox.base import Outbox
from mailsvc.selector import Selector, Verdict

SENDER, TO = Mailbox("shop@example.com"), (Mailbox("ann@example.com", "Ann"),)
BATCH, CLAIM, TURNS = 1000, 64, 50
SENT = 5000  # mails that are sent; all others wait


def addition(now: float, **labels: Any) -> Addition:
    """A small mail."""
    mail = Mail(
        new_id(now), now, SENDER, TO, "Your order", OnUncertain.RESEND, content="It has left our house.", **labels
    )
    return Addition(mail, now)


def labeled(number: int) -> Addition:
    """Half of the mails have a tag, the others a piece of metadata: no list has more to look for in vain."""
    return addition(time.time(), **({"tags": ("welcome",)} if number % 2 else {"metadata": {"order": "1"}}))


async def grow(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Milliseconds of a claim of 64, of an accept of 32 and of lists of 20, with so many mails waiting."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="mailsvc-bench-") as folder:
        outbox, rows = await open_outbox(f"sqlite:///{folder}/mail.db"), 0
        for size in sizes:
            while rows < size:
                await outbox.add([labeled(number) for number in range(BATCH)])
                rows += BATCH
                if rows <= SENT:
                    await _send(outbox)
            claim, lists, accept = await _claim(outbox), await _lists(outbox), await _accept(outbox)
            rows += TURNS * 32
            times = {"claim_ms": claim, "accept_ms": accept, "list_ms": max(lists.values())}
            found.append({"rows": size, **times, "lists": lists})
        await outbox.close()
    return found


async def _send(outbox: Outbox) -> None:
    """All that wait."""
    mails = await outbox.claim(BATCH, time.time(), 60.0)
    now = time.time()
    await outbox.begin([Beginning(mail.id, 1, "sendgrid", 50.0, [], now) for mail in mails])
    ends = [(mail.id, 1, Outcome.ACCEPTED, Status.SENT, None, 0, now, "sendgrid") for mail in mails]
    await outbox.settle([Settlement(*end) for end in ends])


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
    middle = (await outbox.list(Page(status=Status.QUEUED, limit=100))).records[-1].id
    all_of_them: dict[str, Any] = {"status": Status.QUEUED, "to": TO[0].address, "owner": ""}
    pages = {
        "newest": Page(),
        "later page": Page(after=middle),
        "status of all": Page(status=Status.QUEUED),
        "status of none": Page(status=Status.FAILED),
        "recipient of all": Page(to=TO[0].address),
        "recipient of none": Page(to="nobody@example.com"),
        "provider of few": Page(provider="sendgrid"),
        "tag of half": Page(tag="welcome"),
        "tag of none": Page(tag="farewell"),
        "metadata of half": Page(metadata=("order", "1")),
        "metadata of none": Page(metadata=("order", "2")),
        "time of all": Page(since=time.time() - 86_400, until=time.time()),
        "owner of all, recipient of all": Page(owner="", to=TO[0].address),
        "status and recipient of all": Page(status=Status.QUEUED, to=TO[0].address),
        "status of none, recipient of all": Page(status=Status.FAILED, to=TO[0].address),
        "status of few, recipient of all": Page(status=Status.SENT, to=TO[0].address),
        "status of all, provider of few: none": Page(status=Status.QUEUED, provider="sendgrid"),
        "tag of half, metadata of the other: none": Page(tag="welcome", metadata=("order", "1")),
        "tag of half, status of few": Page(tag="welcome", status=Status.SENT),
        "recipient of all, provider of few": Page(to=TO[0].address, provider="sendgrid"),
        "everything, metadata of the other half: none": Page(tag="welcome", metadata=("order", "1"), **all_of_them),
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
