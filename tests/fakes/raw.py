"""A TCP server whose whole behaviour is one function: for what no well-made server does."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def closed_port() -> Iterator[socket.socket]:
    """A port of 127.0.0.1 that refuses all connections, and that no other program can get meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[int]:
    """The port of a server on 127.0.0.1 that calls `handle` for each connection, and closes it afterwards."""
    tasks: set[asyncio.Task[None]] = set()
    over = False

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            if not over:  # a connection that was accepted in the last instant begins after the end
                await handle(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass  # the test is over, or the client has gone
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over = True
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
        for _ in range(10):
            await asyncio.sleep(0)  # the turns of the loop in which connections are closed


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One HTTP request with a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.partition(b":")[2]))
    return head


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
