"""A real `mailsvc serve`, started, killed and started again on the same database."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from ..errors import MailsvcError

PACKAGES = Path(__file__).parents[2]
SERVING = "mailsvc is serving at "
START_WITHIN, STOP_WITHIN = 30.0, 40.0  # seconds


class NotStarted(MailsvcError):
    """The service did not come up; the message ends with what it said."""


class Process:
    """`url` is where it serves, empty while it does not. `took` is how many seconds the last start took."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = {**environ, "PYTHONPATH": str(PACKAGES), "HOST": "127.0.0.1", "PORT": "0"}
        self._folder, self._log = folder, folder / "log.jsonl"
        self._process: asyncio.subprocess.Process | None = None
        self.url, self.took = "", 0.5
        self.serves = asyncio.Event()

    async def begin(self) -> None:
        """Start it, and wait for nothing."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mailsvc", "serve"),
                cwd=self._folder,
                env=self._environ,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )

    async def start(self) -> None:
        """Start it and wait until it serves. Raises NotStarted."""
        begun = time.monotonic()
        await self.begin()
        assert self._process is not None and self._process.stdout is not None  # noqa: S101, PT018 - just begun
        try:
            line = (await asyncio.wait_for(self._process.stdout.readline(), START_WITHIN)).decode()
        except TimeoutError:
            line = ""
        if not line.startswith(SERVING):
            await self.end()
            said = self._log.read_text("utf-8", "replace").splitlines()[-10:]
            raise NotStarted("\n".join(["mailsvc serve did not start:", *said]))
        self.url, self.took = line.removeprefix(SERVING).strip(), time.monotonic() - begun
        self.serves.set()

    def kill(self) -> None:
        """kill -9, now; nothing if it has ended."""
        self.serves.clear()
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGKILL)

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        assert self._process is not None  # noqa: S101 - begun before
        return await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM; the exit code, or that of a kill when it does not end in time."""
        assert self._process is not None  # noqa: S101 - begun before
        self.serves.clear()
        if self._process.returncode is None:
            self._process.terminate()
        try:
            return await asyncio.wait_for(self._process.wait(), STOP_WITHIN)
        except TimeoutError:
            return await self.end()

    async def end(self) -> int:
        """Make sure that it is gone."""
        self.kill()
        return await self.ended() if self._process is not None else 0
