"""The database file on its disk: which process owns it, who may read it, how much room is left. No SQL."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from ...errors import ConfigError, OwnedByAnother

POLL = 0.1  # seconds between two tries to get the lock


class DatabaseFile:
    """A file that one process at a time may own. `path` follows symbolic links, so that one file has one lock."""

    def __init__(self, path: str) -> None:
        self.path = Path(os.path.realpath(path))
        self._lock_path = Path(f"{self.path}.lock")
        self._names = str(self.path), f"{self.path}-wal", str(self.path.parent)  # asked for with each commit
        self._suspect_path = Path(f"{self.path}.suspect")
        self._lock: int | None = None
        self._inode: int | None = None

    async def acquire(self, wait: float) -> None:
        """Become the owner, waiting up to `wait` seconds for another one to end. Raises OwnedByAnother, ConfigError.

        The lock is the kernel's: it ends with the process, however that ends. The lock file itself stays.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while not self._try_lock():
            if loop.time() >= deadline:
                raise OwnedByAnother(f"{self.path} is owned by {self._owner()}; stop it, or set MAILSVC_LOCK_WAIT")
            await asyncio.sleep(min(POLL, max(0.0, deadline - loop.time())))

    def create(self) -> None:
        """Make the file, for its owner's eyes alone, unless it is there. SQLite gives -wal and -shm the same mode.

        Raises ConfigError.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with contextlib.suppress(FileExistsError), _explained(self.path):
            with os.fdopen(os.open(self.path, flags, 0o600), "wb") as made:
                os.fchmod(made.fileno(), 0o600)  # a umask may have taken the owner's own rights
            _sync_folder(self.path.parent)
        if not (self.path.is_file() and os.access(self.path, os.R_OK | os.W_OK)):
            raise ConfigError([f"DATABASE_URL: {self.path} is not a file that this user may write"])
        self._inode = self.path.stat().st_ino

    def release(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)  # the next owner is not taken for this one
            os.close(self._lock)
            self._lock = None

    def room(self) -> int:
        """Free bytes on the disk."""
        disk = os.statvfs(self._names[2])
        return disk.f_bavail * disk.f_frsize

    def log_bytes(self) -> int:
        """The size of the write-ahead log."""
        try:
            return os.stat(self._names[1]).st_size
        except FileNotFoundError:
            return 0

    @property
    def moved(self) -> bool:
        """Whether the path no longer leads to the file that was opened."""
        try:
            return os.stat(self._names[0]).st_ino != self._inode
        except FileNotFoundError:
            return True

    @property
    def suspect(self) -> bool:
        """Whether an earlier owner found that the file may have lost a write."""
        return self._suspect_path.exists()

    @suspect.setter
    def suspect(self, suspect: bool) -> None:
        with contextlib.suppress(OSError):  # the disk that lost a write may refuse the note about it
            if suspect:
                self._suspect_path.touch(0o600)
            else:
                self._suspect_path.unlink(missing_ok=True)

    def _try_lock(self) -> bool:
        with _explained(self.path):
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise ConfigError([f"{self._lock_path} cannot be locked: {error.strerror}"]) from error
        self._lock = descriptor
        return True

    def _owner(self) -> str:
        pid, _, host = self._lock_path.read_text().strip().partition(" ")
        return f"the running process {pid} on {host}" if pid else "another process that is just starting"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except FileNotFoundError as error:
        raise ConfigError([f"DATABASE_URL: the folder {path.parent} does not exist; create it"]) from error
    except OSError as error:
        raise ConfigError([f"DATABASE_URL: {path} cannot be opened for writing: {error.strerror}"]) from error
