"""What the errors of PostgreSQL and of asyncpg mean for the caller. The only place that knows their codes."""

from __future__ import annotations

import asyncpg

from ...errors import StorageUnavailable

# By SQLSTATE, or by its first two characters.
UNAVAILABLE = {
    "08": "the connection to PostgreSQL was lost",
    "25006": "the database is read-only",
    "28": "PostgreSQL refuses the user or the password",
    "3D000": "the database is gone",
    "3F000": "the schema mailsvc is gone",
    "40": "too many processes wrote the same rows",
    "42501": "the user may not use the tables of mailsvc",
    "42P01": "the tables of mailsvc are gone",
    "53100": "the disk of PostgreSQL is full",
    "53300": "PostgreSQL takes no more connections",
    "53": "PostgreSQL has too little memory or room",
    "55P03": "another program holds a lock on the tables of mailsvc",
    "57014": "PostgreSQL took too long for a statement",
    "57P03": "PostgreSQL is starting up or shutting down",
    "57P": "PostgreSQL was shut down",
    "58": "the disk of PostgreSQL gave an error",
    "F0": "PostgreSQL's configuration is damaged",
    "XX": "PostgreSQL has an internal error, perhaps damaged data",
}
# The connection ends with these, and a statement under way may have been committed or not.
CUT = ("08", "57P01", "57P02", "57P04", "57P05")
AGAIN = ("40001", "40P01")  # nothing was done, and doing it again may well work


class Lost(StorageUnavailable):
    """The connection was cut while a statement ran: it may have been committed or not."""


def storage_trouble(error: BaseException) -> StorageUnavailable | None:
    """The trouble of the store that an error stands for; None if the statement or its values are at fault."""
    if isinstance(error, StorageUnavailable):
        return error
    if isinstance(error, asyncpg.PostgresError):
        return _by_code(error.sqlstate or "")
    if isinstance(error, TimeoutError):
        return Lost("PostgreSQL did not answer in time")
    if isinstance(error, OSError):
        return Lost(f"PostgreSQL cannot be reached: {error.strerror or type(error).__name__}")
    if isinstance(error, asyncpg.InternalClientError):
        return Lost("the connection to PostgreSQL was lost")  # its last words came when none were asked for
    if isinstance(error, MemoryError):
        return StorageUnavailable("there is no memory left")
    return None


def nothing_done(error: BaseException) -> bool:
    """Whether the server gave up for the sake of another transaction, so that the statement may be tried again."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in AGAIN


def _by_code(code: str) -> StorageUnavailable | None:
    words = next((UNAVAILABLE[code[:length]] for length in (5, 3, 2) if code[:length] in UNAVAILABLE), None)
    if words is None:
        return None
    return (Lost if code.startswith(CUT) else StorageUnavailable)(f"{words} [{code}]")
