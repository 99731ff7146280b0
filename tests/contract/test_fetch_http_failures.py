"""HTTP requests without an answer, over real sockets: whether they were written."""

import asyncio
from pathlib import Path

import pytest

from mailsvc.errors import NotSent, SendError, Unanswered
from tests.contract.posting import answering, fetcher, post, send
from tests.fakes import Certificate, FakeProvider
from tests.fakes.raw import closed_port, read_request, reset, serving

# Nothing of the request was written.


async def test_a_refused_connection_is_not_sent() -> None:
    with closed_port() as held, pytest.raises(NotSent, match=r"connection refused"):
        await send(f"http://127.0.0.1:{held.getsockname()[1]}")


async def test_a_name_that_does_not_exist_is_not_sent() -> None:
    with pytest.raises(NotSent, match=r"name not found"):
        await send("http://nowhere.invalid")


async def test_a_certificate_that_nobody_signed_is_not_sent(tmp_path: Path) -> None:
    async with FakeProvider(certificate=Certificate.make(tmp_path)) as fake:
        with pytest.raises(NotSent, match=r"TLS certificate not trusted: self-signed certificate"):
            await send(fake.url)

    assert fake.ledger == []


async def test_a_certificate_for_another_name_is_not_sent(tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path, names=("other.test",))
    async with FakeProvider(certificate=certificate) as fake:
        with pytest.raises(NotSent, match=r"TLS certificate not trusted: .*127\.0\.0\.1"):
            await send(fake.url, certificate=certificate)


async def test_a_server_that_does_not_speak_tls_is_not_sent() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(handle) as port:
        with pytest.raises(NotSent, match=r"TLS handshake failed: wrong version number"):
            await send(f"https://127.0.0.1:{port}")


async def test_a_reset_during_the_handshake_is_not_sent() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        reset(writer)

    async with serving(handle) as port:
        with pytest.raises(NotSent, match=r"connection reset|closed"):
            await send(f"https://127.0.0.1:{port}")


async def test_a_handshake_that_hangs_is_not_sent() -> None:
    async with serving(lambda _reader, _writer: asyncio.Event().wait()) as port:
        with pytest.raises(NotSent, match=r"no connection within 0\.1 s"):
            await send(f"https://127.0.0.1:{port}", seconds=0.1)


async def test_waiting_for_a_free_connection_is_not_sent_and_says_so() -> None:
    async with serving(lambda _reader, _writer: asyncio.Event().wait()) as port, fetcher(0.3, concurrency=1) as fetch:
        request = post(f"https://127.0.0.1:{port}")  # whose handshake nobody answers
        results = await asyncio.gather(*[fetch(request) for _ in range(3)], return_exceptions=True)

    assert [type(result) for result in results] == [NotSent] * 3
    assert ["no connection was free" in str(result) for result in results] == [False, False, True]


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999"])
async def test_a_url_that_cannot_be_used_is_not_sent(url: str) -> None:
    with pytest.raises(NotSent):
        await send(url)


# It was written, and there is no answer.


async def test_silence_is_unanswered() -> None:
    async with FakeProvider() as fake:
        fake.fault("hang")
        with pytest.raises(Unanswered, match=r"no answer within 0\.5 s"):
            await send(fake.url, seconds=0.5)


@pytest.mark.parametrize("kind", ["reset", "close"])
@pytest.mark.parametrize("at", ["headers", "half", "body"])
async def test_a_connection_that_ends_before_the_answer_is_unanswered(kind: str, at: str) -> None:
    async with FakeProvider() as fake:
        fake.fault(kind, at=at)
        with pytest.raises(Unanswered, match=r"reset|closed"):
            await send(fake.url)

    assert [entry.accepted for entry in fake.ledger] == [False]


@pytest.mark.parametrize("kind", ["reset", "close"])
async def test_a_connection_that_ends_when_it_begins_has_no_answer(kind: str) -> None:
    async with FakeProvider() as fake:
        fake.fault(kind, at="accept")
        with pytest.raises(SendError):
            await send(fake.url)

    assert fake.ledger == []


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 202 Acc",
        b"HTTP/1.1 202 Accepted\r\nX-Message-Id: a\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: minus\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\n" + b"".join(b"X-%d: x\r\n" % n for n in range(10_000)) + b"\r\n",
    ],
    ids=[
        "cut status line",
        "cut headers",
        "another protocol",
        "binary",
        "bad length",
        "20 kB header",
        "10,000 headers",
    ],
)
async def test_an_answer_that_is_no_http_is_unanswered_and_never_the_providers_400(raw: bytes) -> None:
    async with answering(raw) as port:
        with pytest.raises(Unanswered):
            await send(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(("kind", "size"), [("garbage", 0), ("flood", 20_000)])
async def test_a_provider_that_stopped_speaking_http_is_unanswered(kind: str, size: int) -> None:
    async with FakeProvider() as fake:
        fake.fault(kind, size=size, accepted=True)
        with pytest.raises(Unanswered, match="not HTTP"):
            await send(fake.url)

    assert fake.accepted("m1") == 1


async def test_a_kept_connection_that_closes_at_the_wrong_instant_is_unanswered_and_nothing_is_sent_again() -> None:
    seen = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n")
        seen.append(await read_request(reader))

    async with serving(handle) as port, fetcher() as fetch:
        await fetch(post(f"http://127.0.0.1:{port}"))
        with pytest.raises(Unanswered, match=r"closed without an answer"):
            await fetch(post(f"http://127.0.0.1:{port}"))

    assert len(seen) == 2


async def test_a_dripping_answer_does_not_extend_the_time() -> None:
    loop = asyncio.get_running_loop()
    async with FakeProvider() as fake:
        fake.fault("drip", seconds=0.2)  # all of it takes half a minute
        began = loop.time()
        with pytest.raises(Unanswered, match=r"no answer within 0\.5 s"):
            await send(fake.url, seconds=0.5)

    assert loop.time() - began < 15


async def test_a_dripping_body_does_not_extend_the_time() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 202 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    async with serving(handle) as port:
        answer = await send(f"http://127.0.0.1:{port}", seconds=1)

    assert (answer.status, answer.complete) == (202, False)
    assert 0 < len(answer.body) < 1000
