"""What a fake provider has seen and said: one line of JSON for each request, written before the answer is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import orjson


@dataclass(frozen=True, slots=True)
class Entry:
    """One request. `provider` and `mail_id` are None where they could not be told.

    `bytes_read` counts the body. `answer` is the status that is about to be sent, or the name of the fault that comes
    in its place. `accepted` is whether this provider has taken the mail by this request, whatever it said. `key` is the
    request's idempotency key.
    """

    at: float
    provider: str | None
    mail_id: str | None
    body_sha256: str
    bytes_read: int
    answer: str
    accepted: bool
    key: str | None = None


class Ledger:
    """Append-only. The file outlives the process that is killed, and is read by anything that reads JSON lines."""

    def __init__(self, path: Path | None = None, *, fsync: bool = False) -> None:
        self.entries: list[Entry] = []
        self._fsync = fsync
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def add(self, entry: Entry) -> None:
        """In the file when this returns (and on the disk, with `fsync`)."""
        self.entries.append(entry)
        if self._file is not None:
            os.write(self._file, line(entry))
            if self._fsync:
                os.fsync(self._file)

    def lines(self) -> bytes:
        """The ledger as the file has it."""
        return b"".join(line(entry) for entry in self.entries)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def line(entry: Entry) -> bytes:
    """One entry as a line of JSON."""
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)


def read(path: Path) -> list[Entry]:
    """The entries of a ledger file."""
    return [Entry(**orjson.loads(text)) for text in path.read_bytes().splitlines()]
