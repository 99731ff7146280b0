"""An application is told what becomes of its mails: by the real process, on both databases, over real sockets."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from tests.e2e.process import Mailsvc, run
from tests.e2e.test_clock import WallClock
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider
from tests.fakes.application import Application
from tests.postgres import PostgresServer

HERE = {"MAILSVC_CALLBACK_ALLOW": "127.0.0.1"}
KEY = "a-key-nobody-can-guess-0123456789"
HOUR = 3600
Started = Callable[..., Mailsvc]


@pytest.fixture(params=["sqlite", "postgres"])
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Started:
    """Makes processes on one database."""
    server: PostgresServer | None = request.getfixturevalue("postgres") if request.param == "postgres" else None
    database = {"DATABASE_URL": server.create()} if server else {}
    return lambda **settings: Mailsvc(tmp_path, **HERE, **database, **settings)


async def made(service: Mailsvc, url: str, *events: str, **how: Any) -> dict[str, Any]:
    """A new callback, with its secret."""
    status, headers, body = await service.call(
        "POST", "/callbacks", json={"url": url, "events": events or ["*"]}, **how
    )
    assert status == 201, body
    assert headers["Location"] == f"/callbacks/{body['id']}"
    return dict(body)


async def deliveries(service: Mailsvc, callback: dict[str, Any], query: str = "limit=100") -> list[dict[str, Any]]:
    status, _, body = await service.call("GET", f"/callbacks/{callback['id']}/deliveries?{query}")
    assert status == 200, body
    return list(body["data"])


async def test_an_application_is_told_what_becomes_of_its_mails(started: Started) -> None:
    async with FakeProvider() as sendgrid, Application() as application, Application() as other:
        async with started(**live(sendgrid)) as service:
            callback = await made(service, application.url)
            failures = await made(service, other.url, "mail.failed", "mail.rejected")
            sent = await service.settled(await service.post(tags=["welcome"], metadata={"order": "42"}))
            sendgrid.fault("answer", status=400)
            failed = await service.settled(await service.post())
            calls = {call.event["type"]: call for call in await application.told(2)}
            (single,) = await other.told(1)
            await at_rest(service, callback, 0)
            log = await deliveries(service, callback)
            shown = (await service.call("GET", "/callbacks"))[2]["data"]

    assert calls.keys() == {"mail.sent", f"mail.{failed['status']}"}
    told = calls["mail.sent"]
    assert told.event["data"] == {
        "id": sent["id"],
        "status": "sent",
        "provider": "sendgrid",
        "provider_message_id": sent["provider_message_id"],
        "error": None,
        "tags": ["welcome"],
        "metadata": {"order": "42"},
    }
    assert told.event["timestamp"] == sent["updated_at"]
    assert told.headers["content-type"] == "application/json"
    assert told.headers["user-agent"].startswith("mailsvc/")
    for call in calls.values():
        call.verify(callback["secret"])
        with pytest.raises(WebhookVerificationError):
            call.verify(failures["secret"])
    single.verify(failures["secret"])
    assert single.event["data"]["id"] == failed["id"]
    assert {each["id"] for each in log} == {call.id for call in calls.values()}
    assert [each["status"] for each in log] == ["delivered", "delivered"]
    assert [each["attempts"][0]["http_status"] for each in log] == [200, 200]
    assert [each["url"] for each in shown] == [application.url, other.url]
    assert "secret" not in shown[0]
    assert shown[0]["last_delivery"]["status"] == "delivered"


async def test_a_callback_is_tested_changed_rotated_replayed_and_removed(started: Started) -> None:
    async with Application() as application, started() as service:
        callback = await made(service, "http://127.0.0.1:9/nobody")
        path = f"/callbacks/{callback['id']}"
        _, _, unreachable = await service.call("POST", f"{path}/test")
        changed = await service.call("PATCH", path, json={"url": application.url, "description": "the shop"})
        _, _, tested = await service.call("POST", f"{path}/test", json={})
        mail = await service.settled(await service.post())
        await application.told(2)
        await at_rest(service, callback, 0)  # that it was taken is written down by then
        since = mail["created_at"]
        again = await service.call("POST", f"{path}/replay", json={"id": tested["id"]})
        some = await service.call("POST", f"{path}/replay", json={"since": since, "status": "delivered"})
        mine = [tested["id"], next(call.id for call in application.calls if call.event["type"] == "mail.sent")]
        while any(Counter(call.id for call in application.taken)[each] < 2 for each in mine):
            await asyncio.sleep(0.02)
        _, _, rotated = await service.call("POST", f"{path}/rotate", json={"overlap": 3600})
        await service.call("POST", f"{path}/test")
        application.status = 410
        await service.call("POST", f"{path}/test")
        _, _, off = await service.call("GET", path)
        refused = await service.call("POST", f"{path}/test")
        application.status = 200
        _, _, on = await service.call("PATCH", path, json={"enabled": True})
        gone = [await service.call("DELETE", path), await service.call("GET", path), await service.call("DELETE", path)]

    assert (unreachable["status"], len(unreachable["attempts"])) == ("waiting", 1)
    assert "refused" in unreachable["attempts"][0]["error"]
    assert (changed[0], changed[2]["url"], changed[2]["description"]) == (200, application.url, "the shop")
    assert (tested["type"], tested["status"]) == ("callback.test", "delivered")
    assert (again[0], again[2]["replayed"], some[2]["replayed"]) == (202, 1, 1)
    both = next(call for call in application.calls if len(call.headers["webhook-signature"].split()) == 2)
    both.verify(callback["secret"])
    both.verify(rotated["secret"])
    assert [secret["expires_at"] is None for secret in rotated["secrets"]] == [True, False]
    assert (off["enabled"], off["disabled_reason"]) == (False, "gone")
    assert (refused[0], refused[2]["code"]) == (409, "disabled")
    assert (on["enabled"], on["disabled_reason"]) == (True, None)
    assert [each[0] for each in gone] == [200, 404, 404]


BAD = [
    ({}, "url", "missing"),
    ({"url": 7}, "url", "invalid"),
    ({"url": "http://example.com/"}, "url", "url_not_allowed"),
    ({"url": "https://example.com/", "events": []}, "events", "invalid"),
    ({"url": "https://example.com/", "events": ["mail.nothing"]}, "events", "invalid"),
    ({"url": "https://example.com/", "events": ["mail.queued"]}, "events", "invalid"),
    ({"url": "https://example.com/", "events": "*", "description": "a\nb"}, "description", "invalid"),
    ({"url": "https://example.com/", "secret": "x"}, "secret", "unknown_field"),
]
BAD_REPLAYS = [
    ({}, "since"),
    ({"id": "x"}, "id"),
    ({"id": "msg_" + "0" * 32, "since": "2026-01-02T03:04:05Z"}, "id"),
    ({"since": "yesterday"}, "since"),
    ({"since": "2026-01-02T03:04:05"}, "since"),
    ({"since": "0001-01-01T00:00:00+23:59"}, "since"),
    ({"since": "2026-01-02T03:04:05Z", "until": "2026-01-02T03:04:05Z"}, "until"),
    ({"since": "2026-01-02T03:04:05Z", "status": "waiting"}, "status"),
]


async def test_bad_requests_are_told_which_field_to_mend(started: Started) -> None:
    async with started() as service:
        for body, field, code in BAD:
            status, _, problem = await service.call("POST", "/callbacks", json=body)
            assert (status, problem["errors"][0]["field"], problem["errors"][0]["code"]) == (422, field, code), body
        callback = await made(service, "https://example.com/")
        path = f"/callbacks/{callback['id']}"
        for replay, field in BAD_REPLAYS:
            status, _, problem = await service.call("POST", f"{path}/replay", json=replay)
            assert (status, problem["errors"][0]["field"]) == (422, field), replay
        others = [
            await service.call("PATCH", path, json={"enabled": "perhaps"}),
            await service.call("PATCH", path, json={"url": "https://10.0.0.1/"}),
            await service.call("POST", f"{path}/rotate", json={"overlap": -1}),
            await service.call("GET", f"{path}/deliveries?limit=0"),
            await service.call("GET", f"{path}/deliveries?status=nothing"),
            await service.call("GET", f"{path}/deliveries?after=nonsense"),
            await service.call("GET", f"{path}/deliveries?after="),
        ]
        unknown = [
            await service.call(method, f"/callbacks/{name}{rest}", json={} if method != "GET" else None)
            for name in ("cb_0", "%00", "x" * 3000, "%F0%9F%92%A9")
            for method, rest in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/deliveries"))
        ]
        unknown.append(await service.call("POST", f"{path}/replay", json={"id": "msg_" + "0" * 32}))
        after = (await service.call("GET", "/callbacks"))[2]["data"]

    assert [(status, problem["code"]) for status, _, problem in others] == [(422, "invalid")] * 7
    assert {(status, problem["code"]) for status, _, problem in unknown} == {(404, "not_found")}
    assert [(each["id"], each["url"], each["enabled"]) for each in after] == [
        (callback["id"], "https://example.com/", True)
    ]


async def test_a_callback_may_not_lead_inside(tmp_path: Path) -> None:
    urls = [
        "https://127.0.0.1/", "https://127.1/", "https://0x7f.1/", "https://2130706433/", "https://0177.0.0.1/",
        "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://169.254.169.254/latest/", "https://[fd00:ec2::254]/",
        "https://100.64.0.1/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/", "https://[::127.0.0.1]/",
        "https://192.0.0.192/", "https://224.0.0.1/", "https://localhost/", "https://user@example.com/",
        "https://example.com:22/", "http://example.com/", "gopher://example.com/",
    ]  # fmt: skip
    async with Application() as application, Mailsvc(tmp_path) as service:
        for url in [*urls, application.url]:
            status, _, problem = await service.call("POST", "/callbacks", json={"url": url})
            assert (status, problem["errors"][0]["field"]) == (422, "url"), url
        found = (await service.call("GET", "/callbacks"))[2]["data"]

    assert found == []
    assert application.calls == []


async def test_a_leave_that_was_taken_back_counts_for_callbacks_that_are_there(tmp_path: Path) -> None:
    async with Application() as application, Mailsvc(tmp_path, **HERE) as service:
        callback = await made(service, application.url)
        service.terminate()
        await service.ended()
        del service.settings["MAILSVC_CALLBACK_ALLOW"]
        await service.start()
        _, _, tested = await service.call("POST", f"/callbacks/{callback['id']}/test")

    assert "MAILSVC_CALLBACK_ALLOW" in tested["attempts"][0]["error"]
    assert application.calls == []


async def test_a_redirect_is_not_followed_and_a_long_answer_is_not_read(tmp_path: Path) -> None:
    async with Application() as application, Application() as trap, Mailsvc(tmp_path, **HERE) as service:
        application.status, application.headers = 307, {"Location": trap.url}
        callback = await made(service, application.url)
        _, _, tested = await service.call("POST", f"/callbacks/{callback['id']}/test")

    assert tested["attempts"][0]["error"] == "answered 307, a redirect, which is never followed"
    assert trap.calls == []


@pytest.mark.sqlite("PostgreSQL goes by its own clock, which is not set here")
async def test_an_outage_of_twelve_hours_with_a_process_that_is_killed_loses_no_event(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    async with FakeProvider() as sendgrid, Application() as application:
        async with Mailsvc(tmp_path, **live(sendgrid), **HERE, **clock.settings) as service:
            callback = await made(service, application.url)
            application.status, ids = 503, []
            for ahead in (0, 10, 600, 2400, 3 * HOUR, 6 * HOUR, 9 * HOUR, 12 * HOUR):
                clock.set(ahead)
                ids += [(await service.settled(await service.post()))["id"] for _ in range(3)]
                if ahead == 3 * HOUR:
                    application.status = None  # so that it is killed in the middle of a request
                    before = len(application.calls)
                    ids.append((await service.settled(await service.post()))["id"])
                    while len(application.calls) == before:
                        await asyncio.sleep(0.01)
                    await service.kill()
                    application.status = 503
                    clock.set(ahead + 90)
                    await service.start()
                await at_rest(service, callback, ahead)
            down = len(application.calls)
            application.status = 200
            for ahead in range(13 * HOUR, 60 * HOUR, 6 * HOUR):
                clock.set(ahead)
                await at_rest(service, callback, ahead)
            log = await deliveries(service, callback)

    assert {each["status"] for each in log} == {"delivered"}
    assert sorted(each["mail"] for each in log) == sorted(ids)
    taken = [call.id for call in application.taken]
    assert set(taken) == {each["id"] for each in log}
    assert len(taken) == len(ids)
    assert down > len(ids)
    assert {call.event["data"]["id"] for call in application.taken} == set(ids)


async def at_rest(service: Mailsvc, callback: dict[str, Any], ahead: int) -> None:
    """Nothing is due that has not been tried, by a clock that is so far ahead."""
    async with asyncio.timeout(60):
        while True:
            due = [each["due_at"] for each in await deliveries(service, callback, "limit=100&status=waiting")]
            if all(datetime.fromisoformat(at).timestamp() > time.time() + ahead for at in due):
                return
            await asyncio.sleep(0.1)


async def test_several_processes_tell_each_event_once(tmp_path: Path, postgres: PostgresServer) -> None:
    settings = {"DATABASE_URL": postgres.create(), **HERE}
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    async with (
        Application() as application,
        Mailsvc(folders[0], **settings) as one,
        Mailsvc(folders[1], **settings) as two,
    ):
        callback = await made(one, application.url)
        ids = await asyncio.gather(*(service.post() for service in (one, two) * 40))
        await application.told(80)
        for service in (one, two):
            await service.settled(ids[0])
        await at_rest(two, callback, 0)
        _, _, log = await two.call("GET", f"/callbacks/{callback['id']}/deliveries?limit=100")

    assert len(application.calls) == 80
    assert {call.event["data"]["id"] for call in application.calls} == set(ids)
    assert {each["status"] for each in log["data"]} == {"delivered"}


async def test_the_command_line_does_it_all(tmp_path: Path) -> None:
    async with Application() as application, Mailsvc(tmp_path, MAILSVC_API_KEY=KEY, **HERE) as service:
        where = {"MAILSVC_URL": service.url, "MAILSVC_API_KEY": KEY}

        async def command(*arguments: str) -> tuple[int, str, str]:
            return await run(tmp_path, "callbacks", *arguments, **where)

        nothing = await command()
        code, added, _ = await command("add", application.url, "--event", "mail.sent", "--description", "shop")
        callback_id, secret = added.split()
        tested = await command("test", callback_id)
        listed = await command("list")
        log = json.loads((await command("log", callback_id, "--json"))[1])["data"]
        replayed = await command("replay", callback_id, "--delivery", log[0]["id"])
        calls = await application.told(2)
        rotated = await command("rotate", callback_id, "--overlap", "60")
        application.status = 500
        failed = await command("test", callback_id)
        bad = await command("add", "http://example.com/")
        removed = await command("remove", callback_id)
        gone = await command("test", callback_id)

    assert nothing[:2] == (0, "There is no callback yet. Make one: mailsvc callbacks add URL\n")
    assert code == 0
    calls[0].verify(secret)
    assert (tested[0], "delivered" in tested[1]) == (0, True)
    assert application.url in listed[1]
    assert replayed[1] == "1 deliveries are told again\n"
    assert rotated[1].startswith("whsec_")
    assert (failed[0], "answered 500" in failed[1]) == (1, True)
    assert (bad[0], "url: must begin with https://" in bad[2]) == (1, True)
    assert removed[:2] == (0, f"{callback_id} is removed\n")
    assert gone[0] == 1


async def test_a_secret_or_a_url_is_in_no_log_and_a_key_without_admin_sees_nothing(tmp_path: Path) -> None:
    async with Application() as application:
        async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY, MAILSVC_LOG="debug", **HERE) as service:
            bearer = {"headers": {"Authorization": f"Bearer {KEY}"}}
            application.status = 500
            callback = await made(service, f"{application.url}?token=sesame", **bearer)
            await service.call("POST", f"/callbacks/{callback['id']}/test", **bearer)
            _, _, metrics = await service.call("GET", "/metrics", **bearer)  # before it is tried again
            _, _, key = await service.call("POST", "/keys", json={"name": "x", "scopes": ["send", "read"]}, **bearer)
            weak = {"headers": {"Authorization": f"Bearer {key['key']}"}}
            path = f"/callbacks/{callback['id']}"
            refused = [
                await service.call(method, route, **weak)
                for method, route in [
                    ("GET", "/callbacks"), ("POST", "/callbacks"), ("GET", path), ("PATCH", path), ("DELETE", path),
                    ("POST", f"{path}/test"), ("POST", f"{path}/replay"), ("POST", f"{path}/rotate"),
                    ("GET", f"{path}/deliveries"),
                ]
            ]  # fmt: skip
        written = "\n".join(service.log)

    assert {status for status, _, _ in refused} == {403}
    assert "callback_not_delivered" in written
    assert "sesame" not in written
    assert callback["secret"] not in written
    assert re.search(r'mailsvc_callback_tries_total\{outcome="failed"[^}]*\} 1\.0', metrics)
    assert f'mailsvc_callback_backlog{{callback="{callback["id"]}"}} 1.0' in metrics
