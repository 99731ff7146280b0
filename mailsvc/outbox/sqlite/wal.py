"""The write-ahead log of the database: when it is copied into the database file, and when it is cut."""

from __future__ import annotations

import sqlite3

import structlog

from .file import DatabaseFile
from .schema import BUSY, PAGE_SIZE

# By measurement: with a checkpoint every 1,024 pages the slowest accepts take 30 ms, with one every 256 they take 7;
# below that the throughput falls.
CHECKPOINT_PAGES = 256
KEEP = 4 << 20  # bytes that are kept in a quiet moment: writing over old room costs half as much as growing
CUT = 16 << 20  # bytes above which even a busy moment cuts the log
ALARM = 64 << 20  # bytes that it reaches only while another program reads and reads

log = structlog.get_logger("mailsvc.outbox")


class WriteAheadLog:
    """Runs in the connection's thread, as checkpoints must: SQLite before 3.51.3 can damage a log that two use."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self._pages = 0
        self._bytes = 0
        self._alarmed = False

    @property
    def due(self) -> bool:
        """Whether enough was written for a checkpoint."""
        return self._pages >= CHECKPOINT_PAGES

    def note(self, changes: int) -> None:
        """A commit changed so many rows. SQLite does not tell the pages; by measurement, seven and one for eight rows.

        Large bodies show in the growth of the file, which comes once all of its old room is in use.
        """
        size = self._file.log_bytes()
        self._pages += max(7 + changes // 8, (size - self._bytes) // PAGE_SIZE)
        self._bytes = size

    def checkpoint(self, connection: sqlite3.Connection, *, quiet: bool, clean: bool = False) -> None:
        """Copy the log into the database file; cut it if it is too long for this moment, or if it is to be `clean`."""
        self._pages = 0
        if clean or self._file.log_bytes() > (KEEP if quiet else CUT):
            self._cut(connection)
        else:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        held_up = self._file.log_bytes() > ALARM
        if held_up and not self._alarmed:
            log.warning("write_ahead_log_grows", bytes=self._file.log_bytes(), why="another program keeps reading")
        self._alarmed = held_up

    def _cut(self, connection: sqlite3.Connection) -> None:
        """Does not wait for another program's reads: a later checkpoint will cut it."""
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {BUSY}")
