"""The one place that opens connections outward, for HTTP and SMTP alike. It judges nothing but one thing: whether a
request that has no answer was written. Only then may the mail have gone out.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from types import SimpleNamespace
from typing import Self
from urllib.parse import SplitResult, urlsplit

import aiohttp
import aiosmtplib
from aiohttp.abc import AbstractResolver

from . import __version__
from .errors import NotSent, SendError, Unanswered
from .guard import Guard
from .resolver import GuardedResolver, Inside
from .wire import Answer, HttpRequest, Kept, Request, Response, SmtpReply, SmtpRequest

MAX_ANSWER = 64 * 1024  # bytes of an answer that are read; then the connection is dropped
CONNECT_TIMEOUT = 10.0  # seconds for a new connection, TLS included: who takes longer is not there
# Seconds an idle connection is kept. Less than servers keep theirs, because a request that meets their closing is
# neither answered nor certainly unread.
KEEP_ALIVE = 4.0
LARGE = 1024 * 1024  # bytes; a longer body is written piece by piece, so that other requests get their turn
_HEADERS = {"User-Agent": f"mailsvc/{__version__}", "Accept-Encoding": "identity"}
_MALFORMED = -1  # what aiosmtplib gives as the code of a line that is no SMTP reply


@dataclass(slots=True)
class _Progress:
    """How far a request came."""

    queued: bool = False
    written: bool = False
    stage: str = "connect"
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)

    def failure(self, reason: str) -> SendError:
        """The error that says what this means for the mail."""
        return Unanswered(reason) if self.written else NotSent(reason)


class Fetcher:
    """Sends requests and brings answers. Raises NotSent or Unanswered, with a reason for the operator in one line.

    `timeout` is in seconds, for one request as a whole. `concurrency` is the number of requests at a time that never
    wait for a connection. `cafile` names a PEM file of certificates to trust instead of the system's. HTTP goes only
    where the `guard` lets it, if there is one. Belongs to the loop on which it is first used; `close` it there.
    """

    def __init__(
        self,
        *,
        timeout: float,
        concurrency: int,
        cafile: str | None = None,
        guard: Guard | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._timeout, self._concurrency, self._cafile = timeout, concurrency, cafile
        self._guard, self._resolver = guard, resolver
        self._connect_timeout = min(timeout, CONNECT_TIMEOUT)
        self._session: aiohttp.ClientSession | None = None
        self._smtp_tls: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the kept connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __call__(self, request: Request) -> Answer:
        """Send one request."""
        if isinstance(request, HttpRequest):
            return await self._exchange(request)
        if isinstance(request, SmtpRequest):
            return await self._submit(request)
        return Kept()

    async def _exchange(self, request: HttpRequest) -> Response:
        progress = _Progress()
        if self._guard is not None and (fault := self._guard.fault(request.url)):
            raise NotSent(f"the URL {fault}")
        try:
            async with self._http().request(
                request.method,
                request.url,
                data=request.body if len(request.body) <= LARGE else BytesIO(request.body),
                headers=await _headers(request),
                allow_redirects=False,  # a redirected POST becomes a GET, and other hosts would see the key
                trace_request_ctx=progress,
            ) as answer:
                return await _read(answer)
        except Exception as error:
            # Whatever it is, the drain must learn whether the mail may have gone out.
            raise progress.failure(self._reason(error, progress)) from error

    async def reach(self, request: Request) -> None:
        """Connect to where this request would go, TLS included, and hand nothing over. Raises NotSent with a reason."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                if isinstance(request, HttpRequest):
                    await self._touch(urlsplit(request.url))
                elif isinstance(request, SmtpRequest):
                    await self._greet(request)
        except Exception as error:
            raise NotSent(self._reason(error, _Progress())) from error

    async def _touch(self, url: SplitResult) -> None:
        tls = ssl.create_default_context(cafile=self._cafile) if url.scheme == "https" else None
        _, writer = await asyncio.open_connection(url.hostname, url.port or (443 if tls else 80), ssl=tls)
        writer.close()
        with suppress(OSError):  # reached is reached, however it ends
            await writer.wait_closed()

    async def _greet(self, request: SmtpRequest) -> None:
        client = self._smtp(request)
        try:
            await client.connect(timeout=self._connect_timeout)
            await client.ehlo()
            if request.security == "starttls":
                await client.starttls()
            with suppress(aiosmtplib.SMTPException, OSError):  # the same
                await client.quit()
        finally:
            client.close()
            await asyncio.sleep(0)  # the turn of the loop in which it is closed

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_queued_start.append(_note_queued)
            trace.on_request_headers_sent.append(_note_written)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    # The spare half keeps a request from waiting behind connections that are being given up.
                    limit=2 * self._concurrency,
                    keepalive_timeout=KEEP_ALIVE,
                    use_dns_cache=self._guard is None,
                    resolver=self._names(),
                    ssl=True if self._cafile is None else ssl.create_default_context(cafile=self._cafile),
                ),
                timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=self._connect_timeout),
                headers=_HEADERS,
                skip_auto_headers=("Accept", "Content-Type"),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                trace_configs=[trace],
            )
        return self._session

    def _names(self) -> AbstractResolver | None:
        """Who turns names into addresses; None for the usual."""
        if self._guard is None:
            return self._resolver
        return GuardedResolver(self._guard, self._resolver or aiohttp.ThreadedResolver())

    def _smtp(self, request: SmtpRequest) -> aiosmtplib.SMTP:
        if self._smtp_tls is None and request.security != "plain":
            self._smtp_tls = ssl.create_default_context(cafile=self._cafile)
        return aiosmtplib.SMTP(
            hostname=request.host,
            port=request.port,
            use_tls=request.security == "tls",
            start_tls=False,
            tls_context=self._smtp_tls,
            timeout=None,
            local_hostname=request.sender.rpartition("@")[2],  # the default looks itself up in the DNS
        )

    async def _submit(self, request: SmtpRequest) -> SmtpReply:
        client, progress = self._smtp(request), _Progress()
        try:
            async with asyncio.timeout(self._timeout):
                return await _converse(client, request, progress, self._connect_timeout)
        except Exception as error:
            raise progress.failure(self._reason(error, progress)) from error
        finally:
            client.close()

    def _reason(self, error: BaseException, progress: _Progress) -> str:
        """What went wrong, in words for the operator; nothing that the server said."""
        if isinstance(error, aiosmtplib.SMTPConnectTimeoutError | aiohttp.ConnectionTimeoutError):
            return f"no connection within {self._connect_timeout:g} s"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return _network_reason(error.certificate_error)
        if isinstance(error, aiohttp.ClientConnectorError):
            return _network_reason(error.os_error)
        if isinstance(error, aiosmtplib.SMTPConnectError) and error.__cause__ is not None:
            return _network_reason(error.__cause__)
        if isinstance(error, TimeoutError):
            if progress.queued and not progress.written:
                return f"no connection was free within {self._timeout:g} s: more requests at a time than were announced"
            return f"no {'answer' if progress.written else 'connection'} within {self._timeout:g} s"
        return _network_reason(error)


async def _headers(request: HttpRequest) -> Mapping[str, str]:
    """The headers of this moment; off the event loop when there is much to sign."""
    if request.sign and len(request.body) > LARGE:
        return await asyncio.to_thread(request.headers_at, time.time())
    return request.headers_at(time.time())


async def _note_queued(_: object, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.queued = True


async def _note_written(_: object, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.written = True


async def _read(answer: aiohttp.ClientResponse) -> Response:
    """The answer, its body as far as it came. From here on a broken connection leaves an answer, if a cut one."""
    body, complete = bytearray(), True
    try:
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > MAX_ANSWER:
                answer.close()
                break
    except (aiohttp.ClientError, OSError):
        complete = False
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Response(answer.status, headers, bytes(body[:MAX_ANSWER]), time.time(), complete)


async def _converse(
    client: aiosmtplib.SMTP, request: SmtpRequest, progress: _Progress, connect_timeout: float
) -> SmtpReply:
    """One SMTP transaction, up to the reply that ends it."""
    try:
        reply = await _transact(client, request, progress, connect_timeout)
    except aiosmtplib.SMTPResponseException as error:
        if error.code == _MALFORMED:
            raise
        reply = SmtpReply(progress.stage, error.code, error.message, progress.refused)
    except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, aiosmtplib.SMTPConnectError):
        raise
    except aiosmtplib.SMTPException as error:
        if progress.stage not in ("starttls", "auth"):
            raise
        reply = SmtpReply(progress.stage, None, error.message)
    if client.protocol is not None and client.is_connected:
        client.protocol.write(b"QUIT\r\n")  # and no waiting for the answer: the result stands
    return reply


async def _transact(
    client: aiosmtplib.SMTP, request: SmtpRequest, progress: _Progress, connect_timeout: float
) -> SmtpReply:
    await client.connect(timeout=connect_timeout)
    await client.ehlo()
    if request.security == "starttls":
        progress.stage = "starttls"
        await client.starttls()
        await client.ehlo()
    if request.username is not None and request.password is not None:
        progress.stage = "auth"
        await client.login(request.username, request.password)
    progress.stage = "mail"
    size = [f"SIZE={len(request.data)}"] if client.supports_extension("size") else []
    await client.mail(request.sender, options=size)
    progress.stage = "rcpt"
    for recipient in request.recipients:
        try:
            await client.rcpt(recipient)
        except aiosmtplib.SMTPRecipientRefused as error:
            progress.refused[recipient] = (error.code, error.message)
    if len(progress.refused) == len(request.recipients):
        code, text = next(iter(progress.refused.values()))
        return SmtpReply("rcpt", code, text, progress.refused)
    progress.stage = "data"
    return await _hand_over(client, request.data, progress)


async def _hand_over(client: aiosmtplib.SMTP, data: bytes, progress: _Progress) -> SmtpReply:
    """DATA and the message. In two steps, because only between them it is certain that nothing was handed over."""
    reply = await client.execute_command(b"DATA")
    if reply.code != aiosmtplib.SMTPStatus.start_input or client.protocol is None:
        return SmtpReply("data", reply.code, reply.message, progress.refused)
    progress.written = True
    client.protocol.write(re.sub(rb"(?m)^\.", b"..", data) + b".\r\n")
    reply = await client.protocol.read_response()
    if reply.code != aiosmtplib.SMTPStatus.completed and not 400 <= reply.code < 600:
        raise Unanswered(f"the server said {reply.code} to the message: it may have taken it")
    stage = "done" if reply.code == aiosmtplib.SMTPStatus.completed else "data"
    return SmtpReply(stage, reply.code, reply.message, progress.refused)


def _network_reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS certificate not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS handshake failed: {(error.reason or 'no reason given').replace('_', ' ').lower()}"
    if isinstance(error, Inside | socket.gaierror):
        return str(error) if isinstance(error, Inside) else "name not found"
    if isinstance(error, aiosmtplib.SMTPException) and "STARTTLS" in str(error):
        return "the server offers no STARTTLS"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer was not HTTP"
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return "the answer was not SMTP"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiosmtplib.SMTPServerDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, OSError) and error.errno is None and "Multiple exceptions" in str(error):
        return "no address of this name could be reached"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower() if error.errno > 0 else "the connection failed"
    return f"{type(error).__name__} while sending"
