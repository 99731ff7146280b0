"""What SQLite's errors mean for the caller. The only place that knows its error codes."""

from __future__ import annotations

import sqlite3

from ...errors import StorageBroken, StorageUnavailable

# A write that was promised may be lost: after a failed fsync the kernel forgets the pages, and the next fsync succeeds.
BROKEN = {
    sqlite3.SQLITE_IOERR_FSYNC: "the disk failed to keep a write (fsync)",
    sqlite3.SQLITE_IOERR_DIR_FSYNC: "the disk failed to keep a new file (fsync)",
    sqlite3.SQLITE_IOERR_CORRUPTFS: "the file system is damaged",
    sqlite3.SQLITE_CORRUPT: "the database file is damaged; restore a backup or use `sqlite3 .recover`",
    sqlite3.SQLITE_NOTADB: "the database file was overwritten by something else",
}

UNAVAILABLE = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk gave an error",
    sqlite3.SQLITE_BUSY: "another program holds a lock on the database",
    sqlite3.SQLITE_LOCKED: "the database is locked",
    sqlite3.SQLITE_READONLY: "the database cannot be written: its file or disk is read-only",
    sqlite3.SQLITE_CANTOPEN: "the database file cannot be opened",
    sqlite3.SQLITE_PERM: "the database file may not be used by this user",
    sqlite3.SQLITE_PROTOCOL: "the locks of the database cannot be had",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
    sqlite3.SQLITE_INTERRUPT: "the statement was interrupted",
}


def storage_trouble(error: BaseException) -> StorageUnavailable | None:
    """The trouble of the store that an error stands for; None if the statement or its values are at fault."""
    if isinstance(error, StorageUnavailable):
        return error
    if isinstance(error, MemoryError):
        return StorageUnavailable(UNAVAILABLE[sqlite3.SQLITE_NOMEM])
    code = _code(error)
    primary = code & 0xFF
    if text := BROKEN.get(code) or BROKEN.get(primary):
        return StorageBroken(f"{text} [{_name(error)}]")
    if text := UNAVAILABLE.get(primary):
        return StorageUnavailable(f"{text} [{_name(error)}]")
    return None


def disk_full(error: BaseException) -> bool:
    """Whether the disk has no room for this write."""
    return _code(error) & 0xFF == sqlite3.SQLITE_FULL


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)


def _name(error: BaseException) -> str:
    return getattr(error, "sqlite_errorname", "SQLITE_NOMEM")
