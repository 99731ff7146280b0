"""HTTP requests over real sockets: what came back, or whether the request was written."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailsvc.errors import NotSent, SendError, Unanswered
from mailsvc.fetch import LARGE, MAX_ANSWER, Fetcher
from mailsvc.providers.base import HttpRequest, Keep, Kept, Response
from tests.fakes import Certificate, FakeProvider
from tests.fakes.raw import read_request, reset, serving

BODY = (
    b'{"personalizations":[{"to":[{"email":"a@b.test"}],"custom_args":{"mailsvc_id":"m1"}}],'
    b'"from":{"email":"c@d.test"},"subject":"s","content":[{"type":"text/plain","value":"t"}]}'
)


def post(url: str, body: bytes = BODY, headers: Mapping[str, str] | None = None) -> HttpRequest:
    return HttpRequest(url + "/v3/mail/send", {"Authorization": "Bearer key", **(headers or {})}, body)


@asynccontextmanager
async def fetcher(seconds: float = 5.0, concurrency: int = 8, certificate: Certificate | None = None):
    cafile = str(certificate.cafile) if certificate else None
    async with Fetcher(timeout=seconds, concurrency=concurrency, cafile=cafile) as fetch:
        yield fetch


async def answer_with(raw: bytes, *, then_hang: bool = False) -> AsyncIterator[int]:
    """A server that reads one request, writes these bytes, and closes or goes silent."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(raw)
        await writer.drain()
        if then_hang:
            await asyncio.Event().wait()

    async with serving(handle) as port:
        yield port


answering = asynccontextmanager(answer_with)


async def send(url: str, seconds: float = 5.0, certificate: Certificate | None = None) -> Response:
    async with fetcher(seconds, certificate=certificate) as fetch:
        answer = await fetch(post(url))
    assert isinstance(answer, Response)
    return answer


# Answers.


async def test_an_answer_comes_with_status_headers_in_lower_case_body_and_time() -> None:
    raw = b"HTTP/1.1 400 Bad\r\nX-Message-ID: abc\r\nContent-Length: 2\r\n\r\n{}"
    async with answering(raw) as port:
        answer = await send(f"http://127.0.0.1:{port}")

    assert (answer.status, answer.headers["x-message-id"], answer.body, answer.complete) == (400, "abc", b"{}", True)
    assert answer.at > 1.7e9


async def test_a_mail_reaches_the_provider_over_tls_that_is_verified(tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    async with FakeProvider(certificate=certificate) as fake:
        answer = await send(fake.url, certificate=certificate)

    assert answer.status == 202
    assert [(entry.mail_id, entry.accepted) for entry in fake.ledger] == [("m1", True)]


async def test_connections_are_kept(tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    async with FakeProvider(certificate=certificate) as fake, fetcher(certificate=certificate) as fetch:
        for _ in range(20):
            await fetch(post(fake.url))

    assert (len(fake.ledger), fake.opened) == (20, 1)


async def test_requests_in_flight_do_not_wait_for_each_other() -> None:
    async with FakeProvider() as fake, fetcher(concurrency=8) as fetch:
        fake.fault("hang", times=7)
        silent = [asyncio.create_task(fetch(post(fake.url))) for _ in range(7)]
        await fake.until(lambda: len(fake.ledger) == 7)
        answer = await fetch(post(fake.url))
        for task in silent:
            task.cancel()
        await asyncio.gather(*silent, return_exceptions=True)

    assert answer.status == 202


async def test_a_request_goes_out_without_cookies_and_without_any_encoding_but_identity() -> None:
    seen = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            seen.append(await read_request(reader))
            writer.write(b"HTTP/1.1 202 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")

    async with serving(handle) as port, fetcher() as fetch:
        for _ in range(2):
            await fetch(post(f"http://127.0.0.1:{port}"))

    head = seen[1].partition(b"\r\n\r\n")[0].lower()
    assert b"accept-encoding: identity" in head
    assert b"user-agent: mailsvc/" in head
    assert b"cookie" not in head


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    async with FakeProvider() as fake:
        answer = await send(fake.url)

    assert answer.status == 202


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with FakeProvider() as fake:
        fake.fault("redirect")
        answer = await send(fake.url)

    assert (answer.status, answer.headers["location"]) == (302, "/trap")
    assert fake.trapped == 0


async def test_a_compressed_answer_stays_as_it_is() -> None:
    async with FakeProvider() as fake:
        fake.fault("gzip", size=1_000_000)
        answer = await send(fake.url)

    assert answer.body.startswith(b"\x1f\x8b")
    assert len(answer.body) < 5_000


async def test_an_endless_answer_is_cut_at_the_limit_and_its_connection_dropped() -> None:
    dropped = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 202 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 10_000)
                await writer.drain()
        except ConnectionError:
            dropped.set()

    async with serving(handle) as port, fetcher() as fetch:
        answer = await fetch(post(f"http://127.0.0.1:{port}"))
        await dropped.wait()

    assert (answer.status, len(answer.body), answer.complete) == (202, MAX_ANSWER, True)


async def test_a_huge_answer_is_cut_and_the_next_request_has_a_connection_of_its_own() -> None:
    async with FakeProvider() as fake, fetcher() as fetch:
        fake.fault("huge", size=20 * MAX_ANSWER, times=1)
        first, second = await fetch(post(fake.url)), await fetch(post(fake.url))

    assert (len(first.body), second.status, fake.opened) == (MAX_ANSWER, 202, 2)


async def test_a_large_body_arrives_whole() -> None:
    body = BODY + b" " * 3 * LARGE
    async with FakeProvider() as fake, fetcher() as fetch:
        answer = await fetch(post(fake.url, body))

    assert answer.status == 202
    assert fake.ledger[0].body_sha256 == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("then", ["close", "reset", "hang"])
async def test_an_answer_whose_body_is_cut_is_an_incomplete_answer(then: str) -> None:
    async with FakeProvider() as fake:
        fake.fault("cut", then=then)
        answer = await send(fake.url, seconds=1)

    assert (answer.status, answer.complete) == (202, False)
    assert answer.headers["x-message-id"]


async def test_an_answer_given_before_the_body_was_read_is_an_answer() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
        await asyncio.Event().wait()

    async with serving(handle) as port, fetcher() as fetch:
        answer = await fetch(post(f"http://127.0.0.1:{port}", body=b"x" * 20_000_000))

    assert (answer.status, answer.body) == (413, b"{}")


# Nothing of the request was written.


async def test_a_refused_connection_is_not_sent() -> None:
    async with serving(lambda _reader, _writer: asyncio.sleep(0)) as port:
        pass
    with pytest.raises(NotSent, match=r"connection refused"):
        await send(f"http://127.0.0.1:{port}")


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
        fake.fault("drip", seconds=0.02)
        began = loop.time()
        with pytest.raises(Unanswered, match=r"no answer within 0\.5 s"):
            await send(fake.url, seconds=0.5)

    assert loop.time() - began < 2


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


# The rest.


async def test_cancellation_passes_through_and_drops_the_connection() -> None:
    async with FakeProvider() as fake, fetcher() as fetch:
        fake.fault("hang")
        task = asyncio.create_task(fetch(post(fake.url)))
        await fake.until(lambda: bool(fake.ledger))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await fake.until(lambda: not fake.connections)

    assert fake.opened == 1


async def test_no_reason_shows_the_url_or_the_key() -> None:
    async with FakeProvider() as fake:
        fake.fault("close")
        with pytest.raises(Unanswered) as caught:
            await send(fake.url)

    assert "key" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


async def test_a_mail_to_be_kept_goes_nowhere() -> None:
    async with fetcher() as fetch:
        assert await fetch(Keep()) == Kept()


async def test_a_closed_fetcher_can_be_closed_again() -> None:
    async with FakeProvider() as fake:
        fetch = Fetcher(timeout=5, concurrency=1)
        await fetch(post(fake.url))
        await fetch.close()
        await fetch.close()

        assert fake.opened == 1
