"""`mailsvc backup` and `mailsvc migrate`: while a server serves, and while none does."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.process import FORM, Mailsvc, run
from tests.postgres import PostgresServer

KEY = "k" * 32
BEARER = {"Authorization": f"Bearer {KEY}"}


def count(path: Path, status: str = "sent") -> int:
    """The mails of a status in a backup."""
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM mail WHERE status = ?", (status,)).fetchone()[0])
    finally:
        connection.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.sqlite
async def test_a_backup_is_made_while_mails_go_in_and_can_be_served_from(tmp_path: Path) -> None:
    saved = tmp_path / "saved.db"
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        ids, port = [], service.url.rpartition(":")[2]
        ended = asyncio.Event()

        async def post() -> None:
            while not ended.is_set():
                _, _, body = await service.call("POST", "/email", json=FORM, headers=BEARER)
                ids.append(body["id"])

        posting = [asyncio.create_task(post()) for _ in range(4)]
        while len(ids) < 20:
            await asyncio.sleep(0.01)
        known = list(ids)
        code, out, err = await run(tmp_path, "backup", "saved.db", PORT=port, MAILSVC_API_KEY=KEY)
        after = len(ids)
        ended.set()
        await asyncio.gather(*posting)
    (tmp_path / "restored").mkdir()
    async with Mailsvc(tmp_path / "restored", DATABASE_URL=f"sqlite:///{saved}", MAILSVC_API_KEY=KEY) as service:
        found = [(await service.call("GET", f"/email/{mail_id}", headers=BEARER))[0] for mail_id in known]

    assert (code, err) == (0, "")
    assert "checked" in out
    assert after > len(known)
    assert found == [200] * len(known)
    assert saved.stat().st_mode & 0o777 == 0o600


@pytest.mark.sqlite
async def test_a_backup_is_made_from_the_file_when_no_server_has_it(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        for _ in range(3):
            await service.settled(await service.post())
        await service.kill()
        code, _, err = await run(tmp_path, "backup", "saved.db")
        again = await run(tmp_path, "serve", "--help")

    assert (code, err, again[0]) == (0, "", 0)
    assert count(tmp_path / "saved.db") == 3


@pytest.mark.sqlite
async def test_a_backup_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    async with Mailsvc(tmp_path) as service:
        port = service.url.rpartition(":")[2]
        served = await run(tmp_path, "backup", "precious", PORT=port)
        service.terminate()
        await service.ended()
        alone = await run(tmp_path, "backup", "precious")

    assert (served[0], alone[0]) == (1, 1)
    assert "never overwrites" in served[2]
    assert "never overwrites" in alone[2]
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("key", ["", "wrong", "reader"])
async def test_a_backup_needs_a_key_that_may_do_everything(tmp_path: Path, key: str) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        if key == "reader":
            rules = {"name": "r", "scopes": ["read"]}
            key = (await service.call("POST", "/keys", json=rules, headers=BEARER))[2]["key"]
        before = names(tmp_path)
        code, _, err = await run(tmp_path, "backup", "saved.db", "--url", service.url, MAILSVC_API_KEY=key)
        after = names(tmp_path)

    assert code == 1
    assert "key" in err
    assert after == before


@pytest.mark.sqlite
async def test_a_backup_that_cannot_be_made_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    nothing = await run(tmp_path, "backup", "saved.db")
    nowhere = await run(tmp_path, "backup", "saved.db", "--url", "http://127.0.0.1:9")
    async with Mailsvc(tmp_path) as service:
        await service.kill()
        no_folder = await run(tmp_path, "backup", "missing/saved.db")

    assert (nothing[0], nowhere[0], no_folder[0]) == (1, 1, 78)
    assert "no database at" in nothing[2]
    assert "Is the server running?" in nowhere[2]
    assert "missing/saved.db cannot be written: no such file or directory" in no_folder[2]
    assert not [name for name in names(tmp_path) if "saved" in name]


@pytest.mark.sqlite
async def test_a_damaged_database_gives_no_backup(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        await service.settled(await service.post())
        service.terminate()
        await service.ended()
    damaged = bytearray((tmp_path / "mailsvc.db").read_bytes())
    damaged[8192 : 5 * 8192] = b"\xaa" * 4 * 8192
    (tmp_path / "mailsvc.db").write_bytes(damaged)
    code, _, err = await run(tmp_path, "backup", "saved.db")

    assert code == 74
    assert "damaged" in err
    assert not (tmp_path / "saved.db").exists()


async def test_on_postgresql_its_own_tool_is_named(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.create()
    code, _, err = await run(tmp_path, "backup", "saved.dump", DATABASE_URL=url)
    async with Mailsvc(tmp_path, DATABASE_URL=url) as service:
        status, _, body = await service.call("GET", "/backup")

    assert code == 1
    assert "pg_dump --format=custom --schema=mailsvc --file=saved.dump" in err
    assert (status, body["code"]) == (409, "conflict")
    assert "pg_dump" in body["detail"]


async def test_migrate_brings_the_schema_up_to_date_and_ends(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.create()
    on_file = [await run(tmp_path, "migrate") for _ in range(2)]
    on_server = [await run(tmp_path, "migrate", DATABASE_URL=url) for _ in range(2)]

    for first, second in (on_file, on_server):
        assert (first[0], second[0]) == (0, 0)
        assert ", was 0" in first[1]
        assert "was" not in second[1]
    assert names(tmp_path) == ["mailsvc.db", "mailsvc.db.lock"]


@pytest.mark.sqlite
async def test_migrate_waits_for_nobody_who_owns_the_file(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        code, _, err = await run(tmp_path, "migrate")
        pid = service.process.pid

    assert code == 75
    assert str(pid) in err
