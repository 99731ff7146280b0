"""The real service on a real PostgreSQL: the same answers as on SQLite, and several processes on one database."""

import asyncio
import json
import os
from collections import Counter
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.process import FORM, Mailsvc, run
from tests.e2e.test_bad_input import BODIES
from tests.e2e.test_main_path import live
from tests.e2e.truth import judged
from tests.fakes import FakeProvider
from tests.postgres import PostgresServer
from tests.unit.test_outbox_postgres_open import old_server

ODD_IDS = ["nonsense", "%00", "%ed%a0%80", "01890000-0000-7000-8000-00000000000A", "1" * 5000, "%F0%9F%92%A9", "'; --"]
ODD_QUERIES = [
    "to=%00", "to=a%25", "to=%C3%A9@x.test", "provider=%00", "provider=" + "x" * 5000, "status=nonsense", "status=%00",
    "limit=" + "9" * 50, "limit=-1", "limit=%00", "after=%00", "after=nonsense", "after=" + "9" * 400,
    "after=01890000-0000-7000-8000-000000000000",
]  # fmt: skip
ODD_TEXTS = ["🎉 ' \" \\ \\u0000 %s $1", "\u202e\ufeff\ufffd", "é" * 300, "null", "{}", "\t", "a\u0301"]


async def test_a_mail_goes_in_by_http_and_out_by_the_next_best_provider(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("answer", status=503)
        settings = live(sendgrid, mandrill, DATABASE_URL=postgres.create())
        async with Mailsvc(tmp_path, **settings) as service:
            mail = await service.settled(await service.post())
            code = await _end(service)
            await service.start()
            again = await service.mail(mail["id"])

    assert [(attempt["provider"], attempt["outcome"]) for attempt in mail["attempts"]] == [
        ("sendgrid", "down"),
        ("mandrill", "accepted"),
    ]
    assert (mail["status"], again, code) == ("sent", mail, 0)
    assert os.listdir(tmp_path) == []


async def test_every_input_gets_the_same_answer_as_on_sqlite(tmp_path: Path, postgres: PostgresServer) -> None:
    folders = [tmp_path / name for name in ("sqlite", "postgres")]
    for folder in folders:
        folder.mkdir()
    url = postgres.create()
    async with Mailsvc(folders[0]) as sqlite, Mailsvc(folders[1], DATABASE_URL=url) as other:
        answers = [await _answers(service) for service in (sqlite, other)]
        errors = [line for line in other.log if '"level":"error"' in line]

    assert answers[0] == answers[1]
    assert len(answers[0]) > 100
    assert not any(status >= 500 for _, status, _ in answers[1])
    assert errors == []


async def _answers(service: Mailsvc) -> list[tuple[str, int, str]]:
    """What came of each input: its name, the status, and what of the answer is not new each time."""
    found = []
    for name, headers, data, *_ in BODIES:
        answer = await service.call("POST", "/email", data=BytesIO(data), headers=headers)
        found.append((name, answer))
    for field in ("subject", "to_name", "content", "html", "text"):
        for text in ODD_TEXTS:
            mail = {"to": "ann@example.com", "subject": "Hi", "content": "x", field: text}
            mail |= {"content": None} if field in ("html", "text") else {}
            answer = await service.call("POST", "/email", json=mail)
            found.append((f"{field} {text}", answer))
            if answer[0] == 202:
                kept = await service.mail(answer[2]["id"])
                found.append((f"kept {text}", (200, {}, {"subject": kept["subject"], "from": kept["from"]})))
    for key in ("k", "a" * 256, "a" * 257, "é", "'; --"):
        for mail in (FORM, FORM | {"subject": "other"}):
            answer = await service.call("POST", "/email", json=mail, headers={"Idempotency-Key": key})
            found.append((f"key {key}", answer))
    for path in [f"/email/{odd}" for odd in ODD_IDS] + [f"/email?{query}" for query in ODD_QUERIES]:
        answer = await service.call("GET", path)
        found.append((path, answer))
    return [(name, status, _same(body)) for name, (status, _, body) in found]


def _same(body: object) -> str:
    if not isinstance(body, dict):
        return str(body)
    changing = ("request_id", "id", "created_at", "data", "next")
    return json.dumps({name: value for name, value in body.items() if name not in changing}, sort_keys=True) + str(
        len(body["data"]) if "data" in body else ""
    )


async def test_two_processes_on_one_database_deliver_each_mail_once(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.create()
    async with FakeProvider() as sendgrid:
        sendgrid.fault("delay", seconds=0.02)
        settings = live(sendgrid, DATABASE_URL=url, MAILSVC_CONCURRENCY="8", MAILSVC_LOG="info")
        async with Mailsvc(tmp_path, **settings) as one, Mailsvc(tmp_path, **settings) as other:
            posts = [(one, other)[number % 2].post(to=f"user{number}@example.com") for number in range(400)]
            ids = await asyncio.gather(*posts)
            mails = [await other.until(mail_id, "sent") for mail_id in ids]
            findings = await judged(one, ids, sendgrid)
            seen_by_one = [await one.mail(mail_id) for mail_id in ids[:5]]
            for service in (one, other):
                await _end(service)
    shares = [sum('"event":"attempt"' in line for line in service.log) for service in (one, other)]

    handed_over = Counter(entry.mail_id for entry in sendgrid.ledger if entry.accepted)
    assert handed_over == dict.fromkeys(ids, 1)
    assert (findings.broken, findings.in_doubt) == ((), 0)
    assert seen_by_one == mails[:5]
    assert sum(shares) == 400
    assert min(shares) > 20


async def test_a_mail_accepted_by_a_busy_process_is_sent_by_an_idle_one(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.create()
    async with FakeProvider() as slow, FakeProvider() as quick:
        slow.fault("delay", seconds=20)
        busy = Mailsvc(tmp_path, **live(slow, DATABASE_URL=url, MAILSVC_CONCURRENCY="1"))
        idle = Mailsvc(tmp_path, **live(quick, DATABASE_URL=url))
        async with busy:
            stuck = await busy.post()
            await busy.until(stuck, "sending")
            async with idle:
                ids = [await busy.post() for _ in range(5)]
                mails = [await busy.settled(mail_id) for mail_id in ids]

    assert [mail["status"] for mail in mails] == ["sent"] * 5
    assert [quick.accepted(mail_id) for mail_id in ids] == [1] * 5


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("scheme", "DATABASE_URL must be sqlite:///"),
        ("host", "cannot be reached"),
        ("password", 'password authentication failed for user "keyed"'),
        ("database", 'database "nowhere" does not exist'),
        ("newer", "was written by a newer mailsvc (schema 99"),
        ("read-only", "is read-only: is it a standby?"),
    ],
)
async def test_a_database_that_cannot_be_used_ends_the_start_with_78_and_its_reason(
    tmp_path: Path, postgres: PostgresServer, fault: str, words: str
) -> None:
    secret = "pa55w0rd-CANARY"
    url = postgres.create()
    name = url.split("/")[3].split("?")[0]
    if fault == "scheme":
        url = f"mysql://ann:{secret}@127.0.0.1/mail"
    elif fault == "host":
        url = f"postgres://ann:{secret}@127.0.0.1:1/mail"
    elif fault == "password":
        url, words = postgres.url(name, f"strict:{quote(secret)}"), words.replace("keyed", "strict")
    elif fault == "database":
        url = postgres.url("nowhere", f"postgres:{secret}")
    elif fault == "newer":
        postgres.run("CREATE SCHEMA mailsvc; CREATE TABLE mailsvc.schema_version AS SELECT 99 AS number", database=name)
    else:
        postgres.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    code, out, err = await run(tmp_path, "serve", DATABASE_URL=url)

    assert code == 78
    assert words in err
    assert secret not in out + err
    assert "Traceback" not in err


async def test_a_server_that_is_too_old_ends_the_start_with_78_and_the_doctor_says_the_same(tmp_path: Path) -> None:
    async with old_server("14.9") as port:
        url = f"postgres://ann:pa55w0rd-CANARY@127.0.0.1:{port}/mail?sslmode=disable"
        code, out, err = await run(tmp_path, "serve", DATABASE_URL=url)
        examined, found, _ = await run(tmp_path, "doctor", "--offline", DATABASE_URL=url)

    assert (code, examined) == (78, 78)
    assert "is version 14: 15 or newer is needed" in err
    assert "is version 14: 15 or newer is needed" in found
    assert "CANARY" not in out + err + found


async def _end(service: Mailsvc) -> int:
    service.terminate()
    return await service.ended()
