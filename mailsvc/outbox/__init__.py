"""The outbox: where mails are kept from the moment they are accepted. The database is chosen by a URL."""

from __future__ import annotations

from ..errors import ConfigError
from .base import Outbox

SQLITE = "sqlite:///"


async def open_outbox(url: str, *, lock_wait: float = 0.0) -> Outbox:
    """Open `sqlite:///relative.db` or `sqlite:////absolute.db`, waiting up to `lock_wait` seconds for another owner.

    Raises ConfigError for what cannot be used, OwnedByAnother for a file that another process owns.
    """
    path = url.removeprefix(SQLITE)
    if path != url and path not in ("", ":memory:"):
        from .sqlite import SqliteOutbox  # noqa: PLC0415 - only the driver that is used gets loaded

        return await SqliteOutbox.open(path, lock_wait)
    if url.startswith(("postgres://", "postgresql://")):
        raise ConfigError(["DATABASE_URL: PostgreSQL is not supported yet; use sqlite:///mailsvc.db"])
    raise ConfigError(["DATABASE_URL: must be sqlite:///relative.db or sqlite:////absolute.db"])
