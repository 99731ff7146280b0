"""Group commit: calls that arrive while a flush runs share the next one. It knows nothing of what it flushes."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from .errors import ShuttingDown, StorageUnavailable

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Turns calls for one item each into few flushes of many.

    `flush` takes up to `max_batch` items, one flush at a time, and gives a result for each in the same order; an
    exception in an item's place is raised to that item's caller only. A flush that raises StorageUnavailable raises it
    to all its callers; after any other exception its items are flushed again one by one, so that a faulty item fails
    only its own caller. Such a flush must have changed nothing.

    A caller that is cancelled stops waiting; its item is flushed all the same. `sizes` counts flushes by how many items
    they had.
    """

    def __init__(
        self, flush: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]], max_batch: int, name: str = "batcher"
    ) -> None:
        self._flush = flush
        self._max_batch = max_batch
        self._name = name
        self.sizes: Counter[int] = Counter()
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def __call__(self, item: T) -> R:
        """The item's own result, once its flush is over. Raises ShuttingDown after close()."""
        if self._closed:
            raise ShuttingDown(f"the {self._name} is closed")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            # A context of its own: what the first caller has bound to its log lines is not true of the others.
            self._running = asyncio.create_task(self._run(), name=self._name, context=Context())
        return await future

    async def close(self) -> None:
        """Take no more items and wait until all that were taken are flushed. May be called again."""
        self._closed = True
        if self._running is not None:
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
                self.sizes[len(batch)] += 1
                await self._serve(batch)
        finally:
            self._running = None
            for _, future in (*batch, *self._waiting):
                future.cancel()  # only the end of the loop itself leaves any of them undone
            self._waiting.clear()

    async def _serve(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
        except StorageUnavailable as error:
            _answer(batch, [error] * len(batch))
        except Exception as error:
            if len(batch) == 1:
                _answer(batch, [error])
            else:
                for one in batch:
                    await self._serve([one])
        else:
            _answer(batch, results)


def _answer(batch: Sequence[tuple[T, asyncio.Future[R]]], results: Sequence[R | Exception]) -> None:
    if len(results) != len(batch):
        results = [RuntimeError(f"a flush of {len(batch)} items gave {len(results)} results")] * len(batch)
    for (_, future), result in zip(batch, results, strict=True):
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
