"""The database file: one owner, for its owner's eyes, and nothing else taken for it."""

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from mailsvc.errors import ConfigError, OwnedByAnother, StorageBroken
from mailsvc.listing import Page
from mailsvc.outbox import open_outbox
from tests.contract.samples import addition, store
from tests.unit.outbox_sqlite import other_process, output

OWN_IT = """
async def main():
    outbox = await open_outbox(url)
    say("owned")
    await asyncio.sleep(30)

asyncio.run(main())
"""


async def refusal(url: str, lock_wait: float = 0.0) -> str:
    """What a second owner is told; empty if it is let in, which is closed again."""
    try:
        outbox = await open_outbox(url, lock_wait=lock_wait)
    except OwnedByAnother as error:
        return str(error)
    await outbox.close()
    return ""


def wait_until_owned(process) -> None:
    assert process.stdout.readline() == "owned\n", process.communicate(timeout=10)


async def test_a_second_process_is_told_the_pid_of_the_owner(tmp_path: Path) -> None:
    outbox = await open_outbox(f"sqlite:///{tmp_path}/outbox.db")
    try_it = "try: asyncio.run(open_outbox(url))\nexcept OwnedByAnother as error: say(error)"
    try:
        said = output(other_process(try_it, tmp_path / "outbox.db"))
    finally:
        await outbox.close()

    assert f"process {os.getpid()} " in said[0]


async def test_the_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/outbox.db"
    with other_process(OWN_IT, tmp_path / "outbox.db") as owner:
        wait_until_owned(owner)
        before = await refusal(url)
        owner.kill()
        owner.wait(10)

        assert f"process {owner.pid} " in before
        assert await refusal(url) == ""


async def test_a_process_may_wait_for_the_owner_to_end(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/outbox.db"
    with other_process(OWN_IT, tmp_path / "outbox.db") as owner:
        wait_until_owned(owner)
        waiting = asyncio.create_task(refusal(url, lock_wait=30))
        await asyncio.sleep(0.03)
        waits = not waiting.done()
        owner.kill()

        assert (waits, await waiting) == (True, "")


async def test_waiting_for_the_owner_ends_at_the_time_given(tmp_path: Path) -> None:
    outbox = await open_outbox(f"sqlite:///{tmp_path}/outbox.db")
    try:
        assert await refusal(f"sqlite:///{tmp_path}/outbox.db", lock_wait=0.15)
    finally:
        await outbox.close()


async def test_another_name_for_the_file_is_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "other.db").symlink_to(tmp_path / "outbox.db")
    outbox = await open_outbox(f"sqlite:///{tmp_path}/outbox.db")
    try:
        assert await refusal(f"sqlite:///{tmp_path}/other.db")
    finally:
        await outbox.close()


async def test_a_start_that_fails_leaves_no_lock_behind(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(ConfigError, match="not an SQLite database"):
        await open_outbox(f"sqlite:///{path}")
    path.unlink()

    await (await open_outbox(f"sqlite:///{path}")).close()


@pytest.mark.parametrize("umask", [0o000, 0o277])
async def test_all_files_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        outbox = await open_outbox(f"sqlite:///{tmp_path}/outbox.db")
        await store(outbox, addition())
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in os.listdir(tmp_path)}
    await outbox.close()

    assert set(modes) == {"outbox.db", "outbox.db-wal", "outbox.db-shm", "outbox.db.lock"}
    assert modes["outbox.db"] == 0o600
    assert {mode & 0o077 for mode in modes.values()} == {0}


async def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    await (await open_outbox("sqlite:///outbox.db")).close()

    assert (tmp_path / "outbox.db").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////nowhere/at/all/outbox.db", "the folder /nowhere/at/all does not exist"),
        ("sqlite:////proc", "not a file"),
        ("sqlite:////dev/null/outbox.db", "cannot be opened for writing"),
        ("sqlite:///:memory:", "must be sqlite:///relative.db"),
        ("sqlite:///", "must be sqlite:///relative.db"),
        ("mysql://localhost/mail", "must be sqlite:///relative.db"),
        ("postgres://user:secret@localhost:1/mail", "cannot be reached"),
        ("postgresql://user:secret@localhost:1/mail", "cannot be reached"),
    ],
)
async def test_a_url_that_cannot_be_used_is_explained_without_its_secrets(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        await open_outbox(url)

    assert "secret" not in str(raised.value)


async def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    theirs = sqlite3.connect(path)
    theirs.execute("CREATE TABLE precious (data)")
    theirs.close()
    before = path.read_bytes()

    with pytest.raises(ConfigError, match="another program"):
        await open_outbox(f"sqlite:///{path}")
    assert path.read_bytes() == before


async def test_nothing_is_accepted_into_a_file_that_was_taken_away(tmp_path: Path) -> None:
    outbox = await open_outbox(f"sqlite:///{tmp_path}/outbox.db")
    try:
        (tmp_path / "outbox.db").rename(tmp_path / "moved.db")

        with pytest.raises(StorageBroken, match="moved or deleted"):
            await outbox.add([addition()])
        with pytest.raises(StorageBroken):
            await outbox.ping()
        assert (await outbox.list(Page())).records == []
    finally:
        await outbox.close()
