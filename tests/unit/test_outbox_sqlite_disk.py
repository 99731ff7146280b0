"""What reaches the disk, and what happens when the disk or the process fails; in processes of their own."""

import re
import sqlite3
from pathlib import Path

import pytest

from mailsvc.errors import StorageBroken
from mailsvc.model import Status
from mailsvc.outbox import open_outbox
from tests.contract.samples import NOW, addition, shown, store
from tests.unit.outbox_sqlite import other_process, output, strace

EACH_METHOD = """
async def main():
    outbox = await open_outbox(url)
    say("MARK add"); ids = await store(outbox, addition(), addition())
    say("MARK claim"); await outbox.claim(2, NOW, 60)
    say("MARK begin"); await outbox.begin([beginning(each) for each in ids])
    say("MARK settle"); await outbox.settle([settlement(ids[0]), settlement(ids[1])])
    say("MARK claim nothing"); await outbox.claim(2, NOW, 60)
    say("MARK add again"); ids = await store(outbox)
    say("MARK claim again"); await outbox.claim(1, NOW, 60)
    say("MARK release"); await outbox.release(ids, NOW)
    say("MARK providers"); await outbox.save_providers([{"name": "alpha"}])
    say("MARK fifty adds"); await asyncio.gather(*(store(outbox, addition()) for _ in range(50)))
    say("MARK reads"); await outbox.get(ids[0]); await outbox.list(Page()); await outbox.counts(); await outbox.ping()
    say("MARK end")
    await outbox.close()

asyncio.run(main())
"""


def test_what_is_promised_is_synced_once_and_what_may_be_lost_is_not(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    under = strace("-e", "trace=write,fsync,fdatasync", "-o", str(trace))
    output(other_process(EACH_METHOD, tmp_path / "outbox.db", *under))
    syncs: dict[str, int] = {"open": 0}
    for line in trace.read_text().splitlines():
        if mark := re.search(r'write\(1, "MARK ([a-z ]+)', line):
            syncs[mark[1]] = 0
        elif re.search(r"\bf(data)?sync\(\d+", line):
            syncs[list(syncs)[-1]] += 1
    end, opened = syncs.pop("end"), syncs.pop("open")

    assert {mark: number for mark, number in syncs.items() if number} == {
        "add": 1,
        "begin": 1,
        "settle": 1,
        "add again": 1,
        "fifty adds": 1,
    }
    assert {"claim", "claim again", "claim nothing", "release", "providers", "reads"} < syncs.keys()
    assert opened > 0
    assert end > 0


ADD_THRICE = """
async def main():
    outbox = await open_outbox(url)
    for _ in range(3):
        try:
            say("added", *await store(outbox, addition(id=new_id(NOW))))
        except StorageUnavailable as error:
            say(type(error).__name__, error)
    await outbox.close()

asyncio.run(main())
"""


async def test_a_failed_sync_ends_all_trust_and_the_next_owner_checks_the_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/outbox.db"
    await (await open_outbox(url)).close()
    # The first syncs are of the new log's header and of its folder, the third is of the first commit.
    fault = strace("-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=3", "-o", str(tmp_path / "trace"))
    said = output(other_process(ADD_THRICE, tmp_path / "outbox.db", *fault))
    suspect = (tmp_path / "outbox.db.suspect").exists()
    await (await open_outbox(url)).close()

    assert [line.split()[0] for line in said] == ["StorageBroken"] * 3
    assert "fsync" in said[0]
    assert suspect
    assert not (tmp_path / "outbox.db.suspect").exists()


async def test_a_disk_without_room_is_unavailable_until_there_is_room_again(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    await (await open_outbox(f"sqlite:///{path}")).close()
    log = ("-P", f"{path}-wal", "-o", str(tmp_path / "trace"))
    fault = strace("-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC:when=1", *log)
    said = output(other_process(ADD_THRICE, path, *fault))

    assert said[0].startswith("StorageUnavailable the disk is full")
    assert [line.split()[0] for line in said[1:]] == ["added", "added"]


FILE_LIMIT = """
import resource

async def main():
    outbox = await open_outbox(url)
    ids = await store(outbox, addition())
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(url.removeprefix("sqlite:///") + "-wal").st_size, hard))
    try:
        await store(outbox, addition())
    except StorageUnavailable as error:
        say(type(error).__name__, error)
    say(await status(outbox, ids[0]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await store(outbox, addition())
    say(len((await outbox.list(Page())).records))
    await outbox.close()

asyncio.run(main())
"""


def test_a_write_that_the_disk_refuses_changes_nothing(tmp_path: Path) -> None:
    refused, queued, mails = output(other_process(FILE_LIMIT, tmp_path / "outbox.db"))

    assert refused.startswith("StorageUnavailable the disk gave an error")
    assert (queued, mails) == ("queued", "2")


WORK_UNTIL_KILLED = """
async def worker(outbox):
    while True:
        (mail_id,) = await store(outbox, addition(id=new_id(NOW), content="x" * 3000))
        say("added", mail_id)
        for mail in await outbox.claim(1, NOW, 60):
            await outbox.begin([beginning(mail.id)])
            say("begun", mail.id)
            await outbox.settle([settlement(mail.id)])
            say("sent", mail.id)

async def main():
    outbox = await open_outbox(url)
    await outbox.recover(NOW, 60)
    await asyncio.gather(*(worker(outbox) for _ in range(8)))

asyncio.run(main())
"""


def work_and_kill(path: Path, lines: int) -> list[list[str]]:
    """What a process said up to the moment it was killed, a little after so many lines."""
    with other_process(WORK_UNTIL_KILLED, path) as process:
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        rest = process.stdout.read()
        process.stderr.read()
    return [line.split() for line in [*said, *rest.splitlines(keepends=True)] if line.endswith("\n")]


async def test_nothing_that_was_promised_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    promised: dict[str, str] = {}
    for round_ in range(10):
        promised |= {mail_id: word for word, mail_id in work_and_kill(path, 60 + 37 * round_)}
        outbox = await open_outbox(f"sqlite:///{path}")
        doubtful = await outbox.recover(NOW, 60)
        promised |= dict.fromkeys(doubtful, "doubtful")
        found = {mail_id: (await shown(outbox, mail_id)).status for mail_id in promised}
        counts = await outbox.counts()
        await outbox.close()
        check = sqlite3.connect(path)
        sound = check.execute("PRAGMA integrity_check").fetchone()
        bodiless = "SELECT count(*) FROM mail LEFT JOIN body ON body.mail = number WHERE body.mail IS NULL"
        orphans = check.execute(bodiless).fetchone()
        check.close()

        assert (sound, orphans) == (("ok",), (0,))
        assert counts[Status.SENDING] == 0
        for mail_id, word in promised.items():
            assert found[mail_id] in EXPECTED[word], (word, found[mail_id])
    assert len(promised) > 300


# By the last word about a mail: where it may stand after a kill and a recovery.
EXPECTED = {
    "added": {Status.QUEUED, Status.SENT},
    "begun": {Status.UNCERTAIN, Status.SENT},
    "sent": {Status.SENT},
    "doubtful": {Status.UNCERTAIN},
}


async def test_damage_that_is_met_in_use_ends_all_trust(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = await open_outbox(f"sqlite:///{path}")
    ids = await store(outbox, *(addition(content="x" * 50_000) for _ in range(20)))
    await outbox.close()
    content = bytearray(path.read_bytes())
    half = len(content) // 2  # behind it are the bodies of the last mails
    content[half:] = b"\xaa" * (len(content) - half)
    path.write_bytes(content)
    outbox = await open_outbox(f"sqlite:///{path}")
    try:
        with pytest.raises(StorageBroken, match="damaged"):
            await outbox.mail(ids[-1])
        with pytest.raises(StorageBroken):
            await outbox.add([addition()])
    finally:
        await outbox.close()

    with pytest.raises(StorageBroken, match="damaged"):
        await open_outbox(f"sqlite:///{path}")
