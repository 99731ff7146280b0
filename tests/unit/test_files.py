"""The attachments of mails that are being sent: how many are in memory at a time, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mailsvc.errors import StorageUnavailable
from mailsvc.files import Files
from mailsvc.model import Attachment, Mail
from tests.contract.samples import mail


def with_file(size: int) -> Mail:
    return mail(attachments=(Attachment("a.txt", "text/plain", None, size, b""),) if size else ())


class Senders:
    """Each mail is in hand from `start` until `end`; `held` are those that are, in the order in which they began."""

    def __init__(self, files: Files) -> None:
        self.files, self.held = files, list[int]()
        self._ends: dict[int, asyncio.Event] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def start(self, size: int) -> None:
        """Sizes are names here, too."""
        self._ends[size] = asyncio.Event()
        self._tasks[size] = asyncio.create_task(self._hold(size))
        await self._rest()

    async def end(self, size: int) -> None:
        self._ends[size].set()
        await self._tasks[size]
        await self._rest()

    async def cancel(self, size: int) -> None:
        self._tasks[size].cancel()
        await asyncio.wait([self._tasks[size]])
        await self._rest()

    async def _hold(self, size: int) -> None:
        async with self.files.of(with_file(size)):
            self.held.append(size)
            await self._ends[size].wait()
        self.held.remove(size)

    async def _rest(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


async def read(_: str) -> Sequence[Attachment]:
    return ()


async def test_mails_wait_for_room_and_a_large_one_is_not_passed_by_small_ones() -> None:
    senders = Senders(Files(read, room=100))
    for size in (60, 30, 90, 5, 0):
        await senders.start(size)
    began = list(senders.held)
    await senders.end(60)
    still = list(senders.held)
    await senders.end(30)
    large = list(senders.held)

    assert began == [60, 30, 0]
    assert still == [30, 0]
    assert large == [0, 90, 5]


async def test_one_that_is_larger_than_the_room_goes_alone_and_whoever_gives_up_waiting_lets_the_next_one_in() -> None:
    senders = Senders(Files(read, room=100))
    for size in (500, 600, 10):
        await senders.start(size)
    alone = list(senders.held)
    await senders.cancel(600)
    await senders.end(500)

    assert alone == [500]
    assert senders.held == [10]


async def test_room_is_given_back_when_the_store_has_trouble() -> None:
    async def broken(_: str) -> Sequence[Attachment]:
        raise StorageUnavailable("gone")

    files = Files(broken, room=100)
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            async with asyncio.timeout(5), files.of(with_file(90)):
                raise AssertionError
