"""The examples of the docs, executed as they stand there, against the real process."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.process import environment
from tests.e2e.test_keys import FIRST
from tests.e2e.test_smtp_in import Smtp

ROOT = Path(__file__).parents[2]
PAGES = ("clients.md", "migrating.md", "smtp.md")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "javascript": ("node", "--input-type=module", "-"),
    "python": (sys.executable, "-"),
    "sh": ("sh", "-eu"),
}


def examples() -> list[tuple[str, str, str]]:
    """Each example as the name of its page with its number, its language, its text."""
    found = []
    for page in PAGES:
        blocks = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
        found += [
            (f"{page} {n}", language, text) for n, (language, text) in enumerate(blocks, 1) if language in COMMANDS
        ]
    return found


def _command(path: Path) -> None:
    """What an installation puts into the path."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mailsvc "$@"\n')
    path.chmod(0o755)


@pytest.mark.parametrize(("name", "language", "text"), examples(), ids=[name for name, _, _ in examples()])
async def test_an_example_of_the_docs_does_what_it_says(name: str, language: str, text: str, tmp_path: Path) -> None:
    command = COMMANDS[language]
    assert shutil.which(command[0]), f"{command[0]} is needed: make system"
    async with Smtp(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        _command(tmp_path / "mailsvc")
        settings = environment(MAILSVC_URL=service.url, MAILSVC_API_KEY=FIRST, SMTP_PORT=str(service.port))
        settings["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=tmp_path,
            env=settings,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(text.encode()), 40)
        _, _, listed = await service.call("GET", "/email", headers={"Authorization": f"Bearer {FIRST}"})

    assert process.returncode == 0, err.decode()
    assert listed["data"], "it has sent a mail"
    assert "smtp" in name or any(each["id"] in out.decode() for each in listed["data"]), "and says which"
