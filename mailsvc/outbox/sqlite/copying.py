"""A copy of the whole database, made while mails go in and out."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path
from typing import BinaryIO

from ...errors import StorageUnavailable
from .schema import BUSY
from .trouble import storage_trouble


def copy(source: Path, target: Path, *, alone: bool) -> None:
    """Write all that is committed now into the new file `target`, for its owner's eyes only. Blocks: use a thread.

    Reads through a connection of its own. Unless it is `alone`, that one neither writes nor checkpoints, so no commit
    waits for it; only the log grows meanwhile. `alone`: whoever calls this owns the file. The copy is not synced.

    Raises FileExistsError, StorageUnavailable when the copy cannot be written, StorageBroken for a damaged source.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        _vacuum(source, target, "rw" if alone else "ro")
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error):
            raise storage_trouble(error) or StorageUnavailable(f"the copy failed: {error}") from error
        raise


def nameless(source: Path) -> BinaryIO:
    """An open copy that has no name any more, so that nothing of it stays when the process is killed."""
    with tempfile.TemporaryDirectory(prefix=f"{source.name}.copy-", dir=source.parent) as folder:
        target = Path(folder, "copy")
        copy(source, target, alone=False)
        return target.open("rb")


def sync(path: Path) -> None:
    """Have the disk keep a file and its name."""
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _vacuum(source: Path, target: Path, mode: str) -> None:
    connection = sqlite3.connect(f"{source.as_uri()}?mode={mode}", uri=True, isolation_level=None)
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY}")
        connection.execute("VACUUM INTO ?", (str(target),))
    finally:
        connection.close()
