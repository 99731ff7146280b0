"""A backup of the SQLite database: from the server that owns the file, or from the file if nobody does."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .config import Config
from .errors import ConfigError, MailsvcError, OwnedByAnother
from .outbox.postgres.address import DUMP
from .outbox.sqlite.copying import copy, sync
from .outbox.sqlite.file import DatabaseFile
from .remote import Remote


class BackupFailed(MailsvcError):
    """There is no backup; the message says why."""


async def from_here(config: Config, key: str | None, target: Path) -> None:
    """Back up the database of this configuration. Raises BackupFailed, ConfigError, Unavailable."""
    if not config.database_url.startswith("sqlite:"):
        raise BackupFailed(f"This is PostgreSQL, which has its own tool: {DUMP.replace('FILE', str(target))}")
    file = DatabaseFile(config.database_url.removeprefix("sqlite:///"))
    if not file.path.exists():
        raise BackupFailed(f"There is no database at {file.path}: is DATABASE_URL what the server was started with?")
    try:
        await file.acquire(0.0)
    except OwnedByAnother:
        host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host  # noqa: S104 - compared, not bound
        url = f"http://[{host}]:{config.port}" if ":" in host else f"http://{host}:{config.port}"
        await asyncio.to_thread(from_server, url, key, target)
        return
    try:
        with _new(target) as part:
            await asyncio.to_thread(copy, file.path, part, alone=True)
    finally:
        file.release()


def from_server(url: str, key: str | None, target: Path) -> None:
    """Fetch a copy from a running server. Raises BackupFailed, ConfigError."""
    with _new(target) as part:
        fault = Remote(url, key).download("/backup", part)
        if fault:
            raise BackupFailed(fault)


@contextmanager
def _new(target: Path) -> Iterator[Path]:
    """A path to write to; what is there afterwards is checked, and gets its name only then."""
    if os.path.lexists(target):
        raise BackupFailed(f"{target} is there already; a backup never overwrites")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            part = Path(folder, "part")
            yield part
            _check(part)
            os.link(part, target)
            sync(target)
    except FileExistsError as error:
        raise BackupFailed(f"{target} was made by somebody else meanwhile; a backup never overwrites") from error
    except OSError as error:
        raise ConfigError([f"{target} cannot be written: {(error.strerror or str(error)).lower()}"]) from error


def _check(part: Path) -> None:
    connection = sqlite3.connect(part)
    try:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        found = str(error)
    finally:
        connection.close()
    if found != "ok":
        raise BackupFailed(f"The copy is damaged ({found}), so it was thrown away")
