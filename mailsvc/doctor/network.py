"""The providers and the port: does each key look like one, can each host be reached, is the port to be had."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from urllib.parse import urlsplit

from ..address import Mailbox
from ..config import Config
from ..errors import NotSent
from ..fetch import Fetcher
from ..model import Message, new_id
from ..providers import all_providers
from ..providers.base import Provider
from ..wire import HttpRequest, Request, SmtpRequest
from .base import Finding, fail, is_ours, ok, warn

TIMEOUT = 5.0  # seconds for a connection
# Where a connection leads depends on no message; it is made to be asked where it would go, and never sent.
_DOCTOR = Mailbox("doctor@localhost.localdomain")
SAMPLE = Message(new_id(0.0), _DOCTOR, (_DOCTOR,), "doctor", "doctor", "doctor")


async def check(config: Config, *, offline: bool) -> list[Finding]:
    """Each provider. Connections are made, TLS included, and nothing is handed over; none when `offline`."""
    kinds = all_providers()
    providers = [kinds[name](settings) for name, settings in config.providers.items() if name in kinds]
    async with Fetcher(timeout=TIMEOUT, concurrency=len(providers)) as fetcher:
        found = await asyncio.gather(*(_provider(provider, fetcher, offline) for provider in providers))
    return [each for some in found for each in some]


async def port(config: Config) -> list[Finding]:
    """Whether the server can listen where it is told to."""
    if config.port == 0:
        return [ok("port", "any free port will be used")]
    try:
        _bind(config.host, config.port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            words = f"HOST={config.host} PORT={config.port} cannot be used: {(error.strerror or str(error)).lower()}"
            return [fail("port", words, "set HOST and PORT to what this machine and this user have")]
        if await asyncio.to_thread(is_ours, config.port):
            return [ok("port", f"mailsvc is serving on {config.port}")]
        fix = "stop it, or set PORT to another one"
        return [fail("port", f"PORT={config.port} is used by another program", fix)]
    return [ok("port", f"{config.host}:{config.port} is free")]


async def _provider(provider: Provider, fetcher: Fetcher, offline: bool) -> list[Finding]:
    shape = [warn(provider.name, words, "copy the key again") for words in provider.misshapen(provider.settings)]
    place = where(request := provider.request(SAMPLE))
    if not place:
        return [*shape, ok(provider.name, "keeps mail in the database, and sends nothing")]
    if offline:
        return [*shape, ok(provider.name, f"{place} was not tried (--offline)")]
    began = time.perf_counter()
    try:
        await fetcher.reach(request)
    except NotSent as error:
        return [*shape, fail(provider.name, f"{place} cannot be reached: {error}", _hint(str(error), provider))]
    took = (time.perf_counter() - began) * 1000
    return [
        *shape,
        ok(provider.name, f"{place} can be reached ({took:.0f} ms); whether it takes the key, a mail tells"),
    ]


def where(request: Request) -> str:
    """Host and port of a request in words; empty if it goes nowhere."""
    if isinstance(request, HttpRequest):
        url = urlsplit(request.url)
        return f"{url.hostname}:{url.port or (443 if url.scheme == 'https' else 80)}"
    return f"{request.host}:{request.port}" if isinstance(request, SmtpRequest) else ""


def _hint(reason: str, provider: Provider) -> str:
    setting = f"{provider.name.upper()}_URL"
    if "name not found" in reason:
        return f"has this machine a network and DNS? If so, is {setting} right?"
    if "certificate" in reason:
        return f"is there a proxy in between? Trust its authority by SSL_CERT_FILE, or set {setting} right"
    if "TLS" in reason:
        return f"{setting} leads to a server that speaks no TLS, or a proxy is in between"
    return f"see whether a firewall stops it, whether {setting} is right, and what the provider's status page says"


def _bind(host: str, number: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(address)
        trial.listen(1)
