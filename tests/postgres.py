"""A real PostgreSQL for tests: the system's own server in a folder of its own, without fsync, gone at the end."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import pytest

VERSIONS = Path("/usr/lib/postgresql")
MEMORY = Path("/dev/shm")  # a disk that is none, if there is one with some room
ROOM = 1 << 30  # bytes
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "autovacuum_naptime": "5s",
    "log_min_messages": "fatal",
}
# Everybody may come in; only the user `strict` needs a password, which is `right`.
ACCESS = "local all strict scram-sha-256\nlocal all all trust\n"
_names = itertools.count(1)


def programs() -> Path | None:
    """The folder of the newest server's programs."""
    found = [path.parent for path in VERSIONS.glob("*/bin/initdb")]
    return max(found, key=lambda path: float(path.parent.name), default=None)


def missing() -> str:
    """What to say where there is no server; nothing if there is one. Under CI it is a failure."""
    if programs() is not None:
        return ""
    if os.environ.get("CI") == "true":
        pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
    return "PostgreSQL is not installed, so the outbox on it WAS NOT TESTED"


class PostgresServer:
    """A server that tests may stop and start. It is reached by a socket in its folder."""

    def __init__(self, **settings: str) -> None:
        found = programs()
        assert found is not None
        self._programs = found
        self.folder = Path(tempfile.mkdtemp(prefix="mailsvc-pg-", dir=_fast_disk()))
        self._settings = SETTINGS | settings
        self._created: list[str] = []
        self._initialise()

    def __enter__(self) -> Self:
        self.start()
        self.run("CREATE ROLE strict LOGIN PASSWORD 'right'")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def socket(self) -> Path:
        """The socket's path."""
        return self.folder / ".s.PGSQL.5432"

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Where a database is, as mailsvc wants it."""
        return f"postgres://{user}@/{database}?host={self.folder}"

    def create(self) -> str:
        """A new database; its URL."""
        name = f"test_{next(_names)}"
        self.run(f"CREATE DATABASE {name}")
        self._created.append(name)
        return self.url(name)

    def drop(self) -> None:
        """All databases that were created are gone: each takes 8 MB, most likely of memory."""
        drops = [f"DROP DATABASE {name} WITH (FORCE)" for name in self._created]
        self._created.clear()
        if drops:
            self.run(*drops)

    def run(self, *sql: str, database: str = "postgres") -> str:
        """What psql answers, without headers; `database` is a name or a URL."""
        target = ["-h", str(self.folder), "-U", "postgres", "-d", database]
        command = ["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", *target]
        return self._call(*command, *(word for statement in sql for word in ("-c", statement)))

    def start(self) -> None:
        """Start it, or start it again."""
        self._control("start", "-w", "-l", str(self.folder / "log"))

    def stop(self, how: str = "immediate") -> None:
        """Stop it: `immediate` is a crash, `fast` throws everybody out, but tidily."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self._control("stop", "-w", "-m", how)

    @asynccontextmanager
    async def down(self, how: str = "immediate") -> AsyncIterator[None]:
        """Stopped while the block runs."""
        await asyncio.to_thread(self.stop, how)
        try:
            yield
        finally:
            await asyncio.to_thread(self.start)

    def _initialise(self) -> None:
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        data = self.folder / "data"
        self._call("initdb", "-D", str(data), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-N")
        (data / "pg_hba.conf").write_text(ACCESS)
        settings = self._settings | {"unix_socket_directories": str(self.folder)}
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def _control(self, *arguments: str) -> None:
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-s", *arguments)

    def _call(self, program: str, *arguments: str) -> str:
        """PostgreSQL refuses to run as root."""
        as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*as_user, str(self._programs / program), *arguments]
        # The output of pg_ctl goes to a file: the server inherits it and would keep a pipe open for ever.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
            output.seek(0)
            said = output.read()
        assert done.returncode == 0, f"{program}: {said}"
        return said.strip()


def _fast_disk() -> Path | None:
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM else None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One running server for all tests of a worker. Without PostgreSQL the tests are skipped, loudly."""
    if reason := missing():
        pytest.skip(reason)
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """The server for one test, whose databases are gone afterwards. It starts again what it has stopped."""
    yield postgres_server
    postgres_server.drop()
