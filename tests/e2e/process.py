"""The real process over real HTTP, as a test holds it in its hands."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp

ROOT = Path(__file__).parents[2]
# Where a process keeps its mail whose test says nothing about it: by its folder, an URL; None: a file in that folder.
default_database: Callable[[Path], str] | None = None
FORM = {"to": "ann@example.com", "subject": "Hi", "content": "**hello**"}
NOBODY = "http://127.0.0.1:9"  # where nobody listens


def environment(**settings: str) -> dict[str, str]:
    """What a process gets: nothing of this machine's settings but the path, and these."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SYSTEMROOT") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT), "PORT": "0", "HOST": "127.0.0.1"} | settings


class Mailsvc:
    """`async with Mailsvc(folder, NAME="value") as service`: a running `mailsvc serve` with its file in `folder`.

    `under` is a command to run it under, which must become the process itself (`prlimit`, `strace -D`).
    """

    def __init__(self, folder: Path, *under: str, **settings: str) -> None:
        if default_database and "DATABASE_URL" not in settings:
            settings["DATABASE_URL"] = default_database(folder)
        self.folder, self.settings, self.under = folder, settings, under
        self.url = ""
        self.out: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self.log: list[str] = []

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90))
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()
        await self.http.close()

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process that runs now."""
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        """Start it, or start it again on the same file, and wait until it serves."""
        self._process = await asyncio.create_subprocess_exec(
            *self.under,
            sys.executable,
            "-m",
            "mailsvc",
            "serve",
            cwd=self.folder,
            env=environment(**self.settings),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.out = []
        self._readers = [
            asyncio.create_task(self._read(self.process.stdout, self.out)),
            asyncio.create_task(self._read(self.process.stderr, self.log)),
        ]
        while not any(line.startswith("mailsvc is serving at ") for line in self.out):
            if self.process.returncode is not None:
                await asyncio.gather(*self._readers)
                raise RuntimeError("\n".join(["mailsvc did not start:", *self.log[-20:]]))
            await asyncio.sleep(0.02)
        self.url = self.out[0].removeprefix("mailsvc is serving at ")

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    @property
    def database(self) -> dict[str, str]:
        """The setting by which another process has the same database; none if it is the file in the folder."""
        return {name: url for name, url in self.settings.items() if name == "DATABASE_URL"}

    @property
    def peak_memory(self) -> int:
        """The most bytes that it had in memory so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(kilobytes) * 1024

    async def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        await self.ended()

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        code = await self.process.wait()
        self.url = NOBODY  # its port may be another program's by now
        await asyncio.gather(*self._readers)
        return code

    async def logged(self, words: str) -> None:
        """Wait until a line of the log has these words; fails after 30 s."""
        async with asyncio.timeout(30):
            while not any(words in line for line in self.log):
                await asyncio.sleep(0.02)

    async def _read(self, stream: asyncio.StreamReader | None, lines: list[str]) -> None:
        assert stream is not None
        while line := await stream.readline():
            lines.append(line.decode().rstrip("\n"))

    # HTTP.

    async def call(self, method: str, path: str, **how: Any) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers, and the body: JSON if it is, else text."""
        async with self.http.request(method, self.url + path, **how) as answer:
            kind = answer.headers.get("Content-Type", "")
            body = await (answer.json(content_type=None) if "json" in kind else answer.text())
            return answer.status, answer.headers, body

    async def post(self, **changes: Any) -> str:
        """Have a mail accepted; its id."""
        status, _, body = await self.call("POST", "/email", json=FORM | changes)
        assert status == 202, body
        return str(body["id"])

    async def mail(self, mail_id: str) -> dict[str, Any]:
        """What is known of a mail."""
        status, _, body = await self.call("GET", f"/email/{mail_id}")
        assert status == 200, body
        return dict(body)

    async def settled(self, mail_id: str) -> dict[str, Any]:
        """What is known of a mail once it has left the queue."""
        status, _, body = await self.call("GET", f"/email/{mail_id}?wait=settled&timeout=30")
        assert status == 200, body
        return dict(body)

    async def until(self, mail_id: str, *states: str) -> dict[str, Any]:
        """What is known of a mail once it is in one of these states; fails after 30 s."""
        for _ in range(600):
            found = await self.mail(mail_id)
            if found["status"] in states:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"still {found['status']}, not {states}: {found}")


async def run(
    folder: Path, *arguments: str, stdin: str = "", within: float = 50, **settings: str
) -> tuple[int, str, str]:
    """Run the command line to its end, which must come `within` seconds: exit code, output, errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mailsvc",
        *arguments,
        cwd=folder,
        env=environment(**settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), within)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
