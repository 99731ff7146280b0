"""A reader of the docs: takes a page's examples as they stand there and does what they say, from top to bottom."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import sys
import textwrap
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from tests.e2e.process import ROOT, Mailsvc, environment
from tests.e2e.test_keys import FIRST, bearer
from tests.e2e.test_smtp_in import Smtp
from tests.fakes.application import Application
from tests.transcript import Transcript, steps

PAGES = {path.name: path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
JAVASCRIPT = ROOT / "tests" / "javascript"  # what examples import from npm: `make javascript`
# Without npm it cannot be there, which `make system` says loudly, and takes for a failure under CI.
needs_javascript = pytest.mark.skipif(
    not (JAVASCRIPT / "node_modules" / "resend").is_dir() and os.environ.get("CI") != "true",
    reason="tests/javascript is not installed: make javascript",
)
SERVING = "mailsvc is serving at "
PATIENCE = 60.0  # seconds for one example
COMMANDS = {"mailsvc": '-m mailsvc "$@"', "python": '"$@"'}  # what an installation has in the path
_KEY = re.compile(r"\b(MAILSVC_API_)?KEY\b")
_SERVES = re.compile(r"\b(?:mailsvc serve|make run)\b.*")
_CHANGES = re.compile(r" (-d|-F|--json|-X|create|add|rotate|test|send) ")


@dataclass(frozen=True, slots=True)
class Example:
    """A block between fences: on which page, in which language, its text."""

    page: str
    language: str
    text: str

    @property
    def head(self) -> str:
        """How it begins: what it is told by."""
        return self.text.partition("\n")[0]


def examples(page: str) -> list[Example]:
    """All blocks of a page, also those within lists."""
    blocks = re.findall(r"^( *)```([\w-]*)\n(.*?)^ *```$", PAGES[page].read_text(), re.MULTILINE | re.DOTALL)
    return [Example(page, language, textwrap.dedent(text)) for _, language, text in blocks]


class Reader:
    """`async with Reader(folder) as reader`: has a server without a key, one with a key, and an application of its own.

    Both servers are sandboxes. An example that names the key gets the one with a key, in its environment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.transcript = folder, Transcript()
        # What is written otherwise here: ports that may be taken, hosts that are not there.
        self.words = {port: str(_free_port()) for port in ("9001", "9002")}
        self.own: str | None = None  # the URL of a server that an example has started and left running
        self._servers: dict[str, Smtp] = {}
        self._groups: list[int] = []

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        self.application = await self._stack.enter_async_context(Application())
        self.words["https://app.example.com/hooks"] = self.application.url
        places = self.folder / "bin"
        places.mkdir()
        for name, what in COMMANDS.items():
            _command(places / name, what)
        (places / "make").write_text('#!/bin/sh\n[ "$1" = run ] && exec mailsvc serve\n')
        (places / "make").chmod(0o755)
        return self

    async def __aexit__(self, *_: object) -> None:
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        await self._stack.aclose()

    async def server(self, key: str = "") -> Smtp:
        """The server with this key."""
        if key not in self._servers:
            folder = self.folder / f"server{len(self._servers)}"
            folder.mkdir()
            settings = {"MAILSVC_CALLBACK_ALLOW": "127.0.0.1"} | ({"MAILSVC_API_KEY": key} if key else {})
            self._servers[key] = await self._stack.enter_async_context(Smtp(folder, **settings))
        return self._servers[key]

    async def does(self, example: Example, before: str = "", after: str = "") -> list[str]:
        """Do it, between two pieces of the test's own; what was not as it says."""
        server = await self.server(FIRST if _KEY.search(example.text) else "")
        serves = _SERVES.findall(example.text) if example.language == "sh" else []
        if serves:
            self.own = f"http://127.0.0.1:{_free_port()}"
        text = self._here(example.text, self.own or server.url)
        if example.language == "console":
            return await self._console(text, server)
        if example.language == "sh":
            waits = bool(serves) and not text.rstrip().endswith("&") and text.rstrip().endswith(serves[-1])
            return await (self._serve(text, server) if waits else self._shell(text, server))
        had = await _mails(server)
        faults = await self._program(example.language, before + text + after, server)
        sends = not faults and not (before or after)
        return faults + (["no mail was sent"] if sends and await _mails(server) == had else [])

    def _here(self, text: str, url: str) -> str:
        """An example as it has to be said here."""
        place = url.removeprefix("http://")
        for written, word in {**self.words, "localhost:8080": place, "PORT=8080": f"PORT={place[-5:]}"}.items():
            text = text.replace(written, word)
        return text

    async def _console(self, text: str, server: Mailsvc) -> list[str]:
        """Each command, and whether it prints what is shown. What only looks is done again until it does."""
        for command, shown in steps(text):
            for _ in range(1 if _CHANGES.search(command) else 100):
                code, out, err = await self._run("bash", "-c", self.transcript.real(command), server=server)
                faults = self.transcript.faults(shown, out) if shown else []
                if not faults:
                    break
                await asyncio.sleep(0.05)
            if code or faults:
                return [f"$ {command}", f"exit code {code}", *faults, err]
        return []

    async def _shell(self, text: str, server: Mailsvc) -> list[str]:
        """All commands in one shell, none of which fails."""
        code, out, err = await self._run("bash", "-euc", text.replace("…", "x" * 20), server=server)
        return [out, err, f"exit code {code}"] if code else []

    async def _serve(self, text: str, server: Mailsvc) -> list[str]:
        """The same, of which the last one is a server in the foreground: it is ended once it serves."""
        path = self.folder / "bin" / f"{len(self._groups)}.out"
        with path.open("w") as out:
            process = await self._start(
                "bash", "-euc", text.replace("…", "x" * 20), server=server, stdout=out, stderr=out
            )
            async with asyncio.timeout(PATIENCE):
                while SERVING not in path.read_text() and process.returncode is None:
                    await asyncio.sleep(0.05)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            await asyncio.wait_for(process.wait(), PATIENCE)
        self.own = None
        return [] if SERVING in path.read_text() else [path.read_text(), f"exit code {process.returncode}"]

    async def _program(self, language: str, text: str, server: Mailsvc) -> list[str]:
        file = self.folder / f"example.{'mjs' if language == 'javascript' else 'py'}"
        file.write_text(text)
        if language == "javascript" and not (link := self.folder / "node_modules").exists():
            link.symlink_to(JAVASCRIPT / "node_modules")
        code, out, err = await self._run("node" if language == "javascript" else "python", str(file), server=server)
        return [out, err, f"exit code {code}"] if code else []

    async def _run(self, *command: str, server: Mailsvc) -> tuple[int, str, str]:
        """Into files of its own, which those that go on in the background may keep open."""
        paths = [self.folder / "bin" / f"{len(self._groups)}.{kind}" for kind in ("out", "err")]
        with paths[0].open("w") as out, paths[1].open("w") as err:
            process = await self._start(*command, server=server, stdout=out, stderr=err)
            code = await asyncio.wait_for(process.wait(), PATIENCE)
        return code, paths[0].read_text(), paths[1].read_text()

    async def _start(self, *command: str, server: Mailsvc, **streams: Any) -> asyncio.subprocess.Process:
        keyed = server.settings.get("MAILSVC_API_KEY")
        settings = environment(
            MAILSVC_URL=self.own or server.url, **({"MAILSVC_API_KEY": keyed, "KEY": keyed} if keyed else {})
        )
        if self.own:
            settings["PORT"] = self.own.rpartition(":")[2]
        if isinstance(server, Smtp):
            settings["SMTP_PORT"] = str(server.port)
        settings["PATH"] = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.folder, env=settings, stdin=asyncio.subprocess.DEVNULL, start_new_session=True, **streams
        )
        self._groups.append(process.pid)
        return process


def _command(path: Path, what: str) -> None:
    """What an installation puts into the path."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {what}\n')
    path.chmod(0o755)


def _free_port() -> int:
    """One that is not among those that a system gives out by itself, so that it is still free a moment later."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


async def _mails(server: Mailsvc) -> int:
    key = server.settings.get("MAILSVC_API_KEY", "")
    _, _, body = await server.call("GET", "/email?limit=100", headers=bearer(key) if key else {})
    return len(body["data"])
