"""How a connection is set up and how the schema gets to its newest form. The SQL itself is in `migrations/sqlite`."""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from pathlib import Path

from ...errors import ConfigError, StorageBroken
from .file import DatabaseFile

MIGRATIONS = files("mailsvc.outbox") / "migrations" / "sqlite"
APPLICATION_ID = 0x6D61696C  # "mail" in the file's header: no other program's tables are taken for ours
NEEDS_SQLITE = (3, 37, 0)  # STRICT tables
BUSY = 2000  # milliseconds to wait for a lock that another program, such as a backup, holds
PAGE_SIZE = 8192

FIRST_PRAGMAS = f"""
PRAGMA page_size = {PAGE_SIZE};
PRAGMA auto_vacuum = INCREMENTAL;
"""
PRAGMAS = f"""
PRAGMA busy_timeout = {BUSY};
PRAGMA foreign_keys = ON;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -8192;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 0;
PRAGMA secure_delete = ON;
"""


def prepare(connection: sqlite3.Connection, file: DatabaseFile) -> None:
    """Set the connection up and migrate. ConfigError: the file is not ours; StorageBroken: it is damaged."""
    if sqlite3.sqlite_version_info < NEEDS_SQLITE:
        raise ConfigError([f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer is needed"])
    path = file.path
    try:
        connection.executescript(PRAGMAS)
        if not _ours(connection, path):
            connection.executescript(FIRST_PRAGMAS)
        if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise ConfigError([f"DATABASE_URL: the disk of {path} cannot hold a write-ahead log; use a local disk"])
        if file.suspect:
            _check_integrity(connection, path)
        migrate(connection, path, scripts())
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise ConfigError([f"DATABASE_URL: {path} is not an SQLite database"]) from error
        raise


def scripts() -> list[str]:
    """The migrations, first to last; the place of each is its version, from 1."""
    named = sorted(entry.name for entry in MIGRATIONS.iterdir() if entry.name.endswith(".sql"))
    return [(MIGRATIONS / name).read_text(encoding="utf-8") for name in named]


def migrate(connection: sqlite3.Connection, path: Path, migrations: list[str]) -> None:
    """Run what is missing, all of it or nothing. Raises ConfigError when the file is newer than this program."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        versions = f"schema {version}, this one knows {len(migrations)}"
        raise ConfigError([f"DATABASE_URL: {path} was written by a newer mailsvc ({versions})"])
    if version == len(migrations):
        return
    stamp = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {len(migrations)};"
    try:
        connection.executescript("\n".join(["BEGIN IMMEDIATE;", *migrations[version:], stamp, "COMMIT;"]))
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _ours(connection: sqlite3.Connection, path: Path) -> bool:
    """False for a database that is empty yet."""
    stamp = connection.execute("PRAGMA application_id").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if stamp != APPLICATION_ID and not (stamp == 0 and empty):
        raise ConfigError([f"DATABASE_URL: {path} is the database of another program"])
    return not empty


def _check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise StorageBroken(
            f"{path} is damaged ({found}); restore a backup, or save what is left with `sqlite3 .recover`"
        )
