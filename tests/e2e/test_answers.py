"""How an answer stands on the wire, whatever way it is written, and how long one may take."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.e2e.process import Mailsvc

ASKED = {
    "kept": b"GET /email HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "kept, and said so": b"GET /email HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
    "closed": b"GET /email HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "old": b"GET /email HTTP/1.0\r\nHost: localhost\r\n\r\n",
    "old and kept": b"GET /email HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
    "faulty": b"GET /email?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
CHANGING = {"date", "x-request-id", "content-length", "connection", "content-type"}


async def answer(service: Mailsvc, request: bytes) -> tuple[str, dict[str, str], bytes, bool]:
    """Status line, headers, body, and whether the connection is good for the same request once more."""
    reader, writer = await asyncio.open_connection(*service.address)
    found = []
    for _ in range(2):
        writer.write(request)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            break
        status, *lines = head.decode("latin1").split("\r\n")[:-2]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        found.append((status, headers, await reader.readexactly(int(headers["content-length"]))))
    writer.close()
    return *found[0], len(found) == 2


async def test_an_answer_is_the_same_however_the_connection_goes_on(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        found = {name: await answer(service, request) for name, request in ASKED.items()}

    same = [{name: value for name, value in one[1].items() if name not in CHANGING} for one in found.values()]
    assert all(headers == same[0] for headers in same)
    statuses = {name: one[0].split(" ")[1] for name, one in found.items()}
    assert statuses == dict.fromkeys(ASKED, "200") | {"faulty": "422"}
    assert {name: one[3] for name, one in found.items()} == dict.fromkeys(ASKED, True) | {"closed": False, "old": False}
    assert found["closed"][1]["connection"] == "close"
    assert found["old and kept"][1]["connection"].lower() == "keep-alive"
    assert b'"has_more":false' in found["kept"][2]


async def test_an_answer_may_take_longer_than_a_client_may(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_CLIENT_TIMEOUT="1") as service:
        await service.call("POST", "/providers/capture/pause")
        mail_id = await service.post()
        status, _, mail = await service.call("GET", f"/email/{mail_id}?wait=settled&timeout=2.5")

    assert (status, mail["status"]) == (200, "queued")
