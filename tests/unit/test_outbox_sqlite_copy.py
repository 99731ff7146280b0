"""A copy of the database is of one moment, whatever goes on; it is complete or not there."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from mailsvc.errors import StorageBroken, StorageUnavailable
from mailsvc.outbox.sqlite import SqliteOutbox
from mailsvc.outbox.sqlite.copying import copy
from tests.contract.samples import addition, settlement, start, store
from tests.unit.outbox_sqlite import parts


def ask(path: Path, *questions: str) -> list[object]:
    """The first value of each answer."""
    connection = sqlite3.connect(path)
    try:
        return [connection.execute(question).fetchone()[0] for question in questions]
    finally:
        connection.close()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def save(outbox: SqliteOutbox, path: Path) -> Path:
    """A copy under a name."""
    with await outbox.copy() as file:
        await asyncio.to_thread(path.write_bytes, file.read())
    return path


async def test_a_copy_holds_what_was_committed_and_leaves_nothing_beside_the_database(tmp_path: Path) -> None:
    outbox = await SqliteOutbox.open(str(tmp_path / "mail.db"))
    (sent,) = await start(outbox)
    await outbox.settle([settlement(sent)])
    await store(outbox, addition(), addition())
    before = names(tmp_path)
    saved = await save(outbox, tmp_path / "saved")
    after = names(tmp_path)
    await outbox.close()

    assert after - before == {"saved"}
    assert ask(saved, "SELECT count(*) FROM mail WHERE status = 'queued'", "PRAGMA integrity_check") == [2, "ok"]


async def test_a_copy_is_an_outbox_again(tmp_path: Path) -> None:
    outbox = await SqliteOutbox.open(str(tmp_path / "mail.db"))
    (mail_id,) = await store(outbox)
    await save(outbox, tmp_path / "copy.db")
    await outbox.close()
    restored = await SqliteOutbox.open(str(tmp_path / "copy.db"))
    record = await restored.get(mail_id)
    await restored.close()

    assert record is not None


async def test_copies_are_of_one_moment_while_mails_go_in_and_out(tmp_path: Path) -> None:
    outbox, written, ended = await SqliteOutbox.open(str(tmp_path / "mail.db")), 0, asyncio.Event()

    async def work() -> None:
        nonlocal written
        while not ended.is_set():
            ids = await start(outbox, *(addition() for _ in range(20)))
            await outbox.settle([settlement(mail_id) for mail_id in ids])
            written += len(ids)

    working = [asyncio.create_task(work()) for _ in range(3)]
    spans, saved = [], []
    for number in range(8):
        before = written
        saved.append(await save(outbox, tmp_path / f"{number}"))
        spans.append((before, written))
    ended.set()
    await asyncio.gather(*working)
    await outbox.close()

    for path, (before, _) in zip(saved, spans, strict=True):
        mails, bodies, sent, attempts, whole = ask(
            path,
            "SELECT count(*) FROM mail",
            "SELECT count(*) FROM body",
            "SELECT count(*) FROM mail WHERE status = 'sent'",
            "SELECT count(*) FROM attempt WHERE outcome IS NOT NULL",
            "PRAGMA integrity_check",
        )
        assert (whole, mails, sent) == ("ok", bodies, attempts)
        assert before <= sent  # type: ignore[operator]
    assert any(after > before for before, after in spans), "mails went through while a copy was made"


async def test_a_copy_for_which_there_is_no_room_is_refused_before_it_is_begun(tmp_path: Path) -> None:
    async with parts(tmp_path / "mail.db", reserve=1 << 60) as (outbox, _):
        with pytest.raises(StorageUnavailable, match="no room for a copy"):
            await outbox.copy()


def test_a_copy_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("precious")
    with pytest.raises(FileExistsError):
        copy(tmp_path / "mail.db", tmp_path / "there", alone=True)

    assert (tmp_path / "there").read_text() == "precious"


def test_a_copy_that_fails_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "mail.db").write_bytes(os.urandom(8192))
    with pytest.raises(StorageBroken):
        copy(tmp_path / "mail.db", tmp_path / "copy", alone=True)

    assert names(tmp_path) == {"mail.db"}


def test_a_copy_is_for_its_owners_eyes_alone(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "mail.db").close()
    (tmp_path / "mail.db").touch()
    copy(tmp_path / "mail.db", tmp_path / "copy", alone=True)

    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
