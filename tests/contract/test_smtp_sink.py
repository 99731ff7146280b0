"""SMTP against a server that others wrote: Postfix's smtp-sink, which takes mails, refuses, hangs up and dawdles."""

import asyncio
import email
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email.policy import default
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mailsvc.fetch import Fetcher
from mailsvc.model import Message, Outcome
from mailsvc.providers.base import Result
from mailsvc.wire import SmtpRequest
from tests.providers.cases import provider
from tests.providers.whole import PIXEL, TABLE, WHOLE

SINK = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"
pytestmark = pytest.mark.skipif(not Path(SINK).exists(), reason="needs smtp-sink of Postfix; make system")


@asynccontextmanager
async def sink(*options: str) -> AsyncIterator[int]:
    """The port on which it listens."""
    process, port = await _begun(*options)
    try:
        yield port
    finally:
        process.kill()
        await process.wait()


async def _begun(*options: str) -> tuple[asyncio.subprocess.Process, int]:
    """One that listens. It cannot be told to choose its port itself: if somebody was quicker, it gets another one."""
    rights = ("-u", "nobody") if os.getuid() == 0 else ()
    for _ in range(5):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        process = await asyncio.create_subprocess_exec(SINK, *rights, *options, f"127.0.0.1:{port}", "50")
        async with asyncio.timeout(30):
            while process.returncode is None:
                if await _listens(port):
                    return process, port
                await asyncio.sleep(0.02)
    raise AssertionError(f"smtp-sink ends with {process.returncode}")


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def send(port: int, message: Message = WHOLE, within: float = 10) -> Result:
    """One mail with everything in it."""
    async with Fetcher(timeout=within, concurrency=1) as fetch:
        return await _send(fetch, port, message)


async def _send(fetch: Fetcher, port: int, message: Message) -> Result:
    found = provider("smtp", SMTP_URL=f"smtp://127.0.0.1:{port}")
    try:
        return found.read(await fetch(found.request(message)), message)
    except Exception as error:
        return Result(Outcome.UNANSWERED, type(error).__name__)


@pytest.fixture
def dump() -> Iterator[Path]:
    """A file that the user of the sink may write, out of folders that belong to root alone."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder) / "kept"


async def test_it_keeps_the_mail_as_it_was_written_and_the_copies_unseen_in_the_envelope(dump: Path) -> None:
    async with sink("-D", str(dump)) as port:
        result = await send(port)

    assert result.outcome is Outcome.ACCEPTED, result.detail
    kept = await asyncio.to_thread(dump.read_bytes)
    head, _, mail = kept.partition(b"From: ")
    request = provider("smtp").request(WHOLE)
    assert isinstance(request, SmtpRequest)
    for recipient in request.recipients:
        assert b"X-Rcpt-Args: <%b>" % recipient.encode() in head
    assert (b"From: " + mail).rstrip() == request.data.replace(b"\r\n", b"\n").rstrip()
    read = email.message_from_bytes(b"From: " + mail, policy=default)
    assert [part.get_payload(decode=True) for part in read.walk() if part.get_filename()] == [PIXEL, TABLE]


@pytest.mark.parametrize(
    ("options", "outcome", "soft"),
    [
        (("-f", "CONNECT"), Outcome.DOWN, False),
        (("-f", "MAIL"), Outcome.SENDER_REFUSED, False),
        (("-r", "MAIL"), Outcome.RATE_LIMITED, False),
        (("-f", "RCPT"), Outcome.RECIPIENT_REFUSED, False),
        (("-r", "RCPT"), Outcome.RATE_LIMITED, True),
        (("-f", "DATA"), Outcome.REFUSED, False),
        (("-r", "DATA"), Outcome.RATE_LIMITED, False),
        (("-f", "."), Outcome.REFUSED, False),
        (("-r", "."), Outcome.RATE_LIMITED, False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
async def test_a_refusal_means(options: tuple[str, ...], outcome: Outcome, soft: bool) -> None:
    async with sink(*options) as port:
        result = await send(port)

    assert (result.outcome, result.soft) == (outcome, soft), result.detail


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("-q", "RCPT"), "NotSent"),
        (("-q", "DATA"), "NotSent"),
        (("-q", "."), "Unanswered"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
async def test_a_connection_that_is_closed_leaves_a_doubt_only_after_the_mail_was_handed_over(
    options: tuple[str, ...], error: str
) -> None:
    async with sink(*options) as port:
        result = await send(port)

    assert result.detail == error


async def test_a_server_that_dawdles_before_it_takes_the_mail_leaves_no_doubt() -> None:
    async with sink("-w", "30") as port:
        result = await send(port, within=1)

    assert result.detail == "NotSent"


async def test_many_mails_at_once_are_all_taken() -> None:
    async with sink() as port, Fetcher(timeout=20, concurrency=20) as fetch:
        results = await asyncio.gather(*[_send(fetch, port, WHOLE) for _ in range(20)])

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
