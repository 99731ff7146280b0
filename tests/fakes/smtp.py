"""A mail server that keeps what it is given and refuses what it is told to, on a real socket."""

from __future__ import annotations

import asyncio
import hmac
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from .tls import Certificate

ACTIONS = ("close", "reset", "hang")


@dataclass(frozen=True, slots=True)
class Received:
    """A mail as it arrived. `login` is the user who was logged in, `tls` whether the connection was encrypted."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    tls: bool
    login: str | None

    def parsed(self) -> EmailMessage:
        """As a reader of mail sees it."""
        message = message_from_bytes(self.content, policy=default)
        assert isinstance(message, EmailMessage)
        return message


class MailSink:
    """`async with MailSink(…) as sink`; what it took is in `sink.mails`.

    `script` maps a stage (`connect`, `ehlo`, `starttls`, `auth`, `mail`, `rcpt`, `data`, `content`) to a reply such as
    `550 5.1.1 unknown`, or to `close`, `reset` or `hang`; `rcpt:<address>` is for one recipient. `security` is `tls`,
    `starttls` or `plain`. Without `login` no AUTH is offered.
    """

    def __init__(
        self,
        script: Mapping[str, str] | None = None,
        *,
        security: str = "plain",
        certificate: Certificate | None = None,
        login: tuple[str, str] | None = None,
        size_limit: int = 1024 * 1024,
    ) -> None:
        self.script, self.security, self.login = dict(script or {}), security, login
        self._context = certificate.server_context() if certificate else None
        self._size_limit = size_limit
        self.mails: list[Received] = []
        self.commands: list[str] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._over = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            self._connect, "127.0.0.1", 0, ssl=self._context if self.security == "tls" else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._over = True
        self._server.close()
        await asyncio.gather(*[connection.end() for connection in list(self._connections)])
        await self._server.wait_closed()
        for _ in range(10):
            await asyncio.sleep(0)  # the turns of the loop in which connections are closed that were aborted

    def _connect(self) -> _Connection:
        return _Connection(
            self,
            data_size_limit=self._size_limit,
            hostname="sink.test",
            ident="sink",
            tls_context=self._context if self.security == "starttls" else None,
            auth_require_tls=self.security == "starttls",
            authenticator=self._authenticate,
            loop=asyncio.get_running_loop(),
        )

    def opened(self, connection: _Connection, transport: asyncio.BaseTransport) -> None:
        self._connections.add(connection)
        if self._over:  # accepted in the last instant
            transport.abort()

    def closed(self, connection: _Connection) -> None:
        self._connections.discard(connection)

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: LoginPassword
    ) -> AuthResult:
        wanted = tuple(word.encode() for word in self.login or ("", ""))
        good = hmac.compare_digest(b"\0".join(wanted), b"\0".join((login.login, login.password)))
        return AuthResult(success=good, handled=False, auth_data=login)

    # What aiosmtpd calls.

    async def handle_EHLO(  # noqa: N802 - the name is aiosmtpd's
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [line for line in responses if self.login or not line.startswith("250-AUTH")]

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802 - see above
        if reply := await server.scripted_reply("content"):
            return reply
        user = getattr(session.auth_data, "login", b"").decode() or None
        assert isinstance(envelope.content, bytes)
        received = Received(
            envelope.mail_from or "", tuple(envelope.rcpt_tos), envelope.content, server.encrypted, user
        )
        self.mails.append(received)
        return f"250 2.0.0 Ok: queued as SINK{len(self.mails)}"


class _Connection(SMTP):
    """aiosmtpd's server, with a look into the script before each command."""

    def __init__(self, sink: MailSink, **options: Any) -> None:
        self._sink = sink
        super().__init__(sink, **options)

    @property
    def encrypted(self) -> bool:
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sink.opened(self, transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._sink.closed(self)
        super().connection_lost(error)

    async def end(self) -> None:
        for transport in (self.transport, self._original_transport):
            if transport is not None and not transport.is_closing():
                transport.abort()
        self._handler_coroutine.cancel()
        await asyncio.wait([self._handler_coroutine])

    async def scripted_reply(self, stage: str) -> str | None:
        """The reply that the script has for a stage; an action is done, and nothing comes after it."""
        self._sink.commands.append(stage)
        reply = self._sink.script.get(stage)
        if reply not in ACTIONS:
            return reply
        if reply == "reset":
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if reply != "hang":
            self.transport.abort()
        await asyncio.Event().wait()  # ends when the connection does
        return None

    async def _refused(self, stage: str) -> bool:
        reply = await self.scripted_reply(stage)
        if reply is not None:
            await self.push(reply)
        return reply is not None

    async def _handle_client(self) -> None:
        if await self._refused("connect"):
            self.transport.close()
        else:
            await super()._handle_client()

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802 - the name is aiosmtpd's, as those below
        if not await self._refused("ehlo"):
            await super().smtp_EHLO(hostname)

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802
        if not await self._refused("starttls"):
            await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802
        if not await self._refused("auth"):
            await super().smtp_AUTH(arg)

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        if not await self._refused("mail"):
            await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        address = (arg or "").partition("<")[2].partition(">")[0]
        if not await self._refused(f"rcpt:{address}") and not await self._refused("rcpt"):
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        if not await self._refused("data"):
            await super().smtp_DATA(arg)
