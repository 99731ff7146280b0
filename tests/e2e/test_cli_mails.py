"""The command line against a running server: mails, what happens live, providers, the suppression list."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.e2e.process import Mailsvc, environment, run
from tests.e2e.test_keys import FIRST
from tests.fakes import FakeProvider

SANDBOX = {"MAILSVC_CAPTURE": "1", "MAILSVC_API_KEY": FIRST}


async def told(service: Mailsvc, *arguments: str, code: int = 0) -> str:
    """What a command prints."""
    done, out, err = await run(service.folder, *arguments, MAILSVC_URL=service.url, MAILSVC_API_KEY=FIRST, within=40)
    assert done == code, (out, err)
    return out + err


async def as_json(service: Mailsvc, *arguments: str) -> Any:
    return json.loads(await told(service, *arguments, "--json"))


async def post(service: Mailsvc, **changes: Any) -> str:
    mail = {"to": "ann@example.com", "subject": "Hi", "text": "hi"} | changes
    status, _, body = await service.call("POST", "/email", json=mail, headers={"Authorization": f"Bearer {FIRST}"})
    assert status == 202, body
    return str(body["id"])


async def test_mails_are_listed_a_page_at_a_time_and_shown_with_all_there_is(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        ids = [await post(service, to=f"r{n}@example.com", tags=["t"], metadata={"n": str(n)}) for n in range(3)]
        page = await told(service, "mails", "list", "--limit", "2")
        assert [line.split()[0] for line in page.splitlines()] == ["mail", ids[2], ids[1], "More:"]
        rest = await as_json(service, "mails", "list", "--limit", "2", "--after", ids[1])
        assert ([each["id"] for each in rest["data"]], rest["has_more"]) == ([ids[0]], False)
        one = await as_json(service, "mails", "list", "--to", "r1@example.com")
        assert [each["id"] for each in one["data"]] == [ids[1]]
        labeled = await as_json(service, "mails", "list", "--tag", "t", "--metadata", "n=2")
        assert [each["id"] for each in labeled["data"]] == [ids[2]]
        assert "order=1042" in await told(service, "mails", "list", "--metadata", "n", code=2)

        while "attempt 1  capture accepted" not in (shown := await told(service, "mails", "show", ids[1])):
            await asyncio.sleep(0.05)
        assert "r1@example.com (to, " in shown
        assert "tags     t" in shown
        assert (await as_json(service, "mails", "show", ids[1]))["metadata"] == {"n": "1"}
        assert "there is no mail" in (await told(service, "mails", "show", "nonsense", code=1)).lower()


async def test_what_happens_is_seen_live_also_after_the_server_was_gone(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        await service.call("GET", "/healthz")
        port = str(service.address[1])
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mailsvc", "tail", "--json",
            cwd=tmp_path, env=environment(MAILSVC_URL=service.url, MAILSVC_API_KEY=FIRST, PYTHONUNBUFFERED="1"),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout
        try:
            sending = asyncio.create_task(_until_cancelled(service))
            await _told(process.stdout, "")  # what was sent before it listened is not told
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await service.kill()
            await service.start()  # elsewhere, so that the listener does not find it
            missed = await post(service)
            shown = await as_json(service, "mails", "show", missed)
            while shown["status"] != "sent":
                await asyncio.sleep(0.1)
                shown = await as_json(service, "mails", "show", missed)
            await service.kill()
            service.settings["PORT"] = port
            await service.start()
            await _told(process.stdout, missed)
        finally:
            process.kill()
            await process.wait()


async def _told(lines: asyncio.StreamReader, mail_id: str) -> None:
    """Read on until it is told that this mail was sent, or any."""
    while True:
        event = json.loads(await asyncio.wait_for(lines.readline(), 30))
        if event["event"] == "mail" and event["status"] == "sent" and mail_id in ("", event["id"]):
            return


async def _until_cancelled(service: Mailsvc) -> None:
    while True:
        await post(service)
        await asyncio.sleep(0.2)


async def test_a_tail_without_the_right_key_or_a_server_ends_with_the_reason(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        code, _, err = await run(tmp_path, "tail", "--url", service.url, "--key", "wrong")
        assert (code, "API key is needed" in err) == (1, True)
        url = service.url
    code, _, err = await run(tmp_path, "tail", "--url", url)

    assert (code, "Is the server running?" in err) == (1, True)


async def test_the_suppression_list_is_looked_at_and_changed(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        added = await told(service, "suppressions", "add", "ann@example.com", "--reason", "asked to")
        assert added == "ann@example.com gets no mail\n"
        assert "asked to" in await told(service, "suppressions")
        (entry,) = (await as_json(service, "suppressions", "list", "--address", "ann@example.com"))["data"]
        assert entry["source"] == "api"
        assert "expires_at" in await told(
            service, "suppressions", "add", "b@example.com", "--expires-at", "soon", code=1
        )
        assert await told(service, "suppressions", "remove", "ann@example.com") == "ann@example.com gets mail again\n"
        assert "not on the suppression list" in await told(service, "suppressions", "remove", "ann@example.com", code=1)


async def test_a_provider_is_paused_and_resumed_and_a_doubt_resolved_with_json(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        provider.fault("hang")
        settings = {
            "MAILSVC_API_KEY": FIRST,
            "MAILSVC_FROM": "shop@example.com",
            "SENDGRID_API_KEY": "SG.x",
            "SENDGRID_URL": provider.url,
            "MAILSVC_TIMEOUT": "0.3",
            "MAILSVC_ON_UNCERTAIN": "hold",
        }
        async with Mailsvc(tmp_path, **settings) as service:
            assert (await as_json(service, "providers", "pause", "sendgrid"))["state"] == "paused"
            assert (await as_json(service, "providers", "resume", "sendgrid"))["state"] != "paused"
            mail_id = await post(service)
            while (await as_json(service, "mails", "show", mail_id))["status"] != "uncertain":
                await asyncio.sleep(0.05)
            assert await told(service, "mails", "resolve", mail_id, "--as", "sent") == f"sent  {mail_id}\n"


async def test_a_mail_that_waits_is_canceled_and_those_that_failed_go_again(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        provider.fault("answer", status=400)
        settings = {
            "MAILSVC_API_KEY": FIRST,
            "MAILSVC_FROM": "shop@example.com",
            "SENDGRID_API_KEY": "SG.x",
            "SENDGRID_URL": provider.url,
        }
        async with Mailsvc(tmp_path, **settings) as service:
            waits = await post(service, send_at=_tomorrow())
            assert await told(service, "mails", "cancel", waits) == f"canceled  {waits}\n"
            failed = [await post(service) for _ in range(3)]
            for each in failed:
                while (await as_json(service, "mails", "show", each))["status"] != "failed":
                    await asyncio.sleep(0.05)
            provider.clear()
            await told(service, "providers", "pause", "sendgrid")  # what is queued again stays queued for us to see
            assert await told(service, "mails", "retry", failed[0]) == f"queued  {failed[0]}\n"
            many = await told(service, "mails", "retry", "--status", "failed")
            assert many == "2 mails are on their way again, 0 are not\n"
            await told(service, "providers", "resume", "sendgrid")
            for each in failed:
                while (await as_json(service, "mails", "show", each))["status"] != "sent":
                    await asyncio.sleep(0.05)
            for wrong in (("retry",), ("retry", waits, "--status", "failed"), ("retry", "--to", "a@b.co")):
                assert "--status for many" in await told(service, "mails", *wrong, code=2)


def _tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).isoformat()


async def test_a_dry_run_tells_who_would_be_asked_and_sends_nothing(tmp_path: Path) -> None:
    providers = {"SENDGRID_API_KEY": "SG.x", "MANDRILL_API_KEY": "y", "MAILSVC_FROM": "Shop <shop@example.com>"}
    mail = ("send", "ann@example.com", "bob@example.com", "-s", "Hi", "--html", "<p>Hi</p>", "--dry-run")
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST, **providers) as service:
        await told(service, "suppressions", "add", "bob@example.com")
        await told(service, "providers", "pause", "sendgrid")
        table = await told(service, *mail)
        plan = await as_json(service, *mail)
        nobody = await told(service, "send", "bob@example.com", "-s", "Hi", "--text", "Hi", "--dry-run", code=1)
        both = await told(service, *mail, "--wait", code=2)
        wrong = await told(service, "send", "ann", "-s", "Hi", "--text", "Hi", "--dry-run", code=1)
        listed = await as_json(service, "mails")

    lines = table.splitlines()
    assert lines[0].startswith("would be queued, due 20")
    assert lines[1] == "from Shop <shop@example.com> to ann@example.com, bob@example.com: Hi"
    rows = [line.split() for line in lines if line.startswith(("mandrill", "sendgrid"))]
    assert [row[:3] for row in rows] == [["mandrill", "40.0", "chosen"], ["sendgrid", "50.0", "paused"]]
    assert "left out: bob@example.com is on the suppression list (manual)" in lines
    assert any(line.startswith("warning: there is no text part") for line in lines)
    assert (plan["dry_run"], [row["provider"] for row in plan["providers"]]) == (True, ["mandrill", "sendgrid"])
    assert "would be suppressed" in nobody
    assert "leave --wait and --provider out" in both
    assert "to[0]: must be an address" in wrong
    assert listed["data"] == []
