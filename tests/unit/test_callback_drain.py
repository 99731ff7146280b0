"""The drain of callbacks over a real outbox, in virtual time, with an application that is a function."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from mailsvc.callback import LADDER, PATIENCE, Callback, Off, State, Told
from mailsvc.callback_drain import EACH, FIRST, CallbackDrain
from mailsvc.callbacks import Callbacks
from mailsvc.errors import Conflict, InvalidMail, NotFound, NotSent, StorageUnavailable, Unanswered
from mailsvc.guard import Guard
from mailsvc.outbox import open_outbox
from mailsvc.outbox.base import Outbox
from mailsvc.wire import Answer, HttpRequest, Response
from tests.contract.samples import NOW, addition, settlement, start

URL = "https://app.example/hooks"
HOUR = 3600.0
Said = Callable[[HttpRequest], int | Exception]


class World:
    """An outbox, its callbacks and their drain; `now` is the time there, `told` each request as time, id and status."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.now = NOW
        self.says: Said = lambda request: 200
        self.gate: asyncio.Event | None = None
        self.retry_after = ""
        self.told: list[tuple[float, str, int | None]] = []
        self.in_flight = self.most = 0
        self.callbacks = Callbacks(outbox, Guard(), lambda: self.now)
        self.drain = self.new_drain()

    def new_drain(self, room: int = 64) -> CallbackDrain:
        return CallbackDrain(self.callbacks, self.fetch, random.Random(4), lambda: self.now, room=room)

    async def fetch(self, request: HttpRequest) -> Answer:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(0)
            if self.gate is not None:
                await self.gate.wait()
            said = self.says(request)
            status = said if isinstance(said, int) else None
            self.told.append((self.now, request.headers["webhook-id"], status))
            if isinstance(said, Exception):
                raise said
            return Response(said, {"retry-after": self.retry_after} if self.retry_after else {}, at=self.now)
        finally:
            self.in_flight -= 1

    async def mails(self, number: int) -> None:
        """So many mails are sent, now."""
        ids = await start(self.outbox, *(addition(created_at=self.now) for _ in range(number)), now=self.now)
        await self.outbox.settle([settlement(mail_id, ended_at=self.now) for mail_id in ids])

    async def at(self, now: float) -> None:
        """It is that time, and everything that is due then is done."""
        self.now = now
        for _ in range(400):
            self.drain.wake()
            await asyncio.sleep(0.001)
            rooms = {each.id: 1 for each in self.callbacks.known.values() if each.disabled_at is None}
            if not self.drain._running and not await self._due(rooms):
                return
        raise AssertionError("it does not come to rest")

    async def _due(self, rooms: dict[str, int]) -> bool:
        log = [told for each in rooms for told in await self.outbox.callbacks.log(each, 500)]
        return any(told.notice.due_at is not None and told.notice.due_at <= self.now for told in log)

    async def log(self, callback: Callback) -> list[Told]:
        return list(await self.outbox.callbacks.log(callback.id, 500))


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    outbox = await open_outbox(f"sqlite:///{folder}/outbox.db")
    there = World(outbox)
    there.drain.start()
    try:
        yield there
    finally:
        if there.gate is not None:
            there.gate.set()
        await there.drain.stop(1.0)
        await outbox.close()


async def test_each_event_is_told_once_when_all_is_well(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        callback = await there.callbacks.create(URL, ["*"], "")
        await there.mails(50)
        await there.at(NOW)
        log = await there.log(callback)

    assert len({notice_id for _, notice_id, _ in there.told}) == len(there.told) == 50
    assert {told.notice.state for told in log} == {State.DELIVERED}
    assert there.drain.outcomes["delivered"] == 50


async def test_what_is_not_taken_is_told_again_up_the_ladder_and_then_given_up(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        there.says = lambda request: 500
        callback = await there.callbacks.create(URL, ["*"], "")
        await there.mails(1)
        await there.at(NOW)
        while due := (await there.log(callback))[0].notice.due_at:
            await there.at(due - 0.5)
            await there.at(due)
        (told,) = await there.log(callback)

    times = [at for at, _, _ in there.told]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == 1 + len(LADDER)
    assert all(0.75 * step <= gap <= 1.25 * step for step, gap in zip(LADDER, gaps, strict=True))
    assert gaps != list(LADDER)
    assert (told.notice.state, len(told.tries)) == (State.FAILED, 10)
    assert {done.error for done in told.tries} == {"answered 500"}
    assert len({notice_id for _, notice_id, _ in there.told}) == 1
    assert there.drain.outcomes == {"delivered": 0, "failed": 9, "given_up": 1}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (199, "answered 199"),
        (301, "answered 301, a redirect, which is never followed"),
        (307, "answered 307, a redirect, which is never followed"),
        (404, "answered 404"),
        (NotSent("name not found"), "name not found"),
        (Unanswered("no answer within 15 s"), "no answer within 15 s to the request"),
    ],
)
async def test_only_an_answer_of_2xx_is_delivery(tmp_path: Path, said: int | Exception, words: str) -> None:
    async with world(tmp_path) as there:
        there.says = lambda request: said
        callback = await there.callbacks.create(URL, ["*"], "")
        await there.mails(1)
        await there.at(NOW)
        (told,) = await there.log(callback)
        there.says = lambda request: 204
        await there.at(NOW + 10)
        (again,) = await there.log(callback)

    assert (told.notice.state, told.tries[0].error) == (State.WAITING, words)
    assert (again.notice.state, again.tries[1].http_status) == (State.DELIVERED, 204)


async def test_who_asks_to_be_left_alone_for_a_while_is(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        there.says, there.retry_after = (lambda request: 429), "3600"
        callback = await there.callbacks.create(URL, ["*"], "")
        await there.mails(1)
        await there.at(NOW)
        (told,) = await there.log(callback)

    assert told.notice.due_at == NOW + 3600


async def test_who_answers_410_is_told_nothing_more_until_switched_on(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        there.says = lambda request: 410
        callback = await there.callbacks.create(URL, ["*"], "")
        await there.mails(1)
        await there.at(NOW)
        off = await there.callbacks.get(callback.id)
        await there.mails(3)
        await there.at(NOW + HOUR)
        with pytest.raises(Conflict):
            await there.callbacks.test(callback.id)
        before = len(there.told)
        there.says = lambda request: 200
        await there.callbacks.change(callback.id, enabled=True)
        await there.at(NOW + 2 * HOUR)
        log = await there.log(callback)

    assert (off.disabled_at, off.disabled_why) == (NOW, Off.GONE)
    assert (before, len(there.told)) == (1, 5)
    assert {told.notice.state for told in log} == {State.DELIVERED}


async def test_who_takes_nothing_for_five_days_is_switched_off(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        there.says = lambda request: 500
        callback = await there.callbacks.create(URL, ["*"], "")
        for day in range(6):
            there.now = NOW + day * 86_400
            await there.mails(1)
            await there.at(there.now)
            states = (await there.callbacks.get(callback.id)).disabled_at
            assert (states is not None) is (day == 5)
        off = await there.callbacks.get(callback.id)

    assert (off.disabled_why, off.disabled_at) == (Off.FAILING, NOW + PATIENCE)


async def test_an_outage_of_twelve_hours_loses_nothing_though_processes_are_killed_in_it(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        down = NOW + 12 * HOUR
        there.says = lambda request: Unanswered("no answer") if there.now < down else 200
        callback = await there.callbacks.create(URL, ["*"], "")
        for hour in range(12):
            there.now = NOW + hour * HOUR
            await there.mails(4)
            await there.at(there.now)
            if hour in (3, 8):  # killed in the middle of its requests: nothing is written down
                there.gate = asyncio.Event()
                await there.mails(2)
                while not there.drain._running:
                    there.drain.wake()
                    await asyncio.sleep(0.001)
                kill(there.drain)
                there.gate = None
                there.drain = there.new_drain()
                there.drain.start()
        for quarter in range(4 * 36):
            await there.at(down + quarter * HOUR / 4)
        log = await there.log(callback)

    taken = [notice_id for _, notice_id, status in there.told if status == 200]
    assert len(log) == 52
    assert {told.notice.state for told in log} == {State.DELIVERED}
    assert set(taken) == {told.notice.id for told in log}
    assert len(taken) == 52


def kill(drain: CallbackDrain) -> None:
    """All of it ends at once, and nobody writes anything down."""
    assert drain._loop is not None
    drain._loop.cancel()
    for _, task in drain._running.values():
        task.cancel()


async def test_a_result_that_cannot_be_written_down_means_a_double_with_the_same_id(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        callback = await there.callbacks.create(URL, ["*"], "")
        store = there.outbox.callbacks
        write, failed = store.end, asyncio.Event()

        async def end(endings: object) -> object:
            if not failed.is_set():
                failed.set()
                raise StorageUnavailable("the disk is full")
            return await write(endings)  # type: ignore[arg-type]

        store.end = end  # type: ignore[method-assign,assignment]
        await there.mails(1)
        there.drain.wake()
        await failed.wait()
        await there.at(NOW + 61)
        (told,) = await there.log(callback)

    assert [notice_id for _, notice_id, _ in there.told] == [told.notice.id] * 2
    assert told.notice.state is State.DELIVERED


async def test_a_callback_gets_more_at_a_time_while_it_takes_them_and_one_when_it_does_not(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        await there.callbacks.create(URL, ["*"], "")
        await there.mails(400)
        await there.at(NOW)
        most, there.most = there.most, 0
        there.says = lambda request: 503
        await there.mails(40)
        await there.at(NOW)
        there.most = 0
        await there.mails(40)
        await there.at(NOW + 1)

    assert FIRST < most <= EACH
    assert there.most == 1


async def test_no_more_are_told_at_a_time_than_there_is_room_for_and_everybody_gets_a_turn(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        await there.drain.stop(1.0)
        there.drain = there.new_drain(room=3)
        there.drain.start()
        for number in range(5):
            await there.callbacks.create(f"{URL}/{number}", ["*"], "")
        await there.mails(4)
        await there.at(NOW)

    assert len(there.told) == 20
    assert there.most == 3


async def test_one_callback_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        there.gate = asyncio.Event()
        slow = await there.callbacks.create(URL, ["*"], "")
        await there.mails(100)
        there.drain.wake()
        while there.in_flight < FIRST:
            await asyncio.sleep(0.001)
        there.gate = None  # for those that come from now on
        quick = await there.callbacks.create("https://other.example/", ["*"], "")
        await there.mails(20)
        for _ in range(400):
            there.drain.wake()
            await asyncio.sleep(0.001)
            states = [told.notice.state for told in await there.log(quick)]
            if set(states) == {State.DELIVERED}:
                break
        waiting = [told.notice.state for told in await there.log(slow)].count(State.WAITING)
        for _, task in there.drain._running.values():
            task.cancel()

    assert set(states) == {State.DELIVERED}
    assert waiting >= FIRST


async def test_at_the_end_what_has_no_answer_is_given_back_and_told_at_once_by_the_next(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        there.gate = asyncio.Event()
        callback = await there.callbacks.create(URL, ["*"], "")
        await there.mails(2)
        there.drain.wake()
        while there.in_flight < 2:
            await asyncio.sleep(0.001)
        await there.drain.stop(0.01)
        (first, _) = await there.log(callback)
        there.gate = None
        there.drain = there.new_drain()
        there.drain.start()
        await there.at(NOW + 1)
        log = await there.log(callback)

    assert (first.notice.state, first.tries) == (State.WAITING, ())
    assert {told.notice.state for told in log} == {State.DELIVERED}


async def test_rotation_keeps_the_old_secret_for_a_while(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        first = await there.callbacks.create(URL, ["*"], "")
        second = await there.callbacks.rotate(first.id, 60)
        there.now += 30
        third = await there.callbacks.rotate(first.id, 3600)
        there.now += 31
        fourth = await there.callbacks.rotate(first.id, 0)

    assert [secret.until for secret in second.secrets] == [None, NOW + 60]
    assert [secret.until for secret in third.secrets] == [None, NOW + 3630, NOW + 60]
    assert second.secrets[1].text == first.secrets[0].text
    assert [secret.until for secret in fourth.secrets] == [None]
    assert len({each.secrets[0].text for each in (first, second, third, fourth)}) == 4


async def test_what_is_not_there_or_may_not_be_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        callback = await there.callbacks.create(URL, ["*"], "")
        with pytest.raises(InvalidMail, match="url"):
            await there.callbacks.create("https://127.0.0.1/", ["*"], "")
        with pytest.raises(InvalidMail, match="url"):
            await there.callbacks.change(callback.id, url="http://app.example/")
        for act in (there.callbacks.get, there.callbacks.test, there.callbacks.remove):
            with pytest.raises(NotFound):
                await act("cb_nobody")
        await there.callbacks.remove(callback.id)

        assert await there.callbacks.all() == []
