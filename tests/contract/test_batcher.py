"""Group commit: who shares a flush, who is told what, and what a cancelled caller leaves behind."""

import asyncio
import contextvars
from collections.abc import Sequence

import pytest

from mailsvc.batcher import Batcher
from mailsvc.errors import ShuttingDown, StorageBroken, StorageUnavailable


class Store:
    """What is flushed to: records each flush, holds it while `gate` is shut, answers ten times the item."""

    def __init__(self) -> None:
        self.flushes: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.faulty: dict[int, Exception] = {}
        self.raises: Exception | None = None

    async def flush(self, items: Sequence[int]) -> list[int | Exception]:
        self.flushes.append(list(items))
        await self.gate.wait()
        if self.raises:
            raise self.raises
        for item in items:
            if item in self.faulty:
                raise self.faulty[item]
        return [item * 10 for item in items]


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_each_caller_gets_the_result_of_its_own_item() -> None:
    store = Store()
    batcher = Batcher(store.flush, 100)

    results = await asyncio.gather(*(batcher(number) for number in range(20)))

    assert results == [number * 10 for number in range(20)]


async def test_callers_of_the_same_moment_share_one_flush() -> None:
    store = Store()
    batcher = Batcher(store.flush, 100)

    await asyncio.gather(*(batcher(number) for number in range(20)))

    assert store.flushes == [list(range(20))]


async def test_calls_that_arrive_while_a_flush_runs_share_the_next_one() -> None:
    store = Store()
    store.gate.clear()
    batcher = Batcher(store.flush, 100)
    first = asyncio.create_task(batcher(1))
    await turns()

    others = [asyncio.create_task(batcher(number)) for number in (2, 3, 4)]
    await turns()
    while_running = list(store.flushes)
    store.gate.set()
    await asyncio.gather(first, *others)

    assert while_running == [[1]]
    assert store.flushes == [[1], [2, 3, 4]]


async def test_a_flush_takes_no_more_than_the_limit() -> None:
    store = Store()
    batcher = Batcher(store.flush, 8)

    await asyncio.gather(*(batcher(number) for number in range(20)))

    assert [len(flush) for flush in store.flushes] == [8, 8, 4]


async def test_an_exception_in_an_items_place_is_raised_to_its_caller_only() -> None:
    async def flush(items: Sequence[int]) -> list[int | Exception]:
        return [ValueError("seven") if item == 7 else item for item in items]

    results = await asyncio.gather(*map(Batcher(flush, 100), range(10)), return_exceptions=True)

    assert [result for result in results if not isinstance(result, Exception)] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert isinstance(results[7], ValueError)


async def test_a_faulty_item_that_spoils_its_flush_fails_only_its_own_caller() -> None:
    store = Store()
    store.faulty[3] = ValueError("three")
    batcher = Batcher(store.flush, 100)

    results = await asyncio.gather(*(batcher(number) for number in range(5)), return_exceptions=True)

    assert results == [0, 10, 20, store.faulty[3], 40]
    assert store.flushes == [[0, 1, 2, 3, 4], [0], [1], [2], [3], [4]]


@pytest.mark.parametrize("error", [StorageUnavailable("full"), StorageBroken("fsync")])
async def test_storage_trouble_goes_to_everybody_and_is_not_tried_again(error: Exception) -> None:
    store = Store()
    store.raises = error
    batcher = Batcher(store.flush, 100)

    results = await asyncio.gather(*(batcher(number) for number in range(5)), return_exceptions=True)

    assert results == [error] * 5
    assert len(store.flushes) == 1


async def test_the_next_flush_goes_on_after_storage_trouble() -> None:
    store = Store()
    store.raises = StorageUnavailable("full")
    batcher = Batcher(store.flush, 100)
    with pytest.raises(StorageUnavailable):
        await batcher(1)
    store.raises = None

    assert await batcher(2) == 20


async def test_a_flush_with_the_wrong_number_of_results_fails_all_its_callers_once() -> None:
    calls = []

    async def flush(items: Sequence[int]) -> list[int | Exception]:
        calls.append(items)
        return [1]

    results = await asyncio.gather(*map(Batcher(flush, 100), range(3)), return_exceptions=True)

    assert [type(result) for result in results] == [RuntimeError] * 3
    assert len(calls) == 1


async def test_a_cancelled_caller_cancels_neither_its_flush_nor_the_others() -> None:
    store = Store()
    store.gate.clear()
    batcher = Batcher(store.flush, 100)
    first, second = asyncio.create_task(batcher(1)), asyncio.create_task(batcher(2))
    await turns()

    first.cancel()
    await turns()
    store.gate.set()

    assert await second == 20
    assert first.cancelled()


async def test_the_item_of_a_cancelled_caller_is_flushed_all_the_same() -> None:
    store = Store()
    store.gate.clear()
    batcher = Batcher(store.flush, 100)
    first = asyncio.create_task(batcher(1))
    await turns()
    waiting = asyncio.create_task(batcher(2))
    await turns()

    waiting.cancel()
    store.gate.set()
    await first
    await batcher.close()

    assert store.flushes == [[1], [2]]


async def test_close_waits_for_what_runs_and_for_what_waits() -> None:
    store = Store()
    store.gate.clear()
    batcher = Batcher(store.flush, 1)
    calls = [asyncio.create_task(batcher(number)) for number in (1, 2, 3)]
    await turns()

    closing = asyncio.create_task(batcher.close())
    await turns()
    closed_early = closing.done()
    store.gate.set()
    await closing

    assert not closed_early
    assert [call.result() for call in calls] == [10, 20, 30]


async def test_a_cancelled_close_leaves_the_flush_alone() -> None:
    store = Store()
    store.gate.clear()
    batcher = Batcher(store.flush, 1)
    call = asyncio.create_task(batcher(1))
    await turns()
    closing = asyncio.create_task(batcher.close())
    await turns()

    closing.cancel()
    await turns()
    store.gate.set()

    assert await call == 10


async def test_a_closed_batcher_takes_nothing_and_can_be_closed_again() -> None:
    store = Store()
    batcher = Batcher(store.flush, 1)
    await batcher.close()
    await batcher.close()

    with pytest.raises(ShuttingDown):
        await batcher(1)
    assert store.flushes == []


async def test_the_task_has_a_name_and_ends_when_nothing_waits() -> None:
    names = []

    async def flush(items: Sequence[int]) -> Sequence[int | Exception]:
        task = asyncio.current_task()
        assert task is not None
        names.append(task.get_name())
        return items

    await Batcher(flush, 10, "accept")(1)
    await turns()

    assert names == ["accept"]
    assert "accept" not in [task.get_name() for task in asyncio.all_tasks()]


async def test_a_flush_sees_nothing_of_the_context_of_its_first_caller() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    seen = []

    async def flush(items: Sequence[int]) -> Sequence[int | Exception]:
        seen.append(request.get())
        return items

    request.set("first caller")
    await Batcher(flush, 10)(1)

    assert seen == ["none"]


async def test_a_batcher_that_is_torn_down_in_mid_flush_leaves_nobody_waiting() -> None:
    store = Store()
    store.gate.clear()
    batcher = Batcher(store.flush, 1, "torn")
    calls = [asyncio.create_task(batcher(number)) for number in (1, 2)]
    await turns()

    next(task for task in asyncio.all_tasks() if task.get_name() == "torn").cancel()
    await asyncio.wait(calls, timeout=5)

    assert all(call.cancelled() for call in calls)
