"""What the running service does when its disk is full, locked, read-only, damaged or gone."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from mailsvc.outbox import open_outbox
from tests.e2e.process import FORM, Mailsvc
from tests.e2e.storage import UNTRUSTED, Ballast, read_only, small_disk
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider

pytestmark = pytest.mark.sqlite

KIB = 1 << 10
BAD_CONFIG = 78


async def start_and_end(folder: Path, *under: str, **settings: str) -> tuple[int, str]:
    """The exit code and the words of a process that cannot start."""
    service = Mailsvc(folder, *under, **settings)
    try:
        await service.start()
    except RuntimeError as error:
        return await service.ended(), str(error)
    await service.kill()
    raise AssertionError("it has started")


async def test_a_full_disk_takes_no_mail_shows_what_there_is_and_recovers(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    # A database that is there already: its first write-ahead log would be long enough for all that this test writes.
    before = tmp_path / "disk.before"
    before.mkdir(mode=0o700)
    await (await open_outbox(f"sqlite:///{before}/mailsvc.db")).close()
    async with FakeProvider() as sendgrid:
        sendgrid.fault("delay", seconds=1.0)
        settings = live(sendgrid, DATABASE_URL=f"sqlite:///{disk}/mailsvc.db", MAILSVC_RETRY="0.1")
        async with Mailsvc(tmp_path, *small_disk(disk, "8m"), **settings) as service:
            ballast = Ballast(service, disk)
            first = await service.post()
            ballast.leave(700 * KIB)
            refused = await service.call("POST", "/email", json=FORM)
            ready = await service.call("GET", "/readyz")
            alive = await service.call("GET", "/healthz")
            shown = await service.mail(first)
            page = await service.call("GET", "/")
            sent = await service.until(first, "sent")  # there is room for results

            ballast.drop()
            sendgrid.clear()
            sendgrid.fault("delay", seconds=4.0)  # time enough to fill the disk
            second = await service.post()
            await sendgrid.until(lambda: len(sendgrid.ledger) >= 2)
            ballast.leave(0)
            full = await service.call("POST", "/email", json=FORM)
            await service.logged('"event":"result_not_written"')  # the answer is kept until it can be written down
            ballast.drop()
            begun = time.monotonic()
            while (await service.call("POST", "/email", json=FORM))[0] != 202:
                await asyncio.sleep(0.05)
            recovered = time.monotonic() - begun
            later = await service.until(second, "sent")
            ready_again = await service.call("GET", "/readyz")

    for answer in (refused, full):
        assert (answer[0], answer[2]["code"]) == (503, "storage_unavailable")
        assert int(answer[1]["Retry-After"]) > 0
    assert "almost full" in refused[2]["detail"]
    assert (ready[0], alive[0], page[0], ready_again[0]) == (503, 200, 200, 200)
    assert shown["id"] == first
    assert [len(mail["attempts"]) for mail in (sent, later)] == [1, 1]
    assert [sendgrid.accepted(mail_id) for mail_id in (first, second)] == [1, 1]
    assert recovered < 25


async def test_a_lock_of_another_program_is_a_503_and_holds_up_nothing_else(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, Mailsvc(tmp_path, **live(sendgrid)) as service:
        mail_id = await service.post()
        await service.until(mail_id, "sent")
        other = sqlite3.connect(tmp_path / "mailsvc.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        posting = asyncio.create_task(service.call("POST", "/email", json=FORM))
        beside = 0
        while not posting.done():
            assert (await service.call("GET", "/healthz"))[0] == 200
            beside += 1
            await asyncio.sleep(0.01)
        refused = await posting
        other.execute("ROLLBACK")
        other.close()
        after = await service.settled(await service.post())

    assert (refused[0], refused[2]["code"]) == (503, "storage_unavailable")
    assert "another program holds a lock" in refused[2]["detail"]
    assert int(refused[1]["Retry-After"]) > 0
    assert beside > 5
    assert after["status"] == "sent"


async def test_a_file_that_cannot_be_written_ends_the_start_with_words(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    async with Mailsvc(tmp_path / "disk") as service:
        await service.settled(await service.post())
        service.terminate()
        await service.ended()
    code, words = await start_and_end(tmp_path / "disk", *read_only(tmp_path / "disk"))

    assert code == BAD_CONFIG
    assert "mailsvc.db cannot be opened for writing: Read-only file system" in words


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mailsvc.db"
    path.write_bytes(b"some notes that somebody keeps here\n" * 500)
    code, words = await start_and_end(tmp_path)

    assert code == BAD_CONFIG
    assert "is not an SQLite database" in words
    assert path.read_bytes() == b"some notes that somebody keeps here\n" * 500


async def test_a_damaged_database_ends_the_process_and_the_next_start_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "mailsvc.db"
    async with Mailsvc(tmp_path) as service:
        ids = [await service.post(content=f"{number} " * 20_000) for number in range(20)]
        for mail_id in ids:
            await service.settled(mail_id)
        service.terminate()
        await service.ended()
        content = bytearray(path.read_bytes())
        half = len(content) // 2
        content[half:] = b"\xaa" * (len(content) - half)
        path.write_bytes(content)
        await service.start()
        met = await service.call("GET", f"/mail/{ids[-1]}/html")
        code = await asyncio.wait_for(service.ended(), 20)
    next_code, words = await start_and_end(tmp_path)

    assert (met[0], met[2]["code"]) == (503, "storage_unavailable")
    assert (code, next_code) == (UNTRUSTED, UNTRUSTED)
    assert "restore a backup" in words


async def test_a_file_that_was_deleted_in_use_takes_no_mail_and_ends_the_process(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        await service.settled(await service.post())
        service.process.send_signal(signal.SIGSTOP)  # so that it does not find out before it is asked
        (tmp_path / "mailsvc.db").unlink()
        asked = asyncio.create_task(service.call("POST", "/email", json=FORM))
        await asyncio.sleep(0.1)
        service.process.send_signal(signal.SIGCONT)
        refused = await asked
        code = await asyncio.wait_for(service.ended(), 20)

    assert (refused[0], refused[2]["code"]) == (503, "storage_unavailable")
    assert "moved or deleted" in refused[2]["detail"]
    assert code == UNTRUSTED


async def test_the_log_that_a_reader_holds_up_is_cut_once_the_reader_has_gone(tmp_path: Path) -> None:
    log = tmp_path / "mailsvc.db-wal"
    async with Mailsvc(tmp_path, MAILSVC_LOG="error") as service:
        await service.settled(await service.post())
        reader = sqlite3.connect(tmp_path / "mailsvc.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM mail").fetchone()
        large = {"content": "x" * 500_000}
        ids = [await service.post(**large) for _ in range(40)]
        for mail_id in ids:
            await service.settled(mail_id)
        held = log.stat().st_size
        reader.close()
        for _ in range(40):
            await service.settled(await service.post(**large))
            if (cut := log.stat().st_size) < held:
                break

    assert held > 18 << 20
    assert cut < held
