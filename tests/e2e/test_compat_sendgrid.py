"""SendGrid's own SDK against the real process: only its host and its key are changed."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient
from sendgrid.helpers import mail as sg

from tests.e2e.process import Mailsvc
from tests.e2e.test_keys import FIRST, bearer

SANDBOX = {"MAILSVC_API_KEY": FIRST, "MAILSVC_CAPTURE": "1"}


def simple(**how: Any) -> sg.Mail:
    given = {"to_emails": "ann@example.com", "subject": "Hi", "html_content": "<p>Hi</p>"} | how
    return sg.Mail(from_email=("shop@example.com", 'The "Shop", Ltd'), **given)


async def send(service: Mailsvc, mail: sg.Mail | dict[str, Any], key: str = FIRST) -> Any:
    client = SendGridAPIClient(key, host=f"{service.url}/compat/sendgrid")
    return await asyncio.to_thread(client.send, mail)


async def refused(service: Mailsvc, mail: Any, key: str = FIRST) -> tuple[int, list[dict[str, Any]]]:
    with pytest.raises(HTTPError) as error:
        await send(service, mail, key)
    return error.value.status_code, json.loads(error.value.body)["errors"]


async def test_a_whole_mail_of_the_sdk_is_taken_and_sent(tmp_path: Path) -> None:
    mail = simple(plain_text_content="Hi")
    mail.add_cc("cleo@example.com")
    mail.add_bcc("unseen@example.com")
    mail.reply_to = sg.ReplyTo("answers@example.com", "Answers")
    mail.add_header(sg.Header("X-Order", "1042"))
    mail.add_category(sg.Category("receipt"))
    mail.add_custom_arg(sg.CustomArg("order", "1042"))
    mail.attachment = sg.Attachment(
        sg.FileContent(b64encode(b"%PDF").decode()),
        sg.FileName("a.pdf"),
        sg.FileType("application/pdf"),
        sg.Disposition("attachment"),
        sg.ContentId("not counted here"),
    )
    tracking = sg.TrackingSettings()
    tracking.click_tracking = sg.ClickTracking(False, False)
    mail.tracking_settings = tracking
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        answer = await send(service, mail)
        mail_id = answer.headers["X-Message-Id"]
        _, _, found = await service.call("GET", f"/email/{mail_id}?wait=settled", headers=bearer(FIRST))

    assert (answer.status_code, answer.body) == (202, b"")
    assert (found["status"], found["from"]) == ("sent", '"The \\"Shop\\", Ltd" <shop@example.com>')
    assert (found["tags"], found["metadata"]) == (["receipt"], {"order": "1042"})
    assert [each["role"] for each in found["recipients"]] == ["to", "cc", "bcc"]


async def test_each_personalization_is_a_mail_and_one_that_is_wrong_stops_them_all(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        people = [sg.To(f"r{n}@example.com", f"R{n}", subject=f"Number {n}", p=n) for n in range(3)]
        answer = await send(service, simple(to_emails=people, is_multiple=True))
        ids = answer.headers["X-Mailsvc-Ids"].split(",")
        shown = [(await service.call("GET", f"/email/{each}", headers=bearer(FIRST)))[2] for each in ids]
        assert sorted((each["to"][0], each["subject"]) for each in shown) == [
            (f"r{n}@example.com", f"Number {n}") for n in range(3)
        ]
        assert answer.headers["X-Message-Id"] == ids[0]

        wrong = simple(to_emails=[*people, sg.To("nobody@nowhere", p=3)], is_multiple=True)
        place = [each["to"][0]["email"] for each in wrong.get()["personalizations"]].index("nobody@nowhere")
        status, errors = await refused(service, wrong)
        _, _, listed = await service.call("GET", "/email", headers=bearer(FIRST))

    assert (status, [each["field"] for each in errors]) == (400, [f"personalizations.{place}.to[0]"])
    assert len(listed["data"]) == 3


async def test_what_cannot_be_carried_is_refused_in_sendgrids_words(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        plain = simple().get()
        for field, value in [
            ("template_id", "d-1"),
            ("asm", {"group_id": 1}),
            ("ip_pool_name", "x"),
            ("batch_id", "x"),
            ("tracking_settings", {"open_tracking": {"enable": True}}),
            ("mail_settings", {"footer": {"enable": True}}),
        ]:
            status, (error,) = await refused(service, plain | {field: value})
            assert (status, error["field"].split(".")[0]) == (400, field)
            assert "cannot be carried by mailsvc" in error["message"]
        person = plain["personalizations"][0] | {"dynamic_template_data": {"name": "Ann"}}
        _, (error,) = await refused(service, plain | {"personalizations": [person]})
        assert error["field"] == "personalizations.0.dynamic_template_data"
        _, (error,) = await refused(service, plain | {"content": [{"type": "text/calendar", "value": "x"}]})
        assert error["field"] == "content.0.type"
        status, (error,) = await refused(service, plain | {"subject": ""})
        assert error == {"message": "subject: is required", "field": "subject", "help": None}
        status, (error,) = await refused(service, plain, "SG.wrong")
        assert (status, error["field"]) == (401, None)
        _, _, listed = await service.call("GET", "/email", headers=bearer(FIRST))

    assert listed["data"] == []


async def test_its_sandbox_mode_looks_at_a_mail_and_sends_nothing(tmp_path: Path) -> None:
    mail = simple()
    mail.mail_settings = sg.MailSettings(sandbox_mode=sg.SandBoxMode(True))
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        answer = await send(service, mail)
        _, _, listed = await service.call("GET", "/email", headers=bearer(FIRST))

    assert (answer.status_code, listed["data"]) == (200, [])


async def test_a_time_to_send_at_counts_for_all_or_for_one(tmp_path: Path) -> None:
    at = int(time.time()) + 86_400
    people = [sg.To("ann@example.com", p=0), sg.To("bob@example.com", p=1)]
    mail = simple(to_emails=people, is_multiple=True).get() | {"send_at": at}
    mail["personalizations"][0]["send_at"] = at + 60
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        answer = await send(service, mail)
        ids = answer.headers["X-Mailsvc-Ids"].split(",")
        shown = [(await service.call("GET", f"/email/{each}", headers=bearer(FIRST)))[2] for each in ids]
        status, (error,) = await refused(service, simple().get() | {"send_at": -1})

    assert [each["status"] for each in shown] == ["scheduled", "scheduled"]
    assert [datetime.fromisoformat(each["due_at"]).timestamp() - at for each in shown] == [60, 0]
    assert (status, error["field"]) == (400, "send_at")
