"""The image: good in the eyes of a linter, and with all in it that a process needs. Nothing here builds it."""

import asyncio
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.deploy.programs import DEPLOY, ROOT, tool
from tests.e2e.process import Mailsvc

DOCKERFILE = DEPLOY / "Dockerfile"


def copied() -> list[tuple[str, str]]:
    """What the image takes from the project, and where it puts it."""
    return re.findall(r"^COPY (?!--from)(\S+) (\S+)$", DOCKERFILE.read_text(), re.MULTILINE)


def health_check() -> list[str]:
    """The command of the health check."""
    found = re.search(r"^HEALTHCHECK .*\n +CMD (\[.*\])$", DOCKERFILE.read_text(), re.MULTILINE)
    assert found
    return list(json.loads(found[1]))


def test_the_dockerfile_is_good_in_the_eyes_of_hadolint() -> None:
    assert tool("hadolint", DOCKERFILE) == ""


def test_the_linter_finds_a_fault(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN cd /tmp && sudo pip install x\n")
    with pytest.raises(AssertionError, match="DL3004"):
        tool("hadolint", tmp_path / "Dockerfile")


async def test_what_the_image_holds_is_enough_to_serve(tmp_path: Path) -> None:
    for source, target in copied():
        place = tmp_path / target / source if target.endswith("/") else tmp_path / target
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, place)
    async with Mailsvc(tmp_path, PYTHONPATH=str(tmp_path)) as service:
        mail = await service.settled(await service.post())
        page = await service.call("GET", "/", headers={"Accept": "text/html"})

    assert (mail["status"], page[0]) == ("sent", 200)


def test_the_build_context_holds_what_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert lines[1] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == {source for source, _ in copied()}


async def test_the_health_check_tells_a_healthy_process_from_none(tmp_path: Path) -> None:
    program, *arguments = health_check()

    async def check(port: str) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env={"PORT": port}, stderr=asyncio.subprocess.DEVNULL
        )
        return await process.wait()

    async with Mailsvc(tmp_path) as service:
        port = service.url.rpartition(":")[2]
        healthy = await check(port)
    dead = await check(port)

    assert (program, healthy, dead) == ("python", 0, 1)


def test_the_image_runs_as_nobody_special_and_hears_the_signal_itself() -> None:
    text = DOCKERFILE.read_text()
    (command,) = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)

    assert json.loads(command) == ["python", "-m", "mailsvc", "serve"]
    assert re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)[-1] == ("10001", "10001")
