"""Who may come in, and what is never said."""

import json
import subprocess
from pathlib import Path

import pytest

from mailsvc.web import MAIL_ID, PAGES, ROUTES
from mailsvc.web.base import Handler
from tests.e2e.process import FORM, Mailsvc
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider
from tests.postgres import programs

Routes = list[tuple[str, type[Handler]]]

KEY = "canary-api-key-0123456789abcdef"


async def test_with_a_key_every_route_but_the_public_ones_wants_it(tmp_path: Path) -> None:
    good = {"Authorization": f"Bearer {KEY}"}
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        for method, path in (
            ("POST", "/email"),
            ("GET", "/email"),
            ("GET", "/email/01a20c4f-9f14-7ca9-806c-59d8f7b56a5f"),
            ("GET", "/providers"),
            ("POST", "/providers/capture/pause"),
            ("POST", "/providers/capture/resume"),
        ):
            for headers in (
                {},
                {"Authorization": KEY},
                {"Authorization": f"Bearer {KEY}x"},
                {"Authorization": "Basic x"},
            ):
                status, answer, body = await service.call(method, path, headers=headers, json=FORM)
                assert (status, body["code"]) == (401, "unauthorized"), path
                assert answer["WWW-Authenticate"].startswith("Bearer")
        accepted = await service.call("POST", "/email", headers=good, json=FORM)
        found = await service.call("GET", accepted[1]["Location"], headers=good)

    assert accepted[0] == 202
    assert found[0] == 200


def concrete(pattern: str) -> str:
    """A path that a route's pattern fits."""
    path = pattern.replace(MAIL_ID, "01a20c4f-9f14-7ca9-806c-59d8f7b56a5f").replace("([^/]+)", "x")
    return path.replace("([a-z]+)", "x").replace("([0-9a-f]+)", "0").replace("(.+)", "x")


@pytest.mark.parametrize("routes", [ROUTES, PAGES], ids=["api", "pages"])
async def test_a_route_is_closed_unless_it_says_that_it_is_public(tmp_path: Path, routes: Routes) -> None:
    closed = [(pattern, handler) for pattern, handler in routes if not handler.public]
    found = {}
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        for pattern, handler in closed:
            for method in handler.allowed():
                status, _, _ = await service.call(method, concrete(pattern), data=FORM, allow_redirects=False)
                found[method, pattern] = status

    assert len(found) >= len(closed) > 5
    assert {place: status for place, status in found.items() if status != 401} == {}


async def test_an_open_server_answers_no_other_name_and_no_other_site(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        host = await service.call("POST", "/email", json=FORM, headers={"Host": "evil.example"})
        origin = await service.call("POST", "/email", data=FORM, headers={"Origin": "https://evil.example"})
        null = await service.call("POST", "/email", data=FORM, headers={"Origin": "null"})
        same = await service.call("POST", "/email", data=FORM, headers={"Origin": service.url})
        names = ("localhost:8080", "LocalHost.", "[::1]", "[0:0:0:0:0:0:0:1]:80", "127.0.0.1:1")
        local = [await service.call("POST", "/email", data=FORM, headers={"Host": name}) for name in names]

    assert [answer[0] for answer in (host, origin, null, same)] == [403, 403, 403, 202]
    assert [answer[0] for answer in local] == [202] * len(names)
    assert host[2]["code"] == "forbidden"


def everything_kept(service: Mailsvc) -> bytes:
    """The database that this process had."""
    if not service.database:
        return (service.folder / "mailsvc.db").read_bytes()
    folder = programs()
    assert folder is not None
    command = [folder / "pg_dump", "--dbname", service.database["DATABASE_URL"]]
    return subprocess.run(command, check=True, capture_output=True).stdout


async def test_no_secret_and_no_address_is_ever_logged_or_shown(tmp_path: Path) -> None:
    secrets = ["canary-sendgrid-key", "canary-subject", "canary-body", "canary-recipient", "canary-name", KEY]
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("answer", status=401, body='{"errors":[{"message":"bad key canary-sendgrid-key"}]}')
        settings = live(sendgrid, mandrill, MAILSVC_API_KEY=KEY, SENDGRID_API_KEY="canary-sendgrid-key")
        async with Mailsvc(tmp_path, **settings, MAILSVC_LOG="debug") as service:
            headers = {"Authorization": f"Bearer {KEY}"}
            mail = {
                "to": "canary-recipient@example.com",
                "to_name": "canary-name",
                "subject": "canary-subject",
                "content": "canary-body",
            }
            _, _, body = await service.call("POST", "/email", json=mail, headers=headers)
            await service.call("POST", "/email", json=mail | {"to": "canary-recipient"}, headers=headers)
            path = f"/email/{body['id']}?wait=settled"
            _, _, found = await service.call("GET", path, headers=headers)
            _, _, providers = await service.call("GET", "/providers", headers=headers)
            service.terminate()
            await service.ended()

    said = "\n".join([*service.log, *service.out])
    assert [secret for secret in secrets if secret in said] == []
    assert found["attempts"][0]["outcome"] == "unauthorized"
    assert "canary-sendgrid-key" not in str(found) + str(providers)
    kept = everything_kept(service)
    assert b"canary-body" in kept
    assert b"canary-sendgrid-key" not in kept
    assert KEY.encode() not in kept


async def test_logs_tell_the_way_of_a_mail_by_its_id(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("answer", status=401)
        async with Mailsvc(tmp_path, **live(sendgrid, mandrill)) as service:
            mail_id = await service.post()
            await service.settled(mail_id)
            service.terminate()
            await service.ended()

    about = [line for line in service.log if mail_id in line]
    assert ['"event":"accepted"' in about[0], '"outcome":"unauthorized"' in about[1]] == [True, True]
    assert '"provider":"mandrill","outcome":"accepted"' in about[2]
    (benched,) = [line for line in map(json.loads, service.log) if line["event"] == "provider"]
    assert (benched["provider"], benched["state"]) == ("sendgrid", "benched")
