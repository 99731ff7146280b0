"""The connections to the server: a small pool, one statement at a time on each, and its errors.

Every statement is a transaction of its own, sent in one trip, and is prepared once for each connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from ...errors import StorageUnavailable
from .trouble import Lost, nothing_done, storage_trouble

R = TypeVar("R")

CONNECTIONS = 6  # accepting, beginning, settling and claiming have one statement at a time each; the rest is for reads
CONNECT = 4.0  # seconds to get a connection
STATEMENT = 10.0  # seconds that the server works on a statement before it gives up
ANSWER = 15.0  # seconds without an answer after which the network is taken for dead
CERTAIN = 5.0  # seconds to find out whether a statement whose connection was cut has been committed
PAUSE = 0.1  # seconds between two tries of that
TRIES = 3  # of a statement that got into the way of another one

# Set once for each connection, and not when it is opened: poolers refuse what they do not know then.
SETTINGS = {
    "search_path": "mailsvc",
    "statement_timeout": f"{STATEMENT * 1000:.0f}",
    "lock_timeout": f"{STATEMENT * 500:.0f}",
    "jit": "off",
    # Every statement goes by an index. Plans are made once and kept: one that was made while a table was almost empty
    # must not read or hash all of it when it has grown.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
# Whatever the database or the user is set to: accepted means durable. More than `on` is left as it is.
SET_UP = """
SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS given (name, value)
UNION ALL
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""


class Server:
    """Runs statements. Reconnects by itself; raises StorageUnavailable when it cannot, or not in time."""

    def __init__(self, pool: asyncpg.Pool, clock: Callable[[], float], patience: float) -> None:
        self.here = clock  # what the wall clock of this process says
        self._pool, self._patience = pool, patience
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._closed = False

    @classmethod
    async def open(cls, url: str, clock: Callable[[], float] = time.time, patience: float = CERTAIN) -> Server:
        """Connect once, to see that it works. Raises asyncpg's errors and OSError."""
        pool = await asyncpg.create_pool(
            url,
            min_size=0,
            init_size=1,
            max_size=CONNECTIONS,
            timeout=CONNECT,
            command_timeout=ANSWER,
            max_cached_statement_lifetime=0,
            server_settings={"application_name": "mailsvc"},
            init=_set_up,
            reset=_leave,
        )
        return cls(pool, clock, patience)

    async def run(self, work: Callable[[], Awaitable[R]]) -> R:
        """Do some work with `fetch` and `transact`; `close` waits for it."""
        async with self._noted():
            return await work()

    async def look(self, sql: str, *values: object) -> list[Any]:
        """The rows of a statement that changes nothing, so that it may simply be sent again."""
        async with self._noted():
            try:
                return await self.fetch(sql, *values)
            except Lost:
                return await self.fetch(sql, *values)

    async def settle(self, work: Callable[[bool], Awaitable[R]]) -> R:
        """Do some work with `fetch` or `transact` until it is known to be done.

        `work` is told whether it may have been done before.

        When the connection is cut during a commit, only the database knows. After five seconds without it nobody does:
        StorageUnavailable.
        """
        async with self._noted():
            try:
                return await work(False)
            except Lost:
                return await self._find_out(work)

    async def fetch(self, sql: str, *values: object) -> list[Any]:
        """The rows of one statement. Raises StorageUnavailable; Lost when it may have been committed or not."""
        connection = await self._acquire()
        try:
            for left in reversed(range(TRIES)):
                try:
                    return await connection.fetch(sql, *values)  # type: ignore[no-any-return]
                except asyncpg.PostgresError as error:
                    if not (left and nothing_done(error)):
                        raise
            raise AssertionError("the last try returns or raises")
        except TimeoutError as error:
            connection.terminate()  # a polite end would wait for the same silent network
            raise Lost("PostgreSQL did not answer in time") from error
        except Exception as error:
            raise _trouble(error, connection) from error
        finally:
            await self._pool.release(connection)

    async def transact(self, work: Callable[[asyncpg.Connection], Awaitable[R]]) -> R:
        """Do some work in a transaction of several statements, again if it got into the way of another one.

        As `fetch`, it is for the work of `run` and `settle`. Raises StorageUnavailable; Lost when it may have been
        committed or not.
        """
        connection = await self._acquire()
        try:
            for left in reversed(range(TRIES)):
                try:
                    async with connection.transaction():
                        return await work(connection)
                except asyncpg.PostgresError as error:
                    if not (left and nothing_done(error)):
                        raise
            raise AssertionError("the last try returns or raises")
        except TimeoutError as error:
            connection.terminate()  # as above
            raise Lost("PostgreSQL did not answer in time") from error
        except Exception as error:
            raise _trouble(error, connection) from error
        finally:
            await self._pool.release(connection)

    async def close(self) -> None:
        """Finish what runs, then disconnect. May be called again."""
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(ANSWER):
                await self._quiet.wait()
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def _noted(self) -> AsyncIterator[None]:
        if self._closed:
            raise StorageUnavailable("the outbox is closed")
        self._under_way += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()

    async def _acquire(self) -> Any:
        try:
            return await self._pool.acquire(timeout=CONNECT)
        except TimeoutError as error:
            busy = self._pool.get_size() == CONNECTIONS
            words = f"all {CONNECTIONS} connections to PostgreSQL are busy" if busy else "PostgreSQL does not answer"
            raise StorageUnavailable(words) from error
        except Exception as error:
            trouble = storage_trouble(error)
            # Nothing was sent on a connection that did not come about.
            raise StorageUnavailable(str(trouble)) if trouble else error from error

    async def _find_out(self, work: Callable[[bool], Awaitable[R]]) -> R:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while True:
            try:
                return await work(True)
            except StorageUnavailable as error:
                if loop.time() >= deadline:
                    raise StorageUnavailable(f"{error}; whether this was stored is not known") from error
            await asyncio.sleep(PAUSE)


def _trouble(error: Exception, connection: Any) -> Exception:
    """The trouble of the store that an error of this connection stands for, or the error itself."""
    if isinstance(error, asyncpg.InterfaceError) and connection.is_closed():
        return Lost("the connection to PostgreSQL was lost")
    return storage_trouble(error) or error


async def _set_up(connection: asyncpg.Connection) -> None:
    await connection.fetch(SET_UP, [*SETTINGS], [*SETTINGS.values()])


async def _leave(_: asyncpg.Connection) -> None:
    """What the pool does with a connection that comes back: no statement leaves anything behind to be reset."""
