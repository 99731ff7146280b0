"""Several processes on one PostgreSQL: whose mail it is, for how long, and what becomes of a late word."""

import asyncio
import time
from dataclasses import replace

from mailsvc.address import Mailbox
from mailsvc.errors import Conflict
from mailsvc.model import Event, OnUncertain, Outcome, Status
from tests.contract.samples import NOW, addition, beginning, failure, settlement, shown, start, status, store
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import opened

LEASE = 60.0


async def test_two_processes_claim_each_mail_once(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as one, opened(url) as other:
        await store(one, *(addition() for _ in range(200)))
        claims = await asyncio.gather(*(outbox.claim(9, NOW, LEASE) for _ in range(15) for outbox in (one, other)))
        ids = [mail.id for claimed in claims for mail in claimed]

    assert len(ids) == len(set(ids)) == 200


async def test_of_two_processes_only_one_begins(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as one, opened(url) as other:
        ids = await store(one, *(addition() for _ in range(50)))
        rows = [beginning(mail_id) for mail_id in ids]
        results = await asyncio.gather(one.begin(rows), other.begin(rows[::-1]))

    assert {type(result) for result in results[0] + results[1]} == {type(None), Conflict}
    assert sum(result is None for result in results[0] + results[1]) == 50


async def test_an_attempt_is_taken_over_only_once_its_lease_is_over(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url, lease=LEASE) as one, opened(url, lease=LEASE) as other:
        (mail_id,) = await start(one)
        early = await other.recover(NOW + LEASE - 0.1, 60)
        running = await status(other, mail_id)
        late = await other.recover(NOW + LEASE, 60)

        assert (early, running) == ([], Status.SENDING)
        assert (late, await status(one, mail_id)) == ([mail_id], Status.UNCERTAIN)


async def test_a_lease_that_is_renewed_goes_on(postgres: PostgresServer) -> None:
    async with opened(postgres.create(), lease=LEASE) as outbox:
        running, between, held = await store(outbox, addition(), addition(), addition())
        await outbox.claim(3, NOW, LEASE)
        await outbox.begin([beginning(running), beginning(between)])
        await outbox.settle([failure(between)])
        await outbox.renew([running, between, held], NOW + 50)
        before = (await outbox.recover(NOW + 50 + LEASE - 1, 60), await outbox.claim(9, NOW + 50 + LEASE - 1, LEASE))
        after = await outbox.recover(NOW + 50 + LEASE, 60), await outbox.claim(9, NOW + 50 + LEASE, LEASE)

    assert before == ([], [])
    assert after[0] == [running]
    assert {mail.id for mail in after[1]} == {between, held}


async def test_a_renewal_changes_nothing_about_what_was_lost_settled_or_is_not_due(postgres: PostgresServer) -> None:
    async with opened(postgres.create(), lease=LEASE) as outbox:
        lost, sent = await start(outbox, addition(), addition())
        later, queued = await store(outbox, addition(due_at=NOW + 500), addition())
        await outbox.settle([settlement(sent)])
        await outbox.recover(NOW + LEASE, 5)
        ids = [lost, sent, later, queued]
        before = [await outbox.get(mail_id) for mail_id in ids]
        await outbox.renew([*ids, "unknown"], NOW + LEASE)
        due = await outbox.claim(9, NOW + LEASE + 5, LEASE)

        assert [await outbox.get(mail_id) for mail_id in (sent, later)] == before[1:3]
        assert {mail.id for mail in due} == {lost, queued}


async def test_a_process_that_was_frozen_beyond_its_lease_changes_nothing_and_is_heard(
    postgres: PostgresServer,
) -> None:
    url = postgres.create()
    told = {"provider": "alpha", "provider_message_id": "m-1", "http_status": 202, "ended_at": NOW + 100}
    async with opened(url, lease=LEASE) as frozen, opened(url, lease=LEASE) as other:
        (mail_id,) = await start(frozen, addition(to=(Mailbox("ann@example.com"),)))
        await other.recover(NOW + LEASE, 5)
        await other.claim(1, NOW + LEASE + 5, LEASE)
        await other.begin([beginning(mail_id, 2, "beta", NOW + LEASE + 5)])
        await other.settle([settlement(mail_id, 2, provider="beta", provider_message_id="b-1")])
        before = await shown(other, mail_id)
        late = settlement(
            mail_id, 1, events=(Event("stuck", NOW),), recipients={"ann@example.com": Status.REJECTED}, **told
        )
        results = [await frozen.settle([late]), await frozen.settle([late])]
        after = await shown(other, mail_id)

    assert results == [[False], [False]]
    assert replace(after, events=()) == replace(before, events=())
    assert before.attempts[0].outcome is Outcome.INTERRUPTED
    assert after.events == (*before.events, Event("late", NOW + 100, "alpha", None, "attempt 1: accepted 202 m-1"))


async def test_a_frozen_process_does_not_end_a_round_of_another_one(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url, lease=LEASE) as frozen, opened(url, lease=LEASE) as other:
        (mail_id,) = await start(frozen)
        await frozen.settle([failure(mail_id)])
        await other.recover(NOW + LEASE + 1, 60)
        (claimed,) = await other.claim(1, NOW + LEASE + 1, LEASE)
        await other.begin([beginning(mail_id, claimed.attempts + 1)])
        results = await frozen.settle([settlement(mail_id, 0, status=Status.FAILED)])

        assert results == [False]
        assert await status(other, mail_id) is Status.SENDING


async def test_an_interrupted_attempt_that_its_own_process_gave_up_is_no_news(postgres: PostgresServer) -> None:
    async with opened(postgres.create(), lease=LEASE) as outbox:
        (mail_id,) = await start(outbox)
        await outbox.recover(NOW + LEASE, 60)
        before = await outbox.get(mail_id)
        unclear = {"outcome": Outcome.INTERRUPTED, "status": Status.UNCERTAIN}

        assert await outbox.settle([settlement(mail_id, **unclear)]) == [False]
        assert await outbox.get(mail_id) == before


async def test_all_that_a_dead_process_had_is_taken_over_in_steps(postgres: PostgresServer) -> None:
    async with opened(postgres.create(), lease=LEASE) as outbox:
        ids = await start(outbox, *(addition(on_uncertain=OnUncertain.HOLD) for _ in range(600)), now=NOW)
        await outbox.begin([beginning(mail_id) for mail_id in ids])
        doubtful = await outbox.recover(NOW + LEASE, 60)
        counts = await outbox.counts()

    assert sorted(doubtful) == sorted(ids)
    assert (counts[Status.UNCERTAIN], counts[Status.SENDING]) == (600, 0)


async def test_many_who_take_over_at_the_same_time_take_each_attempt_once(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url, lease=LEASE) as one, opened(url, lease=LEASE) as other:
        ids = await start(one, *(addition() for _ in range(100)))
        found = await asyncio.gather(*(outbox.recover(NOW + LEASE, 60) for _ in range(5) for outbox in (one, other)))
        records = [await shown(one, mail_id) for mail_id in ids]

    assert sorted(mail_id for each in found for mail_id in each) == sorted(ids)
    assert [[event.type for event in record.events] for record in records] == [["uncertain"]] * 100


async def test_a_process_whose_clock_is_wrong_steals_nothing_and_is_not_stolen_from(postgres: PostgresServer) -> None:
    url = postgres.create()
    slow = {"clock": lambda: time.time() - 3600, "lease": LEASE}
    fast = {"clock": lambda: time.time() + 3600, "lease": LEASE}
    async with opened(url, lease=LEASE) as right, opened(url, **slow) as behind, opened(url, **fast) as ahead:
        (mine,) = await start(right)
        stolen = [await behind.recover(NOW - 3600, 60), await ahead.recover(NOW + 3600, 60)]
        (theirs,) = await start(behind, addition(created_at=NOW - 3600, due_at=NOW - 3600), now=NOW - 3600)
        early = [await right.recover(NOW + LEASE - 1, 60), await ahead.recover(NOW + 3600 + LEASE - 1, 60)]
        over = await ahead.recover(NOW + 3600 + LEASE, 60)

    assert stolen == early == [[], []]
    assert sorted(over) == sorted([mine, theirs])


async def test_a_claim_of_a_process_whose_clock_is_wrong_lasts_as_long_as_others(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as right, opened(url, clock=lambda: time.time() - 3600) as behind:
        (mail_id,) = await store(right)
        (claimed,) = await behind.claim(1, NOW - 3600, LEASE)
        early, late = await right.claim(1, NOW + LEASE - 1, LEASE), await right.claim(1, NOW + LEASE, LEASE)

    assert (claimed.id, early, [mail.id for mail in late]) == (mail_id, [], [mail_id])


async def test_a_mail_is_due_at_the_same_time_for_all_whatever_their_clocks_say(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as right, opened(url, clock=lambda: time.time() + 3600) as ahead:
        now, later = await store(ahead, addition(created_at=NOW + 3600, due_at=NOW + 3600), addition(due_at=NOW + 3700))
        first = await right.claim(9, NOW, LEASE)
        second = await right.claim(9, NOW + 99, LEASE), await right.claim(9, NOW + 100, LEASE)

    assert [mail.id for mail in first] == [now]
    assert [[mail.id for mail in claimed] for claimed in second] == [[now], [later]]
