"""How many mails of each hour are in each status: kept while mails move, and always what counting would give."""

import random
from collections import Counter

from mailsvc.address import Mailbox
from mailsvc.hours import HOUR, Hour
from mailsvc.listing import Page
from mailsvc.model import Outcome, Status
from mailsvc.outbox.base import Outbox
from mailsvc.suppression import Reason, Suppression
from tests.contract.samples import NOW, OpenStore, addition, beginning, failure, settlement, start, store

ALWAYS = (NOW - 1e6, NOW + 1e6)


async def counted(outbox: Outbox) -> dict[float, dict[Status, int]]:
    """What is there, by the hour in which it was accepted."""
    found: dict[float, Counter[Status]] = {}
    for record in (await outbox.list(Page(limit=1000))).records:
        found.setdefault(record.created_at // HOUR * HOUR, Counter())[record.status] += 1
    return {at: dict(counts) for at, counts in sorted(found.items())}


async def kept(outbox: Outbox) -> dict[float, dict[Status, int]]:
    return {hour.at: hour.counts for hour in await outbox.hours(*ALWAYS)}


async def test_each_hour_has_the_mails_that_were_accepted_in_it(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        times = [NOW - 2 * HOUR, NOW - HOUR - 1, NOW - HOUR, NOW - HOUR + 1, NOW]
        await store(outbox, *(addition(at, created_at=at) for at in times))
        some = await outbox.hours(NOW - HOUR, NOW - 1)
        one = await outbox.hours(NOW, NOW + HOUR)
        none = await outbox.hours(NOW + HOUR, NOW + 9 * HOUR)

    first = NOW // HOUR * HOUR
    assert first == NOW
    assert list(some) == [Hour(first - HOUR, {Status.QUEUED: 2})]
    assert list(one) == [Hour(first, {Status.QUEUED: 1})]
    assert list(none) == []


async def test_hours_follow_every_change_and_survive_a_restart(open_store: OpenStore) -> None:
    rng = random.Random(8)
    ann = (Mailbox("ann@example.com"),)
    async with open_store() as outbox:
        await outbox.suppressions.put([Suppression("ann@example.com", Reason.MANUAL, "api", NOW, None, None)])
        for turn in range(12):
            now = NOW + 900.0 * turn
            times = [now - rng.random() * 2 * HOUR for _ in range(8)]
            rows = [addition(rng.choice([now, now + 700]), created_at=at, expires_at=now + 800) for at in times]
            await store(outbox, *rows, addition(now, created_at=now, to=ann))
            ids = [mail.id for mail in await outbox.claim(6, now, 60)]
            begun = await outbox.begin([beginning(mail_id, at=now) for mail_id in ids])
            going = [mail_id for mail_id, refusal in zip(ids, begun, strict=True) if refusal is None]
            ends = [{"status": Status.UNCERTAIN, "outcome": Outcome.UNANSWERED}, {"status": Status.FAILED}, {}]
            await outbox.settle([settlement(mail_id, ended_at=now, **rng.choice(ends)) for mail_id in going[:4]])
            await outbox.settle([failure(mail_id, ended_at=now) for mail_id in going[4:5]])
            await outbox.expire(now)
            await outbox.retry(going[:2], now)
            await outbox.recover(now, 60)
            await outbox.tidy(now)
            assert await kept(outbox) == await counted(outbox)
        before = await kept(outbox)
        assert sum(len(counts) for counts in before.values()) > 10
    async with open_store() as outbox:
        assert await kept(outbox) == before
        total: Counter[Status] = Counter()
        for counts in before.values():
            total.update(counts)
        assert {status: number for status, number in (await outbox.counts()).items() if number} == total


async def test_mails_that_are_deleted_leave_nothing_in_their_hours(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        ids = await start(outbox, *(addition(created_at=NOW - 9 * HOUR) for _ in range(3)))
        await outbox.settle([settlement(mail_id) for mail_id in ids[:2]])
        later = NOW + 5000
        while await outbox.forget(later, later, later):
            pass
        await outbox.forget(later, later, later)
        await outbox.tidy(later)
        left, truth = await kept(outbox), await counted(outbox)

    assert left == truth == {NOW - 9 * HOUR: {Status.SENDING: 1}}
