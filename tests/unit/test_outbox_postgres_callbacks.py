"""Callbacks on PostgreSQL: clocks that are wrong, and connections that are cut when something was just stored."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from mailsvc.callback import Callback, Off, Secret, State
from mailsvc.errors import Conflict
from mailsvc.outbox.postgres import PostgresOutbox
from tests.contract.samples import addition, beginning, settlement, store
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import Wire, opened, session

HERE = Callback("cb_1", "https://a.example/x", ("*",), "words", (Secret("whsec_QUJD"), Secret("whsec_a", 1.5)), 1.0)


async def sent(outbox: PostgresOutbox, now: float) -> None:
    """A mail is sent."""
    (mail_id,) = await store(outbox, addition(now, created_at=now))
    await outbox.claim(1, now, 60)
    await outbox.begin([beginning(mail_id, at=now)])
    await outbox.settle([settlement(mail_id, ended_at=now)])


@pytest.mark.parametrize("wrong", [-3600.0, -4.0, 0.0, 4.0, 3600.0])
async def test_a_notice_is_due_at_once_whatever_the_clock_of_the_process_says(
    postgres: PostgresServer, wrong: float
) -> None:
    def clock() -> float:
        return time.time() + wrong

    url = postgres.create()
    async with opened(url, clock=clock) as outbox, opened(url) as other:
        await outbox.callbacks.add(HERE)
        await sent(outbox, clock())
        if wrong >= 0:  # whoever's clock is right, or ahead
            mine = await outbox.callbacks.claim({"cb_1": 9}, clock(), 60.0)
        else:
            mine = await other.callbacks.claim({"cb_1": 9}, time.time(), 60.0)
        again = await other.callbacks.claim({"cb_1": 9}, time.time() + 10, 60.0)

    assert len(mine) == 1
    assert again == []


async def test_what_was_stored_when_the_connection_was_cut_counts_as_stored_once(postgres: PostgresServer) -> None:
    """Each of them once before: the first time, the answer that is cut is that a statement was understood."""
    url = postgres.create()
    changed = replace(HERE, url="https://b.example/", events=("mail.*", "mail.sent"), description="Ünïque")
    async with Wire(postgres) as wire, opened(wire.url(url)) as outbox:
        store = outbox.callbacks
        await store.add(replace(HERE, id="cb_0"))
        wire.cut_answers = 1
        await store.add(HERE)
        with pytest.raises(Conflict):
            await store.add(replace(HERE, secrets=(Secret("whsec_b"),)))
        await store.change(replace(changed, id="cb_0"))
        wire.cut_answers = 1
        done = [await store.change(changed)]
        await store.switch("cb_0", 5.0)
        wire.cut_answers = 1
        done.append(await store.switch("cb_1", 5.0))
        found = list(await store.all())
        await store.tell("cb_0", "callback.test", 9.0)
        wire.cut_answers = 1
        notice_id = await store.tell("cb_1", "callback.test", 9.0)
        log = await store.log("cb_1", 9)
        await store.remove("cb_0", 7.0)
        wire.cut_answers = 1
        done.append(await store.remove("cb_1", 7.0))
        left = list(await store.all())

    assert done == [True, True, True]
    assert found[1] == replace(changed, version=2, disabled_at=5.0, disabled_why=Off.HAND)
    assert [(told.notice.id, told.notice.state) for told in log] == [(notice_id, State.WAITING)]
    assert left == []


async def test_a_try_that_ends_between_two_looks_is_told_with_what_came_of_it_or_not_at_all(
    postgres: PostgresServer,
) -> None:
    url = postgres.create()
    async with opened(url) as outbox, session(url) as other:
        await outbox.callbacks.add(HERE)
        notice_id = await outbox.callbacks.tell("cb_1", "callback.test", 9.0)
        # As it is for who has read the notice before the try has ended, and reads its tries after that.
        await other.execute("INSERT INTO notice_try (notice, n, at, took) SELECT number, 1, 10.0, 0.1 FROM notice")
        early = await outbox.callbacks.find("cb_1", notice_id)
        await other.execute("UPDATE notice SET tries = 1, state = 'delivered', due_at = NULL, claimable_at = NULL")
        late = await outbox.callbacks.find("cb_1", notice_id)

    assert early
    assert late
    assert (early.notice.state, early.tries) == (State.WAITING, ())
    assert (late.notice.state, len(late.tries)) == (State.DELIVERED, 1)
