"""What the tests of storage faults share: strace that makes a system call fail or kill, small disks, one whole mail."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.process import FORM, Mailsvc
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider

KEY = {"Idempotency-Key": "the-one-mail"}
KILLED, UNTRUSTED = -9, 74
SETTINGS = {"MAILSVC_UNCERTAIN_AFTER": "0.1", "MAILSVC_RETRY": "0.1"}


def needed(program: str, what: str) -> None:
    """Without the program the test is skipped, or fails where nothing may be left out."""
    if shutil.which(program) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed, so {what} WAS NOT TESTED")


@dataclass(frozen=True)
class Fault:
    """The `when`-th such call of a thread on the database's files fails with an error, or kills the process."""

    call: str
    action: str
    when: int

    def command(self, folder: Path) -> list[str]:
        """What to run a process under; it stays the process itself."""
        files = [word for name in ("mailsvc.db", "mailsvc.db-wal") for word in ("-P", str(folder / name))]
        inject = f"inject={self.call}:{self.action}:when={self.when}"
        fast = ["--seccomp-bpf"] if self.action.startswith("error") else []  # it does not go with a signal
        trace = ["-e", f"trace={self.call}", "-e", inject, "-o", str(folder / "trace")]
        return ["strace", "-D", "-f", "-qq", *fast, *files, *trace, "--"]


@dataclass
class Run:
    """What was seen of one mail on a disk with one fault: the mail at the end, the answers it took, and the exit codes
    of the processes; `codes` is 1 for a process that the fault did not end.
    """

    struck: bool
    mail: dict[str, Any]
    answers: list[tuple[int, str]]
    codes: list[int]
    handed_over: int
    mails: int
    sound: str

    def check(self) -> None:
        """What must be true whatever struck: one mail, sent, handed over once more only for a doubt on record."""
        doubts = sum(attempt["outcome"] in ("interrupted", "unanswered") for attempt in self.mail["attempts"])
        assert (self.mails, self.mail["status"], self.sound) == (1, "sent", "ok"), self
        assert 1 <= self.handed_over <= 1 + doubts, self
        assert {answer for answer in self.answers if answer[0] != 202} <= {
            (503, "storage_unavailable"),
            (503, "shutting_down"),
            (0, "cut"),
        }, self
        assert set(self.codes) <= {0, KILLED, UNTRUSTED}, self


async def one_mail(folder: Path, fault: Fault) -> Run:
    """Accept one mail and send it while the fault strikes; start again whenever the process has ended."""
    async with FakeProvider() as sendgrid:
        service = Mailsvc(folder, *fault.command(folder), **live(sendgrid, **SETTINGS))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as service.http:
            answers: list[tuple[int, str]] = []
            codes: list[int] = []
            mail = await _until_sent(service, answers, codes)
            _, _, listed = await service.call("GET", "/email")
            service.terminate()
            codes.append(await service.ended())
        handed_over = sendgrid.accepted(mail["id"])
    struck = "(INJECTED)" in _text(folder / "trace") or KILLED in codes
    return Run(struck, mail, answers, codes, handed_over, len(listed["data"]), integrity(folder / "mailsvc.db"))


async def _until_sent(service: Mailsvc, answers: list[tuple[int, str]], codes: list[int]) -> dict[str, Any]:
    """Ask for the mail as a client should, with one key, until it is known to be sent."""
    mail_id: str | None = None
    for _ in range(500):
        if service._process is None or service.process.returncode is not None:
            codes += await _started(service)
        try:
            if mail_id is None:
                status, _, body = await service.call("POST", "/email", json=FORM, headers=KEY)
                answers.append((status, "" if status == 202 else body["code"]))
                mail_id = body["id"] if status == 202 else None
            elif (mail := await _shown(service, mail_id))["status"] == "sent":
                return mail
        except aiohttp.ClientError:
            answers.append((0, "cut"))
            with suppress(TimeoutError):  # a process that is about to end is waited for
                await asyncio.wait_for(service.process.wait(), 5)
        await asyncio.sleep(0.02)
    raise AssertionError(f"not sent: {answers} {codes} {service.log[-5:]}")


async def _started(service: Mailsvc) -> list[int]:
    """Start; the exit codes of the process before, and of those that the fault has ended in mid-start."""
    codes = []
    if service._process is not None:
        codes.append(await service.ended())
        service.under = ()  # one fault is enough
    try:
        await service.start()
    except RuntimeError:
        codes += await _started(service)
    return codes


async def _shown(service: Mailsvc, mail_id: str) -> Mapping[str, Any]:
    status, _, mail = await service.call("GET", f"/email/{mail_id}")
    if status == 503:  # a damaged store shows nothing, and its process is about to end
        return {"status": "unknown"}
    assert status == 200, mail
    return dict(mail)


def integrity(path: Path) -> str:
    """What SQLite thinks of a database that nobody uses."""
    database = sqlite3.connect(path)
    try:
        return str(database.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        database.close()


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def small_disk(folder: Path, size: str) -> list[str]:
    """What to run a process under that has a disk of this size, and for itself alone, at `folder`.

    What is in the folder of that name and `.before` lies on it.
    """
    needed("unshare", "a full disk")
    fill = 'if [ -d "$0.before" ]; then cp "$0.before"/* "$0"; fi'
    mount = f'mount -t tmpfs -o size={size},mode=700 tmpfs "$0" && {fill} && exec "$@"'
    return ["unshare", "-rm", "--", "sh", "-c", mount, str(folder)]


def read_only(folder: Path) -> list[str]:
    """What to run a process under for which nothing in this folder can be written."""
    needed("unshare", "a disk that is read-only")
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    return ["unshare", "-rm", "--", "sh", "-c", mount, str(folder)]


class Ballast:
    """A file that fills the small disk of a process, up to so many free bytes."""

    def __init__(self, service: Mailsvc, disk: Path) -> None:
        self._disk = Path(f"/proc/{service.process.pid}/root{disk}")

    def leave(self, free: int) -> None:
        """Fill it."""
        state = os.statvfs(self._disk)
        with (self._disk / "ballast").open("ab") as file:
            with suppress(OSError):  # the disk is full
                file.write(bytes(max(0, state.f_bavail * state.f_frsize - free)))

    def drop(self) -> None:
        """Make room again."""
        (self._disk / "ballast").unlink()
