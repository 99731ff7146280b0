"""A look at a database file that changes nothing in it: is it ours, whole, and of which version."""

from __future__ import annotations

import asyncio
import os
import sqlite3

from ...callback import Glimpse, Off
from ...errors import ConfigError, OwnedByAnother, StorageBroken, StorageUnavailable
from ..base import Inspection
from .file import DatabaseFile
from .schema import APPLICATION_ID, scripts
from .trouble import storage_trouble

CALLBACKS = """
SELECT id, url, disabled_why, failing_since,
    (SELECT count(*) FROM notice WHERE callback = callback.id AND claimable_at IS NOT NULL)
FROM callback WHERE removed_at IS NULL ORDER BY created_at, id
"""
NEWEST_MAIL = "SELECT created_at FROM mail ORDER BY number DESC LIMIT 1"


async def inspect(path: str) -> Inspection:
    """What is there. One that is in use is left alone, and so is one that does not exist yet.

    Raises ConfigError, StorageBroken and StorageUnavailable, as opening it would.
    """
    file = DatabaseFile(path)
    place, newest = str(file.path), len(scripts())
    if not file.path.exists():
        return Inspection(place, 0, newest, file=file.path)
    try:
        await file.acquire(0.0)
    except OwnedByAnother as error:
        return Inspection(place, newest, newest, file=file.path, owner=str(error).partition(";")[0])
    try:
        file.create()  # which finds that it is there, and whether it may be written
        return await asyncio.to_thread(_look, file, newest)
    finally:
        file.release()


def _look(file: DatabaseFile, newest: int) -> Inspection:
    connection = sqlite3.connect(file.path, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only = ON")
        (stamp,) = connection.execute("PRAGMA application_id").fetchone()
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        if stamp != APPLICATION_ID and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise ConfigError([f"DATABASE_URL: {file.path} is the database of another program"])
        if schema > newest:
            raise ConfigError([f"DATABASE_URL: {file.path} was written by a newer mailsvc (schema {schema})"])
        (whole,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if whole != "ok":
            raise StorageBroken(f"{file.path} is damaged ({whole})")
        row = connection.execute(NEWEST_MAIL).fetchone() if schema else None
        callbacks = tuple(_glimpse(*each) for each in connection.execute(CALLBACKS)) if schema == newest else None
    except sqlite3.Error as error:
        raise _explained(error, file) from error
    finally:
        connection.close()
    last = row and row[0]
    place = str(file.path)
    return Inspection(place, schema, newest, file.path, last_mail_at=last, remarks=_remarks(file), callbacks=callbacks)


def _glimpse(id: str, url: str, why: str | None, failing_since: float | None, waiting: int) -> Glimpse:  # noqa: A002 - the field's own name
    return Glimpse(id, url, Off(why) if why else None, failing_since, waiting)


def _explained(error: sqlite3.Error, file: DatabaseFile) -> Exception:
    if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
        return ConfigError([f"DATABASE_URL: {file.path} is not an SQLite database"])
    return storage_trouble(error) or StorageUnavailable(str(error))


def _remarks(file: DatabaseFile) -> tuple[tuple[str, str], ...]:
    """What is not as it should be, and what to do."""
    found = []
    status = os.stat(file.path)
    if status.st_mode & 0o077:
        found.append((f"{file.path} can be read by other users", f"chmod 600 {file.path}"))
    if file.suspect:
        found.append(
            (f"{file.path} may have lost a write: its disk failed to keep one", "check the disk, then start mailsvc")
        )
    return tuple(found)
