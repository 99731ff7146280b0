"""Mail comes in by SMTP: a key lets a client in, and 250 is said once the mail is on the disk, with its id.

aiosmtpd speaks the protocol. Here is who may come in, how much at a time, and what becomes of a message.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import re
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from .access import NOBODY, ApiKey, Scope
from .errors import ConfigError, Forbidden, InvalidMail, MailsvcError, RateLimited, Unavailable
from .letter import read
from .service import Service
from .submission import parse
from .web.door import WRONG_KEYS, household
from .web.intake import BODIES

LARGE = 256 * 1024  # bytes of a message that is read off the event loop
LONGEST_LINE = 64 * 1024  # bytes; the standard says 998, and many do not know
PATIENCE = 5  # times as long as a client of HTTP may take: a message is one command
_FULL, _CROWDED = "421 4.3.2 Too many connections, try again later", "451 4.3.1 Too much mail at this moment"

_END = b"\r\n.\r\n"  # of a message

log = structlog.get_logger("mailsvc.smtpd")
logging.getLogger("mail.log").disabled = True  # aiosmtpd's own log names addresses


class Door:
    """What aiosmtpd asks about its clients and their messages."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def enter(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
        """Whether the password is an API key that may send; the user's name is not looked at."""
        key = self.service.keys.ring.find(given.password.decode("utf-8", "replace")) if _is_login(given) else None
        if key is None:
            name = f"wrong key {household(_host(session.peer))}"
            wait = self.service.limits.take(name, WRONG_KEYS, time.monotonic())
            return AuthResult(success=False, handled=False, message="454 4.7.0 Too many wrong keys" if wait else None)
        if not key.may(Scope.SEND):
            return AuthResult(success=False, handled=False, message="535 5.7.8 This key has not the scope send")
        return AuthResult(success=True, auth_data=key)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name there
        """A whole message has come, or as much of it as there was room for."""
        if isinstance(server, Conversation) and server.crowded:
            return _CROWDED
        try:
            return await self._accept(self._key(session), envelope)
        except InvalidMail as error:
            return _answer("550 5.6.0", str(error))
        except Forbidden as error:
            return _answer("550 5.7.1", str(error))
        except RateLimited as error:
            return _answer("451 4.7.1", f"{error} Again in {error.wait:.0f} s.")
        except Unavailable as error:
            return _answer("451 4.3.0", str(error))
        except MailsvcError as error:
            return _answer("554 5.6.0", str(error))

    async def handle_exception(self, error: Exception) -> str:
        """A fault of ours: the client keeps the mail and comes again."""
        log.error("smtp_failed", error=type(error).__name__, exc_info=error)
        return "451 4.3.0 Something went wrong here"

    def _key(self, session: Session) -> ApiKey:
        """The key that the client came in with, if it is still good."""
        ring = self.service.keys.ring
        if ring.empty:
            return NOBODY
        given: Any = session.auth_data
        key = ring.get(given.id) if isinstance(given, ApiKey) else None
        if key is None:
            raise Forbidden("This key is good no more.")
        return key

    async def _accept(self, key: ApiKey, envelope: Envelope) -> str:
        raw, recipients = bytes(envelope.original_content or b""), list(envelope.rcpt_tos)
        large = len(raw) > LARGE
        letter = await asyncio.to_thread(read, raw, recipients) if large else read(raw, recipients)
        digest = hashlib.sha256(repr(letter.mails).encode("utf-8", "surrogatepass")).hexdigest()
        submissions = [parse(mail) for mail in letter.mails]
        name = letter.idempotency_key
        added = await self.service.acceptance.accept_all(submissions, key, name, digest if name else "")
        return _answer("250 2.0.0", "queued as " + " ".join(each.id for each in added))


class Conversation(SMTP):
    """One connection. All share the room that there is for bodies, with those of HTTP."""

    line_length_limit = LONGEST_LINE

    def __init__(self, door: Door, open_now: set[Conversation], context: ssl.SSLContext | None) -> None:
        config = door.service.config
        super().__init__(
            door,
            data_size_limit=config.max_body,
            hostname="mailsvc",
            ident="ESMTP",
            tls_context=context,
            timeout=PATIENCE * config.client_timeout,
            authenticator=door.enter,
            loop=asyncio.get_running_loop(),
        )
        self._service, self._open_now = door.service, open_now
        self._held: int | None = None  # bytes of the message that is coming in
        self.crowded = False  # there was no room for all of it
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop; once more when TLS has begun."""
        super().connection_made(transport)
        self._open_now.add(self)
        self._auth_require_tls = not _is_loopback(transport.get_extra_info("peername"))

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop."""
        self._open_now.discard(self)
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Called by the loop with each piece. Once there is no room, the rest of a message is read and dropped."""
        if self._held is None:
            super().data_received(data)
        elif self.crowded:
            self._tail = (self._tail + data)[-len(_END) :]
            if self._tail == _END:
                super().data_received(_END)
        else:
            self._held += len(data)
            self._service.body_bytes += len(data)
            self.crowded = self._service.body_bytes > max(BODIES, 2 * self._service.config.max_body)
            self._tail = data[-len(_END) :]
            super().data_received(data)

    async def check_auth_needed(self, caller_method: str) -> bool:
        """Whether a key is needed and was not given. The first one may have been made a moment ago."""
        self._auth_required = not self._service.keys.ring.empty
        return await super().check_auth_needed(caller_method)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - its name there
        """A message comes. It is a request in flight until it is answered."""
        self._held, self.crowded = 0, False
        self._service.requests += 1
        try:
            await super().smtp_DATA(arg)
        finally:
            self._service.requests -= 1
            self._service.body_bytes -= self._held
            self._held, self.crowded = None, False

    async def push(self, status: Any) -> None:
        """Called with each answer."""
        await super().push(_CROWDED if self.crowded else status)


class Full(asyncio.Protocol):
    """A connection for which there is no room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(f"{_FULL}\r\n".encode())
            transport.close()


class SmtpServer:
    """Listens for SMTP beside HTTP. `port` is the one it has, once it is open."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._server: asyncio.Server | None = None
        self._open_now: set[Conversation] = set()
        self._context = tls_context(service.config.smtp_cert, service.config.smtp_key)
        self.port = 0

    async def open(self, shared: bool = False) -> None:
        """Listen; `shared` with other processes. Raises ConfigError."""
        config, door = self._service.config, Door(self._service)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: (
                    Full()
                    if len(self._open_now) >= config.smtp_connections
                    else Conversation(door, self._open_now, self._context)
                ),
                config.host,
                config.smtp_port,
                reuse_port=shared or None,
            )
        except OSError as error:
            words = error.strerror or str(error)
            raise ConfigError([f"--smtp {config.smtp_port} on HOST={config.host} cannot be used: {words}"]) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Take no new connections and end those that there are: whoever waits for an answer has got it by now."""
        if self._server is None:
            return
        self._server.close()
        for each in list(self._open_now):
            if each.transport is not None:
                with suppress(OSError):
                    each.transport.close()
        await asyncio.sleep(0)


def tls_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """What STARTTLS needs; None without a certificate. Raises ConfigError."""
    if cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key, password="")  # so that nobody is asked for one
    except (OSError, ssl.SSLError) as error:
        words = f"MAILSVC_SMTP_CERT={cert} and MAILSVC_SMTP_KEY={key} cannot be used: {error.strerror or error}"
        raise ConfigError([words]) from error
    return context


def _is_login(given: Any) -> bool:
    return isinstance(given, LoginPassword) and isinstance(given.password, bytes)


def _is_loopback(peer: Any) -> bool:
    try:
        return ipaddress.ip_address(_host(peer)).is_loopback
    except ValueError:
        return False


def _host(peer: Any) -> str:
    """The address of a client, as the loop tells it."""
    return str(peer[0]).partition("%")[0] if isinstance(peer, tuple) and peer else ""


def _answer(code: str, words: str) -> str:
    """One line of ASCII, not too long."""
    return f"{code} {re.sub(r'[^ -~]', '?', words)[:400]}"
