"""The fake provider itself: what it tells about mails must be true, above all when things go wrong."""

import asyncio
import json
import signal
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.fakes import Certificate, FakeProvider, Fault
from tests.fakes.ledger import read

BODY = {
    "personalizations": [{"to": [{"email": "a@b.test"}], "custom_args": {"mailsvc_id": "m1"}}],
    "from": {"email": "c@d.test"},
    "subject": "s",
    "content": [{"type": "text/plain", "value": "t"}],
}
KEY = {"Authorization": "Bearer key"}
REPOSITORY = Path(__file__).parents[2]

# Sends one mail when told to, prints the status line, and stays until it is killed.
CLIENT = """
import json, socket, sys, time
sys.stdin.readline()
body = sys.argv[2].encode()
server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
head = "POST /v3/mail/send HTTP/1.1\\r\\nAuthorization: Bearer key\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body)
server.sendall(head.encode() + body)
server.recv(1000)
time.sleep(60)
"""


@asynccontextmanager
async def posting(fake: FakeProvider) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.create_default_context(cafile=fake.certificate.cafile) if fake.certificate else True
    async with aiohttp.ClientSession(fake.url, connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield session


async def send(session: aiohttp.ClientSession, body: object = BODY, path: str = "/v3/mail/send") -> int:
    async with session.post(path, json=body, headers=KEY, allow_redirects=False) as answer:
        await answer.read()
        return answer.status


async def test_everything_is_accepted_by_default_and_noted(tmp_path: Path) -> None:
    async with FakeProvider(ledger=tmp_path / "ledger") as fake, posting(fake) as session:
        statuses = [await send(session) for _ in range(3)]

    assert statuses == [202, 202, 202]
    assert fake.accepted("m1") == 3
    assert read(tmp_path / "ledger") == fake.ledger


async def test_the_line_is_in_the_file_before_the_answer_is_out(tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    async with FakeProvider(ledger=file) as fake, posting(fake) as session:
        for count in range(1, 20):
            await send(session)

            assert len(file.read_bytes().splitlines()) == count


async def test_a_ledger_goes_on_where_it_ended(tmp_path: Path) -> None:
    for _ in range(2):
        async with FakeProvider(ledger=tmp_path / "ledger", fsync=True) as fake, posting(fake) as session:
            await send(session)

    assert [entry.mail_id for entry in read(tmp_path / "ledger")] == ["m1", "m1"]


async def test_it_speaks_tls(tmp_path: Path) -> None:
    async with FakeProvider(certificate=Certificate.make(tmp_path)) as fake, posting(fake) as session:
        assert await send(session) == 202


async def test_a_chunked_body_is_read() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for byte in json.dumps(BODY).encode():
            yield bytes([byte])

    async with FakeProvider() as fake, posting(fake) as session:
        async with session.post("/v3/mail/send", data=chunks(), headers=KEY) as answer:
            assert answer.status == 202

    assert [(entry.mail_id, entry.bytes_read) for entry in fake.ledger] == [("m1", len(json.dumps(BODY)))]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v3/mail/send", {}, 400),
        ("/v3/mail/send", BODY | {"subject": ""}, 400),
        ("/v3/mail/send", [], 400),
        ("/api/1.0/messages/send", {"message": {}}, 401),
        ("/api/1.0/messages/send.json", {"key": "k", "message": {}}, 422),
        ("/v3/mg.example.com/messages", {}, 401),
        ("/email", {}, 401),
        ("/v3/smtp/email", {}, 401),
        ("/api/v1/transmissions", {}, 422),
        ("/v1/email", {}, 422),
        ("/v2/email/outbound-emails", {}, 403),
        ("/elsewhere", {}, 404),
    ],
)
async def test_what_is_no_mail_is_not_accepted(path: str, body: object, status: int) -> None:
    async with FakeProvider() as fake, posting(fake) as session:
        assert await send(session, body, path) == status

    assert [(entry.answer, entry.accepted) for entry in fake.ledger] == [(str(status), False)]


async def test_a_key_that_is_not_the_right_one_is_refused() -> None:
    async with FakeProvider(keys={"sendgrid": "other"}) as fake, posting(fake) as session:
        assert await send(session) == 401


async def test_a_fault_ends_after_its_times_and_begins_after_some() -> None:
    async with FakeProvider() as fake, posting(fake) as session:
        fake.fault("answer", status=503, after=2, times=3)
        statuses = [await send(session) for _ in range(7)]

    assert statuses == [202, 202, 503, 503, 503, 202, 202]
    assert [entry.accepted for entry in fake.ledger] == [status == 202 for status in statuses]


async def test_a_fault_strikes_the_provider_it_names() -> None:
    async with FakeProvider() as fake, posting(fake) as session:
        fake.fault("answer", status=503, provider="mandrill")

        assert await send(session) == 202


async def test_a_fault_with_a_probability_strikes_as_often_and_the_same_with_the_same_seed() -> None:
    runs = []
    for _ in range(2):
        async with FakeProvider(seed=7) as fake, posting(fake) as session:
            fake.fault("answer", status=503, probability=0.3)
            runs.append([await send(session) for _ in range(200)])

    assert runs[0] == runs[1]
    assert 35 <= Counter(runs[0])[503] <= 85


async def test_an_answer_can_be_anything() -> None:
    async with FakeProvider() as fake, posting(fake) as session:
        fake.fault("answer", status=429, headers={"Retry-After": "7"}, body="slow")
        async with session.post("/v3/mail/send", json=BODY, headers=KEY) as answer:
            assert (answer.status, answer.headers["Retry-After"], await answer.text()) == (429, "7", "slow")


async def test_a_delayed_answer_was_accepted_before_it_came() -> None:
    async with FakeProvider() as fake, posting(fake) as session:
        fake.fault("delay", seconds=0.05)
        sending = asyncio.create_task(send(session))
        await fake.until(lambda: fake.accepted("m1") == 1)
        assert not sending.done()

        assert await sending == 202


@pytest.mark.parametrize(("accepted", "count"), [(True, 1), (False, 0), (None, 0)])
async def test_a_mail_can_be_accepted_in_silence(accepted: bool | None, count: int) -> None:
    async with FakeProvider() as fake, posting(fake) as session:
        fake.fault("hang", accepted=accepted)
        sending = asyncio.create_task(send(session))
        await fake.until(lambda: bool(fake.ledger))
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

    assert fake.accepted("m1") == count
    assert fake.ledger[0].mail_id == "m1"


@pytest.mark.parametrize(
    ("at", "noted", "accepted"),
    [
        ("accept", [], 0),
        ("headers", ["kill"], 0),
        ("half", ["kill"], 0),
        ("body", ["kill"], 0),
        ("answer", ["202, kill"], 1),
    ],
)
async def test_it_kills_a_process_at_an_exact_step(at: str, noted: list[str], accepted: int) -> None:
    async with FakeProvider() as fake:
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENT, str(fake.port), json.dumps(BODY), stdin=asyncio.subprocess.PIPE
        )
        fake.fault("kill", pid=client.pid, at=at)
        await client.communicate(b"go\n")

        assert client.returncode == -signal.SIGKILL
        assert [entry.answer for entry in fake.ledger] == noted
        assert fake.accepted("m1") == accepted


RESEND = {
    "from": "c@d.test",
    "to": ["a@b.test"],
    "subject": "s",
    "text": "t",
    "tags": [{"name": "mailsvc_id", "value": "m1"}],
}


async def resend(session: aiohttp.ClientSession, text: str = "t", key: str = "k-1") -> tuple[int, dict[str, str]]:
    """Status and JSON of a mail with an idempotency key."""
    headers = KEY | {"Idempotency-Key": key}
    async with session.post("/emails", json=RESEND | {"text": text}, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_the_same_request_gets_the_same_answer_and_is_one_mail() -> None:
    async with FakeProvider() as fake, posting(fake) as session:
        first, again, other = await resend(session), await resend(session), await resend(session, key="k-2")

    assert first == again
    assert other[0] == 200
    assert other != first
    assert [(entry.answer, entry.accepted, entry.key) for entry in fake.ledger] == [
        ("200", True, "k-1"),
        ("200, replayed", False, "k-1"),
        ("200", True, "k-2"),
    ]


async def test_the_same_key_with_another_body_is_refused() -> None:
    async with FakeProvider() as fake, posting(fake) as session:
        await resend(session)
        status, document = await resend(session, text="other")

    assert (status, document["name"]) == (409, "invalid_idempotent_request")
    assert fake.accepted("m1") == 1


async def test_the_same_request_is_refused_while_the_first_one_is_at_work() -> None:
    async with FakeProvider() as fake, posting(fake) as session:
        fake.fault("delay", seconds=0.05, times=1)
        first = asyncio.create_task(resend(session))
        await fake.until(lambda: bool(fake.ledger))
        status, document = await resend(session)
        answer = await first
        again = await resend(session)

    assert (status, document["name"]) == (409, "concurrent_idempotent_requests")
    assert answer == again
    assert fake.accepted("m1") == 1


@pytest.mark.parametrize("accepted", [True, False])
async def test_a_key_is_remembered_if_the_mail_was_taken_also_when_nothing_was_said(accepted: bool) -> None:
    async with FakeProvider() as fake, posting(fake) as session:
        fake.fault("close", accepted=accepted, times=1)
        with pytest.raises(aiohttp.ClientError):
            await resend(session)
        await resend(session)

    assert [entry.accepted for entry in fake.ledger] == [accepted, not accepted]


async def test_a_forgetful_one_takes_every_request_for_a_new_one() -> None:
    async with FakeProvider(dedupes=False) as fake, posting(fake) as session:
        await resend(session)
        await resend(session, text="other")

    assert fake.accepted("m1") == 2


async def test_it_can_be_controlled_over_http() -> None:
    async with FakeProvider() as fake, posting(fake) as session:
        async with session.post("/_fault", json={"kind": "answer", "status": 500, "times": 2}) as answer:
            assert [fault["status"] for fault in await answer.json()] == [500]
        assert await send(session) == 500
        async with session.delete("/_fault") as answer:
            assert await answer.json() == []
        assert await send(session) == 202
        async with session.get("/_ledger") as answer:
            lines = (await answer.text()).splitlines()

    assert [json.loads(line)["answer"] for line in lines] == ["500", "202"]


@pytest.mark.parametrize(
    "fault", [{"kind": "quake"}, {"kind": "reset", "at": "dawn"}, {"kind": "kill"}, {"odd": 1}, []]
)
async def test_a_fault_that_makes_no_sense_is_refused_with_the_reason(fault: object) -> None:
    async with FakeProvider() as fake, posting(fake) as session:
        async with session.post("/_fault", json=fault) as answer:
            assert answer.status == 400
            assert (await answer.json())["message"]

    assert fake.faults.on() == []


def test_a_kind_that_happens_at_one_step_only_takes_no_other() -> None:
    with pytest.raises(ValueError, match="have another than body"):
        Fault("answer", at="half")


async def test_it_runs_by_hand(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    arguments = ["-m", "tests.fakes", "--tls", "--certificate", tmp_path, "--ledger", ledger, "--key", "sendgrid=key"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *map(str, arguments), stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().split()[3]
    context = ssl.create_default_context(cafile=tmp_path / "fake.pem")
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(ssl=context)) as session:
        assert await send(session) == 202
    process.terminate()
    said = (await process.communicate())[0].decode()

    assert process.returncode == 0
    assert said == "1 requests, 1 mails accepted\n"
    assert [entry.mail_id for entry in read(ledger)] == ["m1"]


async def test_its_help_has_examples() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes", "--help", stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY
    )
    said = (await process.communicate())[0].decode()

    assert "watch a failover:" in said
    assert "curl localhost:9001/_fault" in said
