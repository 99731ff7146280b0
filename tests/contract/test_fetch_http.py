"""HTTP requests over real sockets: the answers, whole and cut."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from mailsvc.errors import Unanswered
from mailsvc.fetch import LARGE, MAX_ANSWER, Fetcher
from mailsvc.wire import Keep, Kept
from tests.contract.posting import BODY, answering, fetcher, post, send
from tests.fakes import Certificate, FakeProvider
from tests.fakes.raw import read_request, serving


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
