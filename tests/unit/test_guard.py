"""Where callbacks may go: no spelling and no name leads inside unless the operator has named it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.errors import NotSent
from mailsvc.fetch import Fetcher
from mailsvc.guard import Guard, allowed
from mailsvc.wire import HttpRequest, Response

GUARD = Guard()
# Hosts that are this machine, this network, a cloud's metadata, or lead to them, in every spelling that is known.
INSIDE = [
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "0177.1",
    "017700000001",
    "127.0.0.1.",
    "127.0.1",
    "1.1",
    "0",
    "0.0.0.0",
    "0x0",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:807f:fffe]",
    "[2001:db8::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[ff02::1]",
    "[fec0::1]",
    "[5f00::1]",
    "[100::1]",
    "169.254.169.254",
    "169.254.170.2",
    "2852039166",
    "0xa9fea9fe",
    "100.64.0.1",
    "100.100.100.200",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "a.localhost",
    "router.local",
    "metadata.google.internal",
    "db",
    "db.lan",
    "127.0.0.0x1",
    "example.0x7f",
]
ODD = [
    "",
    "https://",
    "example.com/x",
    "//example.com",
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "https://user@example.com/",
    "https://user:word@example.com/",
    "https://@example.com/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1\\@example.com/",
    "https://example.com\\.evil.example/",
    "https://example.com#@127.0.0.1/",
    "https://example.com/#x",
    "https://example.com:80/",
    "https://example.com:22/",
    "https://example.com:8443/",
    "https://example.com:0/",
    "https://example.com:/",
    "https://example.com:99999/",
    "https://example.com:x/",
    "https://exa mple.com/",
    "https://example.com/\r\nX: y",
    "https://example.com/\x00",
    "https://ex%61mple.com/",
    "https://ⓔxample.com/",
    "https://１２７.0.0.1/",
    "https://-a.example/",
    "https://a..example/",
    "https://.example/",
    "https://[example.com]/",
    "https://[::1",
    "https://[v1.x]/",
    "https://example.com/" + "x" * 2000,
]
GOOD = [
    "https://example.com",
    "https://example.com:443/hooks?token=1&x=%20",
    "https://EXAMPLE.com./a",
    "https://xn--bcher-kva.example/",
    "https://8.8.8.8/hook",
    "https://[2606:4700:4700::1111]/hook",
    "https://a_b.example.com/",
]


@pytest.mark.parametrize("host", INSIDE)
def test_no_spelling_of_a_place_inside_is_accepted(host: str) -> None:
    assert GUARD.fault(f"https://{host}/hook") is not None
    assert GUARD.fault(f"https://{host}:443/") is not None


@pytest.mark.parametrize("url", ODD)
def test_what_is_no_plain_https_url_is_refused(url: str) -> None:
    assert GUARD.fault(url) is not None


@pytest.mark.parametrize("url", GOOD)
def test_what_leads_out_is_accepted(url: str) -> None:
    assert GUARD.fault(url) is None


@pytest.mark.parametrize("host", [host for host in INSIDE if "[" in host or host.count(".") == 3])
def test_no_address_inside_is_connected_to(host: str) -> None:
    assert not GUARD.allows(host.strip("[].").replace("%25", "%"))


@given(st.ip_addresses(v=4))
def test_an_address_in_another_address_is_never_let_through(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    hidden = [
        0xFFFF << 32 | number,
        number,
        (0x64FF9B << 96) | number,
        0x2002 << 112 | number << 80,
        0x2001 << 112 | number,
        0xFE80 << 112 | number,
    ]

    assert not any(GUARD.allows(ipaddress.IPv6Address(each)) for each in hidden)
    if GUARD.allows(address):
        assert address.is_global
        assert not address.is_multicast


def test_what_the_operator_names_is_allowed_and_nothing_beside_it() -> None:
    guard = Guard(allowed("10.1.0.0/16, 127.0.0.1,[::1],Hooks.internal"))

    for url in (
        "http://10.1.2.3:8000/x",
        "https://10.1.2.3",
        "http://127.0.0.1:9/",
        "http://[::1]:9/",
        "http://hooks.internal:8000",
    ):
        assert guard.fault(url) is None, url
    for url in (
        "http://10.2.0.1/",
        "http://127.0.0.2/",
        "http://other.internal/",
        "http://example.com/",
        "http://127.1/",
    ):
        assert guard.fault(url) is not None, url
    assert guard.allows("10.1.9.9")
    assert not guard.allows("10.2.0.1")


@pytest.mark.parametrize(
    "text", ["", ",", "10.0.0.1/8", "http://x", "a b", "x:80", "127.1", "*.internal", "10.0.0.0/8,"]
)
def test_what_cannot_be_named_is_a_fault(text: str) -> None:
    with pytest.raises(ValueError, match="must be networks"):
        allowed(text)


class Names(AbstractResolver):
    """A DNS whose answers change: each is given once, the last one for ever."""

    def __init__(self, *answers: str) -> None:
        self._answers, self.asked = list(answers), 0

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        self.asked += 1
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [ResolveResult(hostname=host, host=found, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


class AnyUrl(Guard):
    """Judges addresses alone, so that a name may lead to the port of a test."""

    def fault(self, url: str) -> str | None:
        return None


@asynccontextmanager
async def listener(host: str, port: int = 0) -> AsyncIterator[tuple[int, list[None]]]:
    """A server that takes everything: its port, and a list that grows with each connection."""
    came: list[None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(None)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, host, port)
    async with server:
        yield server.sockets[0].getsockname()[1], came


INWARDS = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1", "64:ff9b::7f00:1"]


@pytest.mark.parametrize("address", INWARDS)
async def test_a_name_that_leads_inside_is_not_connected_to(address: str) -> None:
    async with listener("127.0.0.1") as (port, came):
        async with Fetcher(timeout=2, concurrency=2, guard=AnyUrl(), resolver=Names(address)) as fetch:
            with pytest.raises(NotSent, match="the name leads to an address that callbacks may not go to"):
                await fetch(HttpRequest(f"http://hooks.example.com:{port}/", {}, b"{}"))

    assert came == []


async def test_a_name_that_leads_out_at_first_and_inside_then_is_judged_each_time() -> None:
    guard = AnyUrl(("127.0.0.2",))  # stands for an address outside
    names = Names("127.0.0.2", "127.0.0.1")
    async with listener("127.0.0.1") as (port, trapped), listener("127.0.0.2", port) as (_, came):
        async with Fetcher(timeout=2, concurrency=2, guard=guard, resolver=names) as fetch:
            request = HttpRequest(f"http://hooks.example.com:{port}/", {}, b"{}")
            answer = await fetch(request)
            with pytest.raises(NotSent, match="may not go to"):
                await fetch(request)

    assert isinstance(answer, Response)
    assert answer.status == 204
    assert (len(came), trapped, names.asked) == (1, [], 2)


async def test_a_name_that_the_operator_has_named_may_lead_inside() -> None:
    async with listener("127.0.0.1") as (port, came):
        guard = Guard(("hooks.internal",))
        async with Fetcher(timeout=2, concurrency=2, guard=guard, resolver=Names("127.0.0.1")) as fetch:
            await fetch(HttpRequest(f"http://hooks.internal:{port}/", {}, b"{}"))

    assert len(came) == 1


NUMBERS = ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "localhost", "127.1"]


@pytest.mark.parametrize("host", NUMBERS)
async def test_an_address_in_the_url_is_judged_before_every_request(host: str) -> None:
    async with listener("127.0.0.1") as (port, came):
        async with Fetcher(timeout=2, concurrency=2, guard=Guard()) as fetch:
            with pytest.raises(NotSent, match="the URL must"):
                await fetch(HttpRequest(f"http://{host}:{port}/", {}, b"{}"))

    assert came == []
