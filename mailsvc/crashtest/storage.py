"""A fresh database for a crash test, beside the one that is named: the same disk or server, and never the same one."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ..errors import ConfigError

SQLITE, POSTGRES = "sqlite:///", ("postgres://", "postgresql://")
CONNECT = 10.0  # seconds
READ_ALL = "SELECT count(*) + (SELECT count(*) FROM mailsvc.attempt) FROM mailsvc.mail"


class Scratch(Protocol):
    """A database that is there for one run.

    `locked`: one process owns it, so that each start finds what the last kill left. With leases, what several kills
    left may be found at once.
    """

    url: str
    locked: bool

    async def check(self) -> str:
        """`ok`, or what is wrong with the data."""

    async def remove(self) -> None:
        """Leave nothing behind."""


class SqliteScratch:
    """A file of its own."""

    locked = True

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self.url = f"{SQLITE}{self._path}"

    async def check(self) -> str:
        """SQLite's own word for it."""
        connection = sqlite3.connect(self._path)
        try:
            found: str = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            return found
        except sqlite3.DatabaseError as error:
            return str(error)
        finally:
            connection.close()

    async def remove(self) -> None:
        """The file and what SQLite and mailsvc put beside it."""
        for path in self._path.parent.glob(f"{self._path.name}*"):
            path.unlink(missing_ok=True)


class PostgresScratch:
    """A database of its own on the server of `server`."""

    locked = False

    def __init__(self, server: str, name: str) -> None:
        self._server, self._name = server, name
        self.url = urlsplit(server)._replace(path=f"/{name}").geturl()

    async def make(self) -> None:
        """Create it. Raises ConfigError."""
        import asyncpg  # noqa: PLC0415 - only a driver that is used gets loaded

        try:
            await self._run(self._server, f'CREATE DATABASE "{self._name}"')
        except (asyncpg.PostgresError, OSError, TimeoutError, ValueError) as error:
            words = type(error).__name__ if isinstance(error, ValueError) else str(error) or type(error).__name__
            raise ConfigError([f"--database: a new database cannot be made on that server: {words}"]) from error

    async def check(self) -> str:
        """Whether every mail and every attempt can be read; the server's own checks are at work there."""
        import asyncpg  # noqa: PLC0415 - as above

        try:
            await self._run(self.url, READ_ALL)
        except (asyncpg.PostgresError, OSError, TimeoutError) as error:
            return str(error) or type(error).__name__
        return "ok"

    async def remove(self) -> None:
        """The database, whoever is still connected to it."""
        await self._run(self._server, f'DROP DATABASE IF EXISTS "{self._name}" WITH (FORCE)')

    async def _run(self, url: str, sql: str) -> None:
        import asyncpg  # noqa: PLC0415 - as above

        connection = await asyncpg.connect(url, timeout=CONNECT)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


async def scratch(url: str | None, folder: Path) -> Scratch:
    """A fresh database beside that of `url`, or in `folder`. Raises ConfigError."""
    number = os.urandom(4).hex()
    name = f"crashtest-{number}.db"
    if url is None:
        return SqliteScratch(folder / name)
    if url.startswith(POSTGRES):
        made = PostgresScratch(url, f"mailsvc_crashtest_{number}")
        await made.make()
        return made
    if url.startswith(SQLITE) and len(url) > len(SQLITE):
        beside = Path(url.removeprefix(SQLITE))
        if not beside.parent.is_dir():
            raise ConfigError([f"--database: the folder {beside.parent} does not exist; create it"])
        return SqliteScratch(beside.parent / f"{beside.stem}-{name}")
    raise ConfigError(["--database: must be sqlite:///relative.db, sqlite:////absolute.db or postgres://…"])
