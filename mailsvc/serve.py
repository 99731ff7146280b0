"""The process: listen, wait for a signal, end without losing anything."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import signal
import socket as network
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from socket import socket
from typing import TYPE_CHECKING

import structlog
from tornado.netutil import bind_sockets

from .assembly import running
from .config import Config
from .errors import ConfigError, OwnedByAnother
from .service import Service
from .web import make_server
from .web.server import FAREWELLS

if TYPE_CHECKING:
    from .smtpd import SmtpServer

OK, UNTRUSTED = 0, 74  # exit codes
AT_ONCE = 130  # exit code after a second interrupt
ANSWERS = 3.0  # seconds that requests in flight have at the end

BACKLOG = 128  # connections that nobody has looked at yet
LOOK = 0.1  # seconds between two tries to get a port
SPARE_FILES = 40  # for the database, the log and the loop
# At how many objects more, and turns, garbage is looked for. Accepting a mail leaves no cycles behind, so looking as
# often as Python does by itself finds next to nothing.
GARBAGE = (10_000, 20, 50)

log = structlog.get_logger("mailsvc.serve")


async def serve(
    config: Config,
    sockets: list[socket] | None = None,
    serving: Callable[[bool], None] | None = None,
    life: int | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code. Raises ConfigError and OwnedByAnother.

    As one of several processes: on `sockets`, and as long as the pipe `life` is open. `serving` is called in place of
    the words for a person, and told whether anybody may call.
    """
    end = asyncio.Event()
    _on_signals(end)
    if life is not None:
        asyncio.get_running_loop().add_reader(life, end.set)
    config = within_files(config)
    async with AsyncExitStack() as stack:
        own = sockets or await _port(stack, config, end)
        service = await _begun(stack, config, end) if own else None
        if service is None:
            log.info("stopped", before="it had begun")
            return OK
        server = make_server(service)
        gc.freeze()  # what is there now stays to the end: looking for garbage in it would hold up requests
        gc.set_threshold(*GARBAGE)
        found = sockets or _open(own, config)
        server.add_sockets(found)
        port = found[0].getsockname()[1]
        smtp = await _smtp(service, shared=sockets is not None)
        log.info("serving", host=config.host, port=port, providers=list(config.providers), live=config.live)
        if serving:
            serving(service.keys.ring.empty)
        else:
            words = banner(config, port, service.keys.ring.empty, smtp.port if smtp else None)
            print(words, flush=True)  # noqa: T201 - for the person who started it
        broken = asyncio.create_task(service.watch.broken.wait(), name="broken")
        ended = asyncio.create_task(end.wait(), name="end")
        await asyncio.wait((broken, ended), return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        await service.stop()
        server.stop()
        await _last_answers(service)
        if smtp:
            await smtp.close()
        await server.close_all_connections()
        for task in (broken, ended):
            task.cancel()
        log.info("stopped")
        return UNTRUSTED if service.watch.broken.is_set() else OK


async def _smtp(service: Service, shared: bool) -> SmtpServer | None:
    """The server for SMTP, if there is to be one. Raises ConfigError."""
    if service.config.smtp_port is None:
        return None
    from .smtpd import SmtpServer  # noqa: PLC0415 - who does not want it does not pay for it

    found = SmtpServer(service)
    await found.open(shared)
    log.info("serving_smtp", host=service.config.host, port=found.port)
    return found


async def _begun(stack: AsyncExitStack, config: Config, end: asyncio.Event) -> Service | None:
    """The service, once the database is ours; None if the end came while another process still had it."""
    begin = asyncio.create_task(stack.enter_async_context(running(config)), name="begin")
    ended = asyncio.create_task(end.wait(), name="ended early")
    await asyncio.wait((begin, ended), return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    if not begin.done():
        begin.cancel()
        await asyncio.wait((begin,))
    return None if begin.cancelled() else begin.result()


def within_files(config: Config) -> Config:
    """The configuration with as many connections as there are files for, after asking the system for enough.

    In either direction: of providers and of callbacks, as many as are in use may be kept for the next time.
    """
    inward = config.max_connections + FAREWELLS + config.smtp_connections
    wanted = inward + 2 * config.concurrency + 2 * config.callbacks + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return config
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == wanted:
        return config
    left = max(24, soft - SPARE_FILES)
    concurrency, callbacks = min(config.concurrency, left // 6), min(config.callbacks, left // 6)
    # Each of those that are turned away, and of those that speak SMTP, are half as many at most.
    connections = min(config.max_connections, (left - 2 * concurrency - 2 * callbacks) // 2)
    log.warning("few_files", allowed=soft, wanted=wanted, connections=connections, concurrency=concurrency)
    return replace(config, max_connections=connections, concurrency=concurrency, callbacks=callbacks)


def listen(config: Config) -> list[socket]:
    """The sockets, on a port that the system has chosen if 0 was asked for; another instance may still have it for a
    while. Blocks. Raises ConfigError, OwnedByAnother.
    """
    deadline = time.monotonic() + config.lock_wait
    while True:
        try:
            return bind_sockets(config.port, config.host)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise _unusable(config, error) from error
        time.sleep(LOOK)


async def _port(stack: AsyncExitStack, config: Config, end: asyncio.Event) -> list[socket]:
    """Sockets with the port, which another instance may still have for a while; none if the end came before.

    Nobody can connect yet: who is sent here early would wait for the database. Raises ConfigError, OwnedByAnother.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + config.lock_wait
    while not end.is_set():
        try:
            return _bind(stack, config)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or loop.time() >= deadline:
                raise _unusable(config, error) from error
        await asyncio.sleep(LOOK)
    return []


def _bind(stack: AsyncExitStack, config: Config) -> list[socket]:
    """One socket for each address of the host, all with the same port, which the system chooses if 0 was asked for."""
    sockets: list[socket] = []
    found = network.getaddrinfo(config.host, config.port, type=network.SOCK_STREAM, flags=network.AI_PASSIVE)
    for family, kind, protocol, _, address in dict.fromkeys(found):
        one = stack.enter_context(socket(family, kind, protocol))
        one.setblocking(False)
        one.setsockopt(network.SOL_SOCKET, network.SO_REUSEADDR, 1)
        if family == network.AF_INET6:
            one.setsockopt(network.IPPROTO_IPV6, network.IPV6_V6ONLY, 1)
        port = sockets[0].getsockname()[1] if sockets else config.port
        one.bind((address[0], port, *address[2:]))
        sockets.append(one)
    return sockets


def _open(sockets: list[socket], config: Config) -> list[socket]:
    """Let clients connect. Raises OwnedByAnother."""
    try:
        for one in sockets:
            one.listen(BACKLOG)
    except OSError as error:
        raise _unusable(config, error) from error
    return sockets


def _unusable(config: Config, error: OSError) -> ConfigError | OwnedByAnother:
    where = f"PORT={config.port} on HOST={config.host}"
    if error.errno == errno.EADDRINUSE:
        return OwnedByAnother(f"{where} is used by another program: stop it, or set PORT to another one")
    return ConfigError([f"{where} cannot be used: {error.strerror or error}"])


async def _last_answers(service: Service) -> None:
    """Let requests in flight get their answers: closing their connections would cut them off."""
    for _ in range(int(ANSWERS / 0.02)):
        if not service.requests:
            return
        await asyncio.sleep(0.02)


def _on_signals(end: asyncio.Event) -> None:
    """SIGTERM once or often: end in peace. SIGINT: the same; twice: now."""
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        if end.is_set():
            os._exit(AT_ONCE)
        end.set()

    loop.add_signal_handler(signal.SIGTERM, end.set)
    loop.add_signal_handler(signal.SIGINT, interrupt)


def banner(config: Config, port: int, open_to_all: bool, smtp_port: int | None = None) -> str:
    """What a person wants to know at the start: where, in which mode, and what to type."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    url = f"http://{host}:{port}"
    mode = "LIVE: mail leaves this machine" if config.live else "SANDBOX: mail is kept and shown, nothing is sent"
    if config.rehearsal:
        mode = "REHEARSAL: three pretended providers with knobs on the page, nothing is sent"
    scores = ", ".join(f"{name} ({settings.score:g})" for name, settings in config.providers.items())
    database = config.database_url.split("@")[-1] if "@" in config.database_url else config.database_url
    key = " -H 'Authorization: Bearer YOUR_KEY'" if not open_to_all else ""
    lines = [
        f"mailsvc is serving at {url}",
        f"  mode       {mode}",
        f"  providers  {scores}",
        f"  database   {database}",
        f"  access     {'open, from this machine only (no MAILSVC_API_KEY)' if open_to_all else 'with an API key'}",
        *([f"  smtp       {host}:{smtp_port}"] if smtp_port else []),
        *(f"  note       {note}" for note in config.notes),
        "Try it:",
        f"  curl{key} -d to=ann@example.com -d subject=Hello -d content='**It works.**' {url}/email",
    ]
    return "\n".join(lines)
