"""The live feed over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from mailsvc.assembly import running
from mailsvc.config import Config
from mailsvc.feed import MAX_BEHIND
from mailsvc.service import Service
from mailsvc.submission import parse
from mailsvc.web.base import rfc3339
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

    async def any(self) -> tuple[str, str, dict[str, Any]]:
        """The next event: its kind, its id and its data."""
        while block := await self.block():
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "event" in fields:
                return fields["event"], fields["id"], orjson.loads(fields["data"])
        raise AssertionError("the stream has ended")

    async def event(self, kind: str) -> tuple[str, dict[str, Any]]:
        """The next event of that kind: its id and data."""
        while True:
            found, number, data = await self.any()
            if found == kind:
                return number, data


def parts(event_id: str) -> tuple[str, int, int]:
    """The process, the number and the milliseconds of an event's id."""
    process, number, milliseconds = event_id.rsplit("-", 2)
    return process, int(number), int(milliseconds)


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
    assert parts(first)[0] == parts(last)[0]
    assert parts(first)[1] < parts(last)[1]
    assert abs(time.time() - parts(last)[2] / 1000) < 60


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


@pytest.mark.parametrize("ends", ["the line", "the process"])
async def test_who_comes_back_hears_first_what_has_moved_meanwhile(tmp_path: Path, ends: str) -> None:
    async with Mailsvc(tmp_path) as service:
        async with listening(service) as listener:
            before = await service.post()
            heard = dict[str, Any]()
            while heard.get("status") != "sent":
                last, heard = await listener.event("mail")
        missed = await service.post()
        await service.settled(missed)
        await service.call("POST", "/providers/capture/pause")
        waiting = await service.post()
        if ends == "the process":
            await service.kill()
            await service.start()
        async with listening(service, headers={"Last-Event-ID": last}) as listener:
            attempts, mails = dict[str, Any](), dict[str, Any]()
            while waiting not in mails:
                kind, _, data = await listener.any()
                (attempts if kind == "attempt" else mails)[data["id"]] = data
            _, provider = await listener.event("provider")
            await service.call("POST", "/providers/capture/resume")
            after = await service.post()
            while heard != {"id": after, "status": "sent"}:
                number, heard = await listener.event("mail")

    assert mails[missed] == {"id": missed, "status": "sent"}
    assert mails[waiting] == {"id": waiting, "status": "queued"}
    assert attempts[missed] == {"id": missed, "n": 1, "provider": "capture", "outcome": "accepted"}
    assert mails.keys() <= {before, missed, waiting}  # the last one that was heard may be told again
    assert (provider["name"], provider["state"]) == ("capture", "paused")
    assert parts(number)[1] > 0


async def test_who_comes_back_to_one_mail_hears_of_it_alone(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        mine, other = await service.post(), await service.post()
        for mail_id in (mine, other):
            await service.settled(mail_id)
        since = f"an-earlier.process-7-{(time.time() - 30) * 1000:.0f}"
        async with listening(service, f"?mail={mine}", headers={"Last-Event-ID": since}) as listener:
            told = [(await listener.any())[::2] for _ in range(2)]
        just_now = await service.post()
        await service.settled(just_now)
        later = f"an-earlier.process-7-{(time.time() + 30) * 1000:.0f}"
        async with listening(service, f"?mail={just_now}", headers={"Last-Event-ID": later}) as listener:
            soon = await listener.event("mail")

    assert told == [
        ("attempt", {"id": mine, "n": 1, "provider": "capture", "outcome": "accepted"}),
        ("mail", {"id": mine, "status": "sent"}),
    ]
    assert soon[1]["id"] == just_now


async def test_a_listener_hears_what_it_asks_for_alone(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        async with listening(service, "?event=mail&status=sent,failed") as listener:
            first = await service.post()
            await service.settled(first)
            second = await service.post()
            told = [(await listener.any())[::2] for _ in range(2)]
        async with listening(service, "?event=attempt,provider") as listener:
            await service.post()
            kind, _, _ = await listener.any()
        wrong = [
            (await service.call("GET", f"/events?{query}"))[2]["errors"][0]["field"]
            for query in ("event=mails", "status=sent,", "event=mail&event=attempt", "kind=mail")
        ]

    assert told == [("mail", {"id": mail_id, "status": "sent"}) for mail_id in (first, second)]
    assert kind in ("attempt", "provider")
    assert wrong == ["event", "status", "event", "kind"]


async def test_who_was_away_for_too_long_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailsvc.web.events.MOST", 2)
    async with serving(tmp_path) as (service, url), aiohttp.ClientSession() as http:
        await service.pause("capture")
        mail = parse({"to": "ann@example.com", "subject": "Hi", "text": "Hi"})
        ids = [(await service.acceptance.accept(mail)).id for _ in range(4)]
        since = {"Last-Event-ID": f"one.1.2-3-{(time.time() - 30) * 1000:.0f}"}
        async with http.get(url, headers=since) as answer:
            listener = Listener(answer)
            _, missed = await listener.event("missed")
            told = [(await listener.event("mail"))[1]["id"] for _ in range(2)]
        async with http.get(url, headers={"Last-Event-ID": "of another service"}) as answer:
            listener = Listener(answer)
            await listener.block()
            service.feed.say("mail", "new", status="queued")
            _, first = await listener.event("mail")

    assert told == ids[2:]
    assert missed["before"] <= rfc3339(time.time())
    assert first == {"id": "new", "status": "queued"}


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
    assert parts(second)[1] == parts(first)[1] + 1


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
