"""A proxy on 127.0.0.1 that makes a network of it: everything that can happen to a connection between two programs."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Self

PIECE = 16 * 1024
BACK, FORTH = "back", "forth"  # from the server to the client, and from the client to the server


@dataclass(frozen=True, slots=True)
class Toxic:
    """What happens to one direction of every connection that is made while it is on.

    `latency` seconds before each piece; `bandwidth` bytes a second; pieces of `slice` bytes, `pause` seconds apart;
    after `after` bytes: `reset` the connection, `close` it, or fall silent (`hang`); `slow_close` seconds between the
    end of the data and the end of the connection.
    """

    way: str = BACK
    latency: float = 0.0
    bandwidth: float = 0.0
    slice: int = 0
    pause: float = 0.0
    after: int | None = None
    then: str = "reset"
    slow_close: float = 0.0

    def __post_init__(self) -> None:
        if self.way not in (BACK, FORTH) or self.then not in ("reset", "close", "hang"):
            raise ValueError(f"a way is {BACK} or {FORTH}; then comes reset, close or hang")


class Proxy:
    """`async with Proxy(port) as proxy`: connections to `proxy.port` go on to `port`, through `proxy.toxics`.

    `down`: connections are refused as soon as they are made. `made` counts them.
    """

    def __init__(self, target: int) -> None:
        self.toxics: list[Toxic] = []
        self.down = False
        self.made = self.port = 0
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._over = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._over = True
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        for _ in range(10):
            await asyncio.sleep(0)  # the turns of the loop in which connections are closed

    @property
    def url(self) -> str:
        """What to set a provider's URL to."""
        return f"http://127.0.0.1:{self.port}"

    def poison(self, **toxic: object) -> None:
        """This toxic and no other, for connections from now on."""
        self.toxics = [Toxic(**toxic)]  # type: ignore[arg-type]

    async def cut(self) -> None:
        """End the connections that there are, so that the next request makes a new one."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.made += 1
        try:
            if self.down or self._over:
                _reset(writer)
            else:
                await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # one side has gone, or the test is over
        finally:
            self._end(writer)
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ways = {way: next((toxic for toxic in self.toxics if toxic.way == way), Toxic(way)) for way in (BACK, FORTH)}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, far_writer, ways[FORTH], (writer, far_writer)))
                group.create_task(_pump(far_reader, writer, ways[BACK], (writer, far_writer)))
        except* (OSError, _Ended):
            pass
        finally:
            self._end(far_writer)

    def _end(self, writer: asyncio.StreamWriter) -> None:
        """Close it; at the end of the test, whoever does not read what is still to be written is not waited for."""
        if self._over:
            writer.transport.abort()
        else:
            writer.close()


class _Ended(Exception):
    """This connection is over, in both directions."""


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    toxic: Toxic,
    both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
) -> None:
    """Carry one direction to its end."""
    left = toxic.after
    while data := await reader.read(toxic.slice or PIECE):
        await asyncio.sleep(toxic.latency + toxic.pause)
        if left is not None:
            data, left = data[:left], left - len(data)
        writer.write(data)
        await writer.drain()
        if left is not None and left <= 0:
            await _strike(toxic.then, both)
        if toxic.bandwidth:
            await asyncio.sleep(len(data) / toxic.bandwidth)
    await asyncio.sleep(toxic.slow_close)
    if writer.can_write_eof():
        writer.write_eof()


async def _strike(then: str, both: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
    if then == "hang":
        await asyncio.Event().wait()
    for writer in both:
        if then == "reset":
            _reset(writer)
    raise _Ended


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
