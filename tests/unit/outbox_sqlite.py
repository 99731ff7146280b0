"""What the tests of the SQLite outbox share: its parts in hand, other processes, and strace."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from mailsvc.outbox.sqlite import LONGEST_LOG, RESERVE, SqliteOutbox, set_up
from mailsvc.outbox.sqlite.engine import Engine
from mailsvc.outbox.sqlite.file import DatabaseFile

ROOT = Path(__file__).parents[2]
PRELUDE = """
import asyncio, os, sys
from mailsvc.outbox import open_outbox
from mailsvc.errors import *
from mailsvc.model import *
from mailsvc.outbox.base import *
from tests.contract.samples import *

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""


@asynccontextmanager
async def parts(
    path: Path, reserve: int = RESERVE, longest_log: int = LONGEST_LOG
) -> AsyncIterator[tuple[SqliteOutbox, Engine]]:
    """The outbox and the engine below it."""
    file = DatabaseFile(str(path))
    await file.acquire(0)
    file.create()
    engine = await Engine.open(file, partial(set_up, file=file))
    outbox = SqliteOutbox(file, engine, reserve, longest_log)
    try:
        yield outbox, engine
    finally:
        await outbox.close()


def other_process(code: str, path: Path, *under: str) -> subprocess.Popen[str]:
    """Run code in a Python of its own, with the database's URL in `url`; `under` is what to run it under."""
    program = f"{PRELUDE}\nurl = 'sqlite:///{path}'\n{code}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*under, sys.executable, "-c", program]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=ROOT)


def output(process: subprocess.Popen[str]) -> list[str]:
    """What the process said, line by line, once it has ended well."""
    out, err = process.communicate(timeout=50)
    assert process.returncode == 0, err
    return out.splitlines()


def strace(*options: str) -> list[str]:
    """A command to run a process under; without strace the test is skipped, or fails where nothing may be left out."""
    if shutil.which("strace") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("strace is not installed: apt-get install strace")
        pytest.skip("strace is not installed, so how often the disk is synced WAS NOT TESTED")
    return ["strace", "-f", "-qq", *options]
