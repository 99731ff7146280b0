"""`mailsvc doctor` at real set-ups: what is broken is named with what to do, what is well is not complained about."""

import json
import socket
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import Mailsvc, run
from tests.fakes import Certificate, FakeProvider
from tests.postgres import PostgresServer

KEYS = {
    "SENDGRID_API_KEY": f"SG.{'a' * 22}.{'b' * 43}",
    "MANDRILL_API_KEY": f"md-{'c' * 22}",
    "MAILSVC_API_KEY": "k" * 32,
    "MAILSVC_FROM": "Shop <orders@shop.mailsvc.dev>",
}
Findings = dict[str, list[dict[str, str]]]


async def examined(folder: Path, *options: str, **settings: str) -> tuple[int, Findings]:
    """Exit code, and the findings by their subject."""
    code, out, err = await run(folder, "doctor", "--json", *options, **settings)
    assert err == ""
    said: dict[str, Any] = json.loads(out)
    assert said["exit_code"] == code
    found: Findings = {}
    for finding in said["findings"]:
        found.setdefault(finding["subject"], []).append(finding)
    return code, found


def failures(found: Findings) -> dict[str, str]:
    """What fails, by its subject, in one text with what to do."""
    return {
        subject: " -> ".join(each[part] for each in findings for part in ("found", "fix") if each["level"] == "fail")
        for subject, findings in found.items()
        if any(each["level"] == "fail" for each in findings)
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def used(folder: Path) -> Path:
    """A database with a mail in it, that nobody owns."""
    async with Mailsvc(folder) as service:
        await service.settled(await service.post())
        service.terminate()
        await service.ended()
    return folder / "mailsvc.db"


def change(database: Path, statement: str) -> None:
    connection = sqlite3.connect(database)
    connection.execute(statement)
    connection.commit()
    connection.close()


async def test_a_good_set_up_has_nothing_to_mend(tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    async with FakeProvider(certificate=certificate) as sendgrid, FakeProvider() as mandrill:
        urls = {"SENDGRID_URL": sendgrid.url, "MANDRILL_URL": mandrill.url, "SSL_CERT_FILE": str(certificate.cafile)}
        before = names(tmp_path)
        code, found = await examined(tmp_path, **KEYS, **urls)
        asked = sendgrid.ledger + mandrill.ledger

    assert (code, failures(found)) == (0, {})
    assert "can be reached" in found["sendgrid"][0]["found"]
    assert "can be reached" in found["mandrill"][0]["found"]
    for name in KEYS:
        assert name in found["settings"][0]["found"]
    assert [found[subject][0]["level"] for subject in ("database", "room", "port")] == ["ok"] * 3
    assert asked == []
    assert names(tmp_path) == before


async def test_settings_that_cannot_work_are_all_named_and_no_secret_is_shown(tmp_path: Path) -> None:
    settings = {
        "HOST": "0.0.0.0",
        "SENDGRID_API_KEY": "SG.secret",
        "MAILSVC_RETRY": "soon",
        "DATABASE_URL": "mysql://root:secret@localhost/mail",
    }
    code, found = await examined(tmp_path, **settings)

    assert code == 78
    wrong = failures(found)
    assert {"MAILSVC_FROM", "MAILSVC_API_KEY", "MAILSVC_RETRY", "DATABASE_URL"} <= wrong.keys()
    assert "Set a long random key, or HOST=127.0.0.1" in wrong["MAILSVC_API_KEY"]
    assert "set it to an address that is verified there" in wrong["MAILSVC_FROM"]
    assert "such as 5,10,20,40" in wrong["MAILSVC_RETRY"]
    assert "secret" not in str(found)


async def test_providers_that_cannot_be_reached_and_keys_that_do_not_look_like_keys(tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    async with FakeProvider(certificate=certificate) as untrusted:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            refused = f"http://127.0.0.1:{closed.getsockname()[1]}"
            settings = {
                **KEYS,
                "SENDGRID_URL": refused,
                "MANDRILL_URL": untrusted.url,
                "RESEND_API_KEY": "sk_live_secret",
                "RESEND_URL": "https://nowhere.invalid",
            }
            code, found = await examined(tmp_path, **settings)
            offline = await examined(tmp_path, "--offline", **settings)

    wrong = failures(found)
    assert code == 1
    assert "connection refused -> see whether a firewall stops it, whether SENDGRID_URL is right" in wrong["sendgrid"]
    assert "certificate not trusted: self-signed certificate -> is there a proxy in between?" in wrong["mandrill"]
    assert "nowhere.invalid:443 cannot be reached: name not found -> has this machine a network" in wrong["resend"]
    assert found["resend"][0]["level"] == "warn"
    assert "RESEND_API_KEY does not look like a key of resend" in found["resend"][0]["found"]
    assert found["resend"][0]["fix"] == "copy the key again"
    assert "secret" not in str(found)
    assert offline[0] == 0
    assert "was not tried" in offline[1]["sendgrid"][0]["found"]


async def test_a_database_in_memory_does_not_stay(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        code, found = await examined(tmp_path, DATABASE_URL=f"sqlite:///{folder}/mail.db")

    assert code == 1
    assert "is in memory (tmpfs): all mail is gone when the machine ends" in failures(found)["disk"]
    assert "put DATABASE_URL on a disk that stays" in failures(found)["disk"]


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    code, found = await examined(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/missing/mail.db")

    assert code == 78
    assert failures(found)["disk"].startswith(f"the folder {tmp_path}/missing does not exist -> mkdir -p")


async def test_a_file_that_is_not_a_database_of_mailsvc(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("These are no mails. " * 1000)
    change(tmp_path / "other.db", "CREATE TABLE shoes (size INTEGER)")
    text = await examined(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/text.db")
    other = await examined(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/other.db")

    assert (text[0], other[0]) == (78, 78)
    assert "is not an SQLite database -> set DATABASE_URL right" in failures(text[1])["database"]
    assert "is the database of another program -> set DATABASE_URL right" in failures(other[1])["database"]


@pytest.mark.sqlite
async def test_a_damaged_database(tmp_path: Path) -> None:
    database = await used(tmp_path)
    damaged = bytearray(database.read_bytes())
    damaged[8192 : 5 * 8192] = b"\xaa" * 4 * 8192
    database.write_bytes(damaged)
    code, found = await examined(tmp_path)

    assert code == 1
    assert "damaged" in failures(found)["database"]
    assert "restore a backup" in failures(found)["database"]


@pytest.mark.sqlite
async def test_a_database_from_the_future_or_from_long_ago(tmp_path: Path) -> None:
    database = await used(tmp_path)
    change(database, "PRAGMA user_version = 1")
    old = await examined(tmp_path)
    change(database, "PRAGMA user_version = 999")
    new = await examined(tmp_path)

    assert old[0] == 0
    assert "will be brought from schema 1 to" in old[1]["database"][0]["found"]
    assert new[0] == 78
    assert "was written by a newer mailsvc (schema 999)" in failures(new[1])["database"]


@pytest.mark.sqlite
async def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    database = await used(tmp_path)
    change(database, f"UPDATE mail SET created_at = {time.time() + 7200}")
    code, found = await examined(tmp_path)

    assert code == 1
    assert "behind the newest mail in the database -> set the clock and keep it right" in failures(found)["clock"]


async def test_a_port_that_another_program_has(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        code, found = await examined(tmp_path, PORT=port)

    assert code == 1
    assert failures(found) == {"port": f"PORT={port} is used by another program -> stop it, or set PORT to another one"}


@pytest.mark.sqlite
async def test_a_server_that_serves_is_left_alone(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        port = service.url.rpartition(":")[2]
        code, found = await examined(tmp_path, PORT=port)
        mail = await service.settled(await service.post())
        pid = service.process.pid

    assert (code, failures(found)) == (0, {})
    assert f"owned by the running process {pid}" in found["database"][0]["found"]
    assert found["port"][0]["found"] == f"mailsvc is serving on {port}"
    assert mail["status"] == "sent"


@pytest.mark.sqlite
async def test_a_database_that_other_users_can_read(tmp_path: Path) -> None:
    (await used(tmp_path)).chmod(0o644)
    _, found = await examined(tmp_path)

    assert ("warn", f"chmod 600 {tmp_path}/mailsvc.db") in [(each["level"], each["fix"]) for each in found["database"]]


async def test_what_production_would_want(tmp_path: Path) -> None:
    settings = {"MAILSVC_FROM": "shop@example.com", "MAILSVC_FORM": "x", "SENDGRID_API_KEY": KEYS["SENDGRID_API_KEY"]}
    code, out, _ = await run(tmp_path, "doctor", "--offline", **settings)
    warnings = [line for line in out.splitlines() if line.startswith("warn ")]

    assert code == 0
    for words in ("nobody can send from example.com -> set", "One provider -> ", "No API key -> ", "is it misspelt?"):
        assert any(words in line for line in warnings), words
    assert out.splitlines()[-1] == f"0 to mend, {len(warnings)} to think about"


async def test_postgresql_that_can_be_used(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.create()
    empty = await examined(tmp_path, DATABASE_URL=url)
    await run(tmp_path, "migrate", DATABASE_URL=url)
    made = await examined(tmp_path, DATABASE_URL=url)

    assert (empty[0], made[0]) == (0, 0)
    assert "is empty: the first start makes what is needed" in empty[1]["database"][0]["found"]
    assert "is whole and of the newest schema" in made[1]["database"][0]["found"]
    # The server of the tests saves its time.
    assert made[1]["database"][1]["fix"] == "set fsync = on in its postgresql.conf"
    assert "disk" not in made[1]


async def test_postgresql_that_cannot_be_used(tmp_path: Path, postgres: PostgresServer) -> None:
    postgres.run("DO $$ BEGIN CREATE ROLE strict LOGIN PASSWORD 'right'; EXCEPTION WHEN duplicate_object THEN END $$")
    wrong_password = await examined(tmp_path, DATABASE_URL=f"postgres://strict:s3cret@/postgres?host={postgres.folder}")
    no_database = await examined(tmp_path, DATABASE_URL=postgres.url("nowhere"))
    silent = await examined(tmp_path, DATABASE_URL="postgres://me:s3cret@127.0.0.1:9/mail")

    assert (wrong_password[0], no_database[0], silent[0]) == (78, 78, 78)
    assert "password authentication failed" in failures(wrong_password[1])["database"]
    assert 'database "nowhere" does not exist' in failures(no_database[1])["database"]
    assert "PostgreSQL at 127.0.0.1:9" in failures(silent[1])["database"]
    assert "cannot be reached" in failures(silent[1])["database"]
    assert "s3cret" not in str([wrong_password, silent])


async def test_callbacks_are_looked_at_in_the_database_and_at_the_server_that_has_it(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = {"url": "https://127.0.0.1:9/secret"}
    allowed = {"MAILSVC_API_KEY": KEYS["MAILSVC_API_KEY"], "MAILSVC_CALLBACK_ALLOW": "127.0.0.1"}
    allowed["DATABASE_URL"] = file = f"sqlite:///{tmp_path}/mailsvc.db"
    for database in (file, postgres.create()):
        settings = allowed | {"DATABASE_URL": database}
        async with Mailsvc(tmp_path, **settings) as service:
            service.http.headers["Authorization"] = f"Bearer {settings['MAILSVC_API_KEY']}"
            ids = [(await service.call("POST", "/callbacks", json=url))[2]["id"] for _ in range(2)]
            await service.call("PATCH", f"/callbacks/{ids[1]}", json={"enabled": False})
            await service.call("POST", f"/callbacks/{ids[0]}/test")  # which nobody takes
            code, found = await examined(tmp_path, PORT=service.url.rpartition(":")[2], **settings)

        assert (code, [each["level"] for each in found["callbacks"]]) == (0, ["warn", "ok"])
        assert f"{ids[0]} (127.0.0.1) has taken nothing since" in found["callbacks"][0]["found"]
        assert found["callbacks"][0]["found"].endswith(", 1 waiting")
        assert found["callbacks"][1]["found"] == f"{ids[1]} (127.0.0.1) is switched off by hand"
        assert "secret" not in str(found)
    async with Mailsvc(tmp_path, **allowed) as service:
        _, another_key = await examined(
            tmp_path, PORT=service.url.rpartition(":")[2], **allowed | {"MAILSVC_API_KEY": "x" * 32}
        )
        service.terminate()
        await service.ended()
    code, found = await examined(tmp_path, "--offline", **allowed | {"MAILSVC_CALLBACK_ALLOW": "10.0.0.0/8"})

    assert [each["level"] for each in another_key["callbacks"]] == ["ok"]
    assert "`mailsvc callbacks` asks the server" in another_key["callbacks"][0]["found"]
    assert (code, len(found["callbacks"])) == (1, 2)
    assert "name its host in MAILSVC_CALLBACK_ALLOW" in failures(found)["callbacks"]


async def test_the_certificate_for_mail_by_smtp(tmp_path: Path) -> None:
    (other := tmp_path / "other").mkdir()
    good, bad = Certificate.make(tmp_path, ("mail.example.com",)), Certificate.make(other)
    smtp = {"MAILSVC_SMTP": "0", "MAILSVC_SMTP_CERT": str(good.cafile), "MAILSVC_SMTP_KEY": str(good.key)}
    well = await examined(tmp_path, MAILSVC_HOSTS="mail.example.com", **smtp)
    renamed = await examined(tmp_path, MAILSVC_HOSTS="post.example.com", **smtp)
    swapped = await examined(tmp_path, **smtp | {"MAILSVC_SMTP_KEY": str(bad.key)})
    missing = await examined(tmp_path, **smtp | {"MAILSVC_SMTP_CERT": str(tmp_path / "none.pem")})

    assert (well[0], renamed[0], swapped[0], missing[0]) == (0, 0, 78, 78)
    assert "is for mail.example.com, until 20" in well[1]["MAILSVC_SMTP_CERT"][0]["found"]
    assert "and not for post.example.com" in renamed[1]["MAILSVC_SMTP_CERT"][0]["found"]
    assert "MAILSVC_SMTP_KEY must be the key that" in failures(swapped[1])["MAILSVC_SMTP_CERT"]
    assert "No such file" in failures(missing[1])["MAILSVC_SMTP_CERT"]


async def test_the_settings_that_count_are_shown_without_secrets(tmp_path: Path) -> None:
    code, out, err = await run(tmp_path, "config", "--json", POSTMARK_URL="http://127.0.0.1:9", **KEYS)
    table = await run(tmp_path, "config", **KEYS)
    found = {row["name"]: row for row in json.loads(out)}

    assert (code, table[0], table[2]) == (0, 0, "")
    assert err == "note: POSTMARK_URL is set, but POSTMARK_SERVER_TOKEN is not, so postmark is not used\n"
    assert found["MAILSVC_TIMEOUT"] == {"name": "MAILSVC_TIMEOUT", "value": "30", "origin": "default"}
    assert found["SENDGRID_API_KEY"] == {"name": "SENDGRID_API_KEY", "value": "***", "origin": "environment"}
    assert not [key for key in KEYS.values() if key.startswith(("SG.", "md-", "kkk")) and key in out + table[1]]
