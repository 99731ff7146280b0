"""The live feed over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from mailsvc.assembly import running
from mailsvc.config import Config
from mailsvc.feed import MAX_BEHIND
from mailsvc.service import Service
from mailsvc.web.events import LISTENERS, Events
from mailsvc.web.intake import App
from mailsvc.web.session import Sessions
from tests.e2e.process import FORM, Mailsvc


class Listener:
    """One who listens: blocks of the stream, and events among them."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def block(self) -> str:
        """The next block; empty at the end."""
        lines = []
        while line := (await self.answer.content.readline()).decode():
            if line == "\n":
                break
            lines.append(line.rstrip("\n"))
        return "\n".join(lines)

    async def event(self, kind: str) -> tuple[str, dict[str, Any]]:
        """The next event of that kind: its id and data."""
        while block := await self.block():
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if fields.get("event") == kind:
                return fields["id"], orjson.loads(fields["data"])
        raise AssertionError("the stream has ended")


@asynccontextmanager
async def listening(service: Mailsvc, query: str = "", **how: Any) -> AsyncIterator[Listener]:
    """A listener that has heard the beginning."""
    async with service.http.get(f"{service.url}/events{query}", **how) as answer:
        assert answer.status == 200
        listener = Listener(answer)
        assert (await listener.block()).startswith("retry: 2000")
        yield listener


@asynccontextmanager
async def serving(folder: Path, **attributes: float) -> AsyncIterator[tuple[Service, str]]:
    """The service in this process, with a handler whose times are short."""
    handler = type("Quick", (Events,), attributes)
    async with running(Config.from_environ({"DATABASE_URL": f"sqlite:///{folder}/events.db"})) as service:
        app = App(service, [("/events", handler, {"service": service})], sessions=Sessions(None))
        socket, port = bind_unused_port()
        server = HTTPServer(app)
        server.add_sockets([socket])
        yield service, f"http://127.0.0.1:{port}/events"
        server.stop()
        await server.close_all_connections()


async def test_the_way_of_a_mail_is_told_as_it_happens(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service, listening(service) as listener:
        assert listener.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert listener.answer.headers["Cache-Control"] == "no-store"
        mail_id = await service.post()
        first, queued = await listener.event("mail")
        _, begun = await listener.event("attempt")
        _, ended = await listener.event("attempt")
        last, sent = await listener.event("mail")

    assert queued == {"id": mail_id, "status": "queued"}
    assert begun | {"score": 50.0} == {"id": mail_id, "n": 1, "provider": "capture", "outcome": None, "score": 50.0}
    assert ended == {"id": mail_id, "n": 1, "provider": "capture", "outcome": "accepted"}
    assert sent == {"id": mail_id, "status": "sent"}
    assert first.partition("-")[0] == last.partition("-")[0]
    assert int(first.partition("-")[2]) < int(last.partition("-")[2])


async def test_a_provider_is_told_as_the_api_shows_it(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service, listening(service) as listener:
        await service.call("POST", "/providers/capture/pause")
        _, told = await listener.event("provider")
        _, _, shown = await service.call("GET", "/providers")

    assert told == shown[0]
    assert (told["name"], told["state"], told["reason"]) == ("capture", "paused", "paused by hand")


async def test_one_mail_can_be_listened_to_alone(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        await service.call("POST", "/providers/capture/pause")
        mine = await service.post()
        async with listening(service, f"?mail={mine}") as listener:
            await service.post()
            await service.call("POST", "/providers/capture/resume")
            _, attempt = await listener.event("attempt")
            _, mail = await listener.event("mail")

    assert (attempt["id"], mail) == (mine, {"id": mine, "status": "sent"})


async def test_the_stream_ends_at_once_when_the_process_does(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service, listening(service) as listener:
        service.terminate()
        rest = await asyncio.wait_for(listener.block(), 15)  # deliveries would have 25 s
        code = await asyncio.wait_for(service.ended(), 15)

    assert (rest, code) == ("", 0)


async def test_no_more_than_a_bounded_number_listen(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
            url = f"{service.url}/events"
            many = [await stack.enter_async_context(http.get(url)) for _ in range(LISTENERS)]
            status, headers, body = await service.call("GET", "/events")
            many[0].close()
            while not await freed(service):
                await asyncio.sleep(0.02)

    assert [answer.status for answer in many] == [200] * LISTENERS
    assert (status, body["code"], headers["Retry-After"]) == (503, "too_many_listeners", "10")


async def freed(service: Mailsvc) -> bool:
    """Whether there is room again."""
    async with service.http.get(f"{service.url}/events") as answer:
        return answer.status == 200


async def test_a_key_is_wanted_and_a_bad_id_refused(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY="k" * 20) as service:
        without, _, _ = await service.call("GET", "/events")
        bearer = {"Authorization": f"Bearer {'k' * 20}"}
        malformed, _, _ = await service.call("GET", "/events?mail=1'", headers=bearer)
        async with listening(service, headers=bearer) as listener:
            await service.call("POST", "/email", json=FORM, headers=bearer)
            _, mail = await listener.event("mail")

    assert (without, malformed, mail["status"]) == (401, 422, "queued")


async def test_a_quiet_stream_has_a_heartbeat_and_an_end(tmp_path: Path) -> None:
    async with serving(tmp_path, heartbeat=0.02) as (_, url), aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            listener = Listener(answer)
            blocks = [await listener.block() for _ in range(3)]
    (tmp_path / "short").mkdir()
    async with serving(tmp_path / "short", life=0.2) as (_, url), aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            whole = await answer.text()

    assert blocks[1:] == [": still here"] * 2
    assert whole.startswith("retry: 2000")


async def test_a_listener_that_falls_behind_loses_the_oldest_and_can_tell(tmp_path: Path) -> None:
    async with serving(tmp_path) as (service, url), aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            listener = Listener(answer)
            await listener.block()
            for number in range(MAX_BEHIND + 10):
                service.feed.say("mail", str(number))
            first, data = await listener.event("mail")
            second, _ = await listener.event("mail")

    assert data == {"id": "10"}
    assert int(second.partition("-")[2]) == int(first.partition("-")[2]) + 1


async def test_who_goes_away_is_forgotten(tmp_path: Path) -> None:
    before = Events.listening
    async with serving(tmp_path) as (service, url), aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            await Listener(answer).block()
            during = (Events.listening, service.requests)
            answer.close()
        while Events.listening != before or service.requests:
            await asyncio.sleep(0.01)
        after = service.requests

    assert (during, after) == ((before + 1, 1), 0)
