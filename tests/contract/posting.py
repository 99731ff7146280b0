"""What the tests of HTTP requests share: a mail for SendGrid's endpoint, and ways to post it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailsvc.fetch import Fetcher
from mailsvc.wire import HttpRequest, Response
from tests.fakes import Certificate
from tests.fakes.raw import read_request, serving

BODY = (
    b'{"personalizations":[{"to":[{"email":"a@b.test"}],"custom_args":{"mailsvc_id":"m1"}}],'
    b'"from":{"email":"c@d.test"},"subject":"s","content":[{"type":"text/plain","value":"t"}]}'
)


def post(url: str, body: bytes = BODY) -> HttpRequest:
    return HttpRequest(url + "/v3/mail/send", {"Authorization": "Bearer key"}, body)


@asynccontextmanager
async def fetcher(
    seconds: float = 5.0, concurrency: int = 8, certificate: Certificate | None = None
) -> AsyncIterator[Fetcher]:
    cafile = str(certificate.cafile) if certificate else None
    async with Fetcher(timeout=seconds, concurrency=concurrency, cafile=cafile) as fetch:
        yield fetch


async def send(url: str, seconds: float = 5.0, certificate: Certificate | None = None) -> Response:
    async with fetcher(seconds, certificate=certificate) as fetch:
        answer = await fetch(post(url))
    assert isinstance(answer, Response)
    return answer


@asynccontextmanager
async def answering(raw: bytes) -> AsyncIterator[int]:
    """The port of a server that reads one request, writes these bytes, and closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(raw)
        await writer.drain()

    async with serving(handle) as port:
        yield port
