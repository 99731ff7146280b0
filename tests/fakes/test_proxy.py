"""The proxy itself: what it does to a connection is what it says."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.fakes.proxy import BACK, FORTH, Proxy, Toxic
from tests.fakes.raw import serving

QUESTION, ANSWER = b"q" * 1000, b"a" * 5000


@asynccontextmanager
async def between(**toxic: object) -> AsyncIterator[tuple[Proxy, list[bytes]]]:
    """A proxy before a server that answers one question; what the server has read of it."""
    read: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            read.append(await reader.readexactly(len(QUESTION)))
        except asyncio.IncompleteReadError as error:
            read.append(error.partial)
            return
        except ConnectionError:
            read.append(b"")
            return
        writer.write(ANSWER)
        await writer.drain()

    async with serving(handle) as port, Proxy(port) as proxy:
        if toxic:
            proxy.poison(**toxic)
        yield proxy, read


async def ask(proxy: Proxy) -> tuple[bytes, float]:
    """The answer as far as it came, and how many seconds that took. Raises what the connection ends with."""
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(QUESTION)
        return await reader.read(-1), time.monotonic() - begun
    finally:
        writer.close()


async def test_without_a_toxic_everything_goes_through() -> None:
    async with between() as (proxy, read):
        answer, _ = await ask(proxy)

    assert (answer, read, proxy.made) == (ANSWER, [QUESTION], 1)


@pytest.mark.parametrize(
    ("toxic", "least"),
    [
        ({"latency": 0.05}, 0.05),
        ({"bandwidth": 50_000.0}, 0.1),
        ({"slice": 500, "pause": 0.005}, 0.05),
        ({"slow_close": 0.05}, 0.05),
        ({"way": FORTH, "latency": 0.05}, 0.05),
    ],
    ids=["latency", "bandwidth", "slices", "slow close", "latency on the way there"],
)
async def test_what_is_slow_arrives_whole(toxic: dict[str, object], least: float) -> None:
    async with between(**toxic) as (proxy, _):
        answer, took = await ask(proxy)

    assert answer == ANSWER
    assert took >= least


async def test_a_limit_of_data_ends_the_answer_there() -> None:
    async with between(after=1234, then="close") as (proxy, _):
        answer, _ = await ask(proxy)

    assert answer == ANSWER[:1234]


@pytest.mark.parametrize("after", [0, 100])
async def test_a_reset_is_a_reset(after: int) -> None:
    async with between(after=after) as (proxy, _):
        with pytest.raises(ConnectionResetError):
            await ask(proxy)


async def test_a_reset_on_the_way_there_cuts_the_question() -> None:
    async with between(way=FORTH, after=400) as (proxy, read):
        with pytest.raises(ConnectionResetError):
            await ask(proxy)
        while not read:
            await asyncio.sleep(0.01)

    assert read in ([QUESTION[:400]], [b""])  # a reset may overtake what was sent before


async def test_silence_is_silence() -> None:
    async with between(after=10, then="hang") as (proxy, _):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(proxy), 0.05)


async def test_down_is_refused_at_once() -> None:
    async with between() as (proxy, read):
        proxy.down = True
        with pytest.raises(ConnectionResetError):
            await ask(proxy)

    assert read == []


def test_a_toxic_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="a way is"):
        Toxic(way="sideways")
    with pytest.raises(ValueError, match="then comes"):
        Toxic(way=BACK, then="dance")
