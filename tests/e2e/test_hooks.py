"""Reports in the real process: posted as providers post them, signed, forged, a thousand times, and killed between."""

import asyncio
import json
import re
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import Mailsvc, run
from tests.fakes import FakeProvider
from tests.providers import hooks
from tests.providers.hooks import Request
from tests.providers.test_hooks import DELIVERED, SIGNED, mutations

TO = hooks.TO


def settings(fake: FakeProvider | None, *names: str, **more: str) -> dict[str, str]:
    """The environment for these providers, all of which report."""
    found = {"MAILSVC_FROM": "Shop <shop@example.com>", "MAILSVC_PUBLIC_URL": hooks.PUBLIC}
    variables = {
        "sendgrid": ("SENDGRID_API_KEY",),
        "mandrill": ("MANDRILL_API_KEY",),
        "mailgun": ("MAILGUN_API_KEY", "MAILGUN_DOMAIN"),
        "resend": ("RESEND_API_KEY",),
        "mailersend": ("MAILERSEND_API_KEY",),
        "postmark": ("POSTMARK_SERVER_TOKEN",),
        "ses": ("SES_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    }
    for name in names:
        found |= {variable: hooks.VALUES.get(variable, "key-of-the-tests") for variable in variables[name]}
        found[f"{name.upper()}_WEBHOOK_KEY"] = hooks.key(name)
        if fake:
            found[f"{name.upper()}_URL"] = fake.url
    return found | more


def about(name: str, event: str, mail_id: str, number: int = 1, **more: Any) -> Request:
    """A genuine request of now."""
    return hooks.sign(name, hooks.body(name, event, number, mail_id, **more), time.time(), number)


async def tell(service: Mailsvc, name: str, request: Request) -> tuple[int, Any]:
    kinds = {"mandrill": "application/x-www-form-urlencoded"}
    headers = {"Content-Type": kinds.get(name, "application/json"), **request.headers}
    status, _, body = await service.call("POST", f"/hooks/{name}", data=BytesIO(request.body), headers=headers)
    return status, body


@pytest.mark.parametrize("name", ["sendgrid", "mandrill", "mailgun", "resend", "mailersend", "postmark"])
async def test_a_mail_is_delivered_and_comes_back_when_its_provider_says_so(tmp_path: Path, name: str) -> None:
    bounces: dict[str, tuple[str, dict[str, Any]]] = {
        "sendgrid": ("bounce", {"type": "bounce", "reason": "550 no"}),
        "mandrill": ("hard_bounce", {"diag": "550 no"}),
        "mailgun": ("failed", {"severity": "permanent"}),
        "resend": ("email.bounced", {"bounce": {"type": "Permanent"}}),
        "mailersend": ("hard_bounced", {}),
        "postmark": ("Bounce", {"Type": "HardBounce"}),
    }
    async with FakeProvider() as fake, Mailsvc(tmp_path, **settings(fake, name)) as service:
        mail_id = await service.post(to=TO)
        await service.until(mail_id, "sent")
        first = await tell(service, name, about(name, DELIVERED[name], mail_id))
        delivered = await service.until(mail_id, "delivered")
        again = await tell(service, name, about(name, DELIVERED[name], mail_id))
        event, more = bounces[name]
        await tell(service, name, about(name, event, mail_id, 2, **more))
        bounced = await service.until(mail_id, "bounced")
        _, _, metrics = await service.call("GET", "/metrics")

    assert (first, again) == ((200, {"new": 1}), (200, {"new": 0}))
    assert delivered["recipients"] == [{"address": TO, "role": "to", "status": "delivered"}]
    assert [(event["type"], event["provider"], event["recipient"]) for event in bounced["events"]] == [
        ("delivered", name, TO),
        ("bounced", name, TO),
    ]
    assert re.search(rf'mailsvc_reports_total\{{.*provider="{name}",type="delivered"\}} 1\.0', metrics)


async def test_whatever_is_wrong_with_a_request_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    names = [name for name in SIGNED if name != "ses"]
    async with FakeProvider() as fake, Mailsvc(tmp_path, **settings(fake, *names)) as service:
        mail_id = await service.post(to=TO)
        before = await service.settled(mail_id)
        for name in names:
            good = about(name, DELIVERED[name], mail_id)
            refused = {what: posted for what, (posted, _, _) in mutations(name).items() if what != "another key"}
            refused["cut now"] = replace(good, body=good.body[:-2])
            refused["nothing"] = Request({}, b"")
            for what, posted in refused.items():
                status, body = await tell(service, name, posted)
                assert (status, body["code"], body["status"]) == (401, "unauthorized", 401), (name, what, body)
        after, log = await service.mail(mail_id), service.log

    assert after == before
    assert not any(hooks.key(name) in line for name in names for line in log)


async def test_a_thousand_replays_have_one_effect(tmp_path: Path) -> None:
    async with FakeProvider() as fake, Mailsvc(tmp_path, **settings(fake, "mandrill")) as service:
        mail_id = await service.post(to=TO)
        await service.until(mail_id, "sent")
        posted = about("mandrill", "delivered", mail_id)
        answers = []
        for _ in range(20):
            answers += await asyncio.gather(*(tell(service, "mandrill", posted) for _ in range(50)))
        mail = await service.until(mail_id, "delivered")

    assert {status for status, _ in answers} == {200}
    assert sum(body["new"] for _, body in answers) == 1
    assert [event["type"] for event in mail["events"]] == ["delivered"]


async def test_a_captured_signature_of_mailgun_is_good_for_nothing_else(tmp_path: Path) -> None:
    async with FakeProvider() as fake, Mailsvc(tmp_path, **settings(fake, "mailgun")) as service:
        mail_id = await service.post(to=TO)
        await service.until(mail_id, "sent")
        genuine = about("mailgun", "opened", mail_id)
        assert await tell(service, "mailgun", genuine) == (200, {"new": 1})
        document = json.loads(genuine.body)
        document["event-data"] |= {"event": "complained", "id": "forged"}
        status, body = await tell(service, "mailgun", replace(genuine, body=json.dumps(document).encode()))
        await tell(service, "mailgun", about("mailgun", "delivered", mail_id, 2))
        mail = await service.until(mail_id, "delivered")

    assert (status, body["code"]) == (401, "unauthorized")
    assert {event["type"] for event in mail["events"]} == {"opened", "delivered"}


async def test_nothing_is_lost_by_a_kill_between_the_answer_and_the_work(tmp_path: Path) -> None:
    async with FakeProvider() as fake, Mailsvc(tmp_path, **settings(fake, "sendgrid")) as service:
        mail_id = await service.post(to=TO)
        await service.until(mail_id, "sent")
        batch = [hooks.body("sendgrid", "deferred", number, mail_id)[0] for number in range(900)]
        batch += hooks.body("sendgrid", "delivered", 1000, mail_id)
        answer = await tell(service, "sendgrid", hooks.sign("sendgrid", batch, time.time()))
        await service.kill()
        await service.start()
        mail = await service.until(mail_id, "delivered")

    assert answer == (200, {"new": 901})
    assert [event["type"] for event in mail["events"]] == ["delayed"] * 900 + ["delivered"]


async def test_a_report_settles_a_doubt_and_nothing_is_sent_again(tmp_path: Path) -> None:
    async with FakeProvider() as fake:
        fake.fault("close", accepted=True, times=1)
        async with Mailsvc(tmp_path, **settings(fake, "sendgrid", MAILSVC_UNCERTAIN_AFTER="60")) as service:
            mail_id = await service.post(to=TO)
            await service.until(mail_id, "uncertain")
            await tell(service, "sendgrid", about("sendgrid", "processed", mail_id))
            sent = await service.until(mail_id, "sent")

            assert (sent["due_at"], sent["error"], fake.accepted(mail_id)) == (None, None, 1)
    assert [(attempt["outcome"], attempt["resolved"]) for attempt in sent["attempts"]] == [("unanswered", "report")]


async def test_a_mail_that_went_out_twice_is_shown_and_counted(tmp_path: Path) -> None:
    async with FakeProvider() as fake, FakeProvider() as other:
        fake.fault("close", accepted=True, times=1)
        more = {"MAILSVC_UNCERTAIN_AFTER": "0.1", "POSTMARK_URL": other.url}
        names = ("sendgrid", "postmark")
        async with Mailsvc(tmp_path, **settings(fake, *names, **{"SENDGRID_SCORE": "90", **more})) as service:
            mail_id = await service.post(to=TO)
            await service.until(mail_id, "sent")
            await tell(service, "sendgrid", about("sendgrid", "delivered", mail_id))
            mail = await service.until(mail_id, "delivered")
            _, _, metrics = await service.call("GET", "/metrics")

    assert [event["type"] for event in mail["events"]][-1] == "double"
    assert re.search(r"mailsvc_duplicates_confirmed_total(\{.*\})? 1\.0", metrics)


async def test_reports_need_no_api_key_and_only_those_who_can_be_known_are_heard(tmp_path: Path) -> None:
    more = {"MAILSVC_API_KEY": "a-key-that-nobody-guesses", "SMTP_URL": "smtp://127.0.0.1:1", "RESEND_API_KEY": "re_x"}
    async with FakeProvider() as fake, Mailsvc(tmp_path, **settings(fake, "sendgrid", **more)) as service:
        good = about("sendgrid", "delivered", hooks.MAIL_ID)
        assert await tell(service, "sendgrid", good) == (200, {"new": 1})
        missing = [await tell(service, name, good) for name in ("resend", "smtp", "capture", "mailgun", "x", "%00")]
        large = await tell(service, "sendgrid", replace(good, body=b" " * ((1 << 20) + 1)))
        looks = [(await service.call("HEAD", f"/hooks/{name}"))[0] for name in ("sendgrid", "resend", "smtp", "x")]
        other, headers, _ = await service.call("GET", "/hooks/sendgrid")

    assert [(status, body["code"]) for status, body in missing] == [(404, "not_found")] * 6
    assert "RESEND_WEBHOOK_KEY" in missing[0][1]["detail"]
    assert (large[0], large[1]["code"]) == (413, "too_large")
    assert looks == [200, 200, 404, 404]
    assert (other, headers["Allow"]) == (405, "POST, HEAD")


async def test_the_command_line_says_where_reports_go_and_the_doctor_what_is_missing(tmp_path: Path) -> None:
    ready = settings(None, "sendgrid", "resend")
    bare = {"MAILSVC_FROM": "a@shop.example", "SENDGRID_API_KEY": "SG.x", "SMTP_URL": "smtp://127.0.0.1:1"}
    code, out, _ = await run(tmp_path, "providers", "hooks", **ready)
    _, as_json, _ = await run(tmp_path, "providers", "hooks", "--json", **ready)
    _, lacking, _ = await run(tmp_path, "providers", "hooks", **bare)
    _, unnamed, _ = await run(tmp_path, "doctor", "--offline", **settings(None, "mandrill", MAILSVC_PUBLIC_URL=""))
    _, nobody, _ = await run(tmp_path, "providers", "hooks")
    _, doctor, _ = await run(tmp_path, "doctor", "--offline", **bare)
    _, well, _ = await run(tmp_path, "doctor", "--offline", **ready)
    wrong, _, fault = await run(tmp_path, "providers", "hooks", **ready | {"SENDGRID_WEBHOOK_KEY": "nonsense"})

    assert code == 0
    assert "URL  https://mail.example.com/hooks/sendgrid" in out
    assert "key  RESEND_WEBHOOK_KEY (is set)" in out
    assert [row["missing"] for row in json.loads(as_json)] == [[], []]
    assert "MAILSVC_PUBLIC_URL is not set" in lacking
    assert "SENDGRID_WEBHOOK_KEY (is not set)" in lacking
    assert "smtp" not in lacking
    assert nobody.strip() == "No provider is configured that sends reports."
    assert "sendgrid cannot tell what becomes of mails" in doctor
    assert "cannot tell" not in well
    assert "mandrill cannot tell what becomes of mails -> set MAILSVC_PUBLIC_URL" in unnamed
    assert (wrong, "SENDGRID_WEBHOOK_KEY must be" in fault, "nonsense" in fault) == (78, True, False)
