"""The outbox: where mails are kept from the moment they are accepted. The database is chosen by a URL."""

from __future__ import annotations

from ..errors import ConfigError
from .base import Inspection, Outbox

SQLITE = "sqlite:///"


async def open_outbox(url: str, *, lock_wait: float = 0.0, lease: float = 60.0) -> Outbox:
    """Open `sqlite:///relative.db`, `sqlite:////absolute.db` or `postgres://user:password@host/database`.

    Waits up to `lock_wait` seconds for another owner of a file to end, or for a server that is not there yet. A
    process that gives no sign of life for `lease` seconds loses its mails to others; on SQLite there are none.

    Raises ConfigError for what cannot be used, OwnedByAnother for a file that another process owns,
    StorageUnavailable for a server that takes nobody now.
    """
    if path := _file(url):
        from .sqlite import SqliteOutbox  # noqa: PLC0415 - only the driver that is used gets loaded

        return await SqliteOutbox.open(path, lock_wait)
    from .postgres import PostgresOutbox  # noqa: PLC0415 - as above

    return await PostgresOutbox.open(url, wait=lock_wait, lease=lease)


async def inspect(url: str) -> Inspection:
    """Look at a database without changing anything. Raises ConfigError, StorageUnavailable and StorageBroken."""
    if path := _file(url):
        from .sqlite.inspection import inspect as look  # noqa: PLC0415 - as above

        return await look(path)
    from .postgres.inspection import inspect as look_there  # noqa: PLC0415 - as above

    return await look_there(url)


def _file(url: str) -> str | None:
    """The path in the URL of an SQLite database, None in one of PostgreSQL. Raises ConfigError for any other."""
    path = url.removeprefix(SQLITE)
    if path != url and path not in ("", ":memory:"):
        return path
    if url.startswith(("postgres://", "postgresql://")):
        return None
    raise ConfigError(["DATABASE_URL: must be sqlite:///relative.db, sqlite:////absolute.db or postgres://…"])
