"""Programs that check or serve what is in deploy/, and what runs of the project under them."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.process import ROOT, environment

DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent  # where pip puts programs
# Platforms wait for half a minute until they kill; honcho would for five seconds.
HONCHO = "from honcho import command, manager; manager.KILL_WAIT = 30; command.main()"
SERVING = re.compile(r"mailsvc is serving at http://[^:]+:(\d+)")


def tool(name: str, *arguments: str | Path) -> str:
    """What a program that pip has installed says; fails the test when the program is not content."""
    done = subprocess.run([BIN / name, *arguments], check=False, capture_output=True, text=True, timeout=50, cwd=ROOT)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def system_program(name: str, package: str) -> str:
    """The path of a program of the system; without it the test is skipped, or fails where nothing may be left out."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        words = f"{name} is not installed (apt-get install {package}), so what needs it WAS NOT TESTED"
        pytest.fail(words) if os.environ.get("CI") == "true" else pytest.skip(words)
    return found


@dataclass
class Served:
    """What runs by the Procfile: its port, all that it has said, and its exit code in the end."""

    port: int
    said: list[str] = field(default_factory=list)
    code: int | None = None


@asynccontextmanager
async def procfile(**settings: str) -> AsyncIterator[Served]:
    """The Procfile, run by honcho as a platform does, and ended as a platform does."""
    path = {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    command = ["-c", HONCHO, "-d", str(ROOT), "-e", "none", "start", "--no-prefix", "web"]
    honcho = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env=environment(**settings) | path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert honcho.stdout is not None
    served, found = Served(0), None
    while not found:
        line = (await honcho.stdout.readline()).decode()
        assert line, "".join(served.said)
        served.said.append(line)
        found = SERVING.search(line)
    served.port = int(found[1])
    reading = asyncio.create_task(honcho.stdout.read())
    try:
        yield served
    finally:
        if honcho.returncode is None:
            honcho.send_signal(signal.SIGTERM)
        served.said.append((await reading).decode())
        served.code = await honcho.wait()
