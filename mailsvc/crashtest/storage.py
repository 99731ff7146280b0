"""A fresh database for a crash test, beside the one that is named: the same disk, and never the same file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Protocol

from ..errors import ConfigError

SQLITE = "sqlite:///"


class Scratch(Protocol):
    """A database that is there for one run."""

    url: str

    async def check(self) -> str:
        """`ok`, or what is wrong with the data."""

    async def remove(self) -> None:
        """Leave nothing behind."""


class SqliteScratch:
    """A file of its own."""

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


def scratch(url: str | None, folder: Path) -> Scratch:
    """A fresh database beside that of `url`, or in `folder`. Raises ConfigError."""
    name = f"crashtest-{os.urandom(4).hex()}.db"
    if url is None:
        return SqliteScratch(folder / name)
    if url.startswith(SQLITE) and len(url) > len(SQLITE):
        beside = Path(url.removeprefix(SQLITE))
        if not beside.parent.is_dir():
            raise ConfigError([f"--database: the folder {beside.parent} does not exist; create it"])
        return SqliteScratch(beside.parent / f"{beside.stem}-{name}")
    raise ConfigError(["--database: must be sqlite:///relative.db or sqlite:////absolute.db"])
