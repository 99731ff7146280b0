"""Postmark's own SDK against the real process: only its base URL and its token are changed."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from postmark.clients.server_client import ServerClient
from postmark.exceptions import InvalidAPIKeyException, PostmarkAPIException, ValidationException
from postmark.models.outbound.schemas import Email

from tests.e2e.process import Mailsvc
from tests.e2e.test_keys import FIRST, bearer

SANDBOX = {"MAILSVC_API_KEY": FIRST, "MAILSVC_CAPTURE": "1"}
MAIL: dict[str, Any] = {
    "sender": "Shop <shop@example.com>",
    "to": 'Ann <ann@example.com>, "Lee, Bob" <bob@example.com>',
    "subject": "Hi",
    "text_body": "Hi",
}


def client(service: Mailsvc, token: str = FIRST) -> ServerClient:
    return ServerClient(token, retries=0, base_url=f"{service.url}/compat/postmark")


async def refused(service: Mailsvc, mail: dict[str, Any], token: str = FIRST) -> PostmarkAPIException:
    async with client(service, token) as postmark:
        with pytest.raises(PostmarkAPIException) as error:
            await postmark.outbound.send(Email.model_validate(mail))
    return error.value


async def test_a_whole_mail_of_the_sdk_is_taken_and_sent(tmp_path: Path) -> None:
    whole = MAIL | {
        "cc": "cleo@example.com",
        "bcc": "unseen@example.com",
        "reply_to": "answers@example.com, more@example.com",
        "html_body": "<img src='cid:logo'>",
        "tag": "receipt",
        "metadata": {"order": "1042"},
        "headers": [{"Name": "X-Order", "Value": "1042"}],
        "track_opens": False,
        "track_links": "None",
        "message_stream": "outbound",
        "attachments": [
            {
                "Name": "logo.png",
                "Content": b64encode(b"png").decode(),
                "ContentType": "image/png",
                "ContentID": "cid:logo",
            }
        ],
    }
    async with Mailsvc(tmp_path, **SANDBOX) as service, client(service) as postmark:
        sent = await postmark.outbound.send(Email.model_validate(whole))
        _, _, mail = await service.call("GET", f"/email/{sent.message_id}?wait=settled", headers=bearer(FIRST))

    assert (sent.success, sent.message, sent.to) == (True, "OK", MAIL["to"])
    assert (mail["status"], mail["to"]) == ("sent", ["ann@example.com", "bob@example.com"])
    assert (mail["tags"], mail["metadata"]) == (["receipt"], {"order": "1042"})
    assert [each["role"] for each in mail["recipients"]] == ["to", "to", "cc", "bcc"]


async def test_what_is_wrong_is_told_as_postmark_tells_it(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        error = await refused(service, MAIL | {"to": "nobody"})
        assert isinstance(error, ValidationException)
        assert (error.http_status, error.error_code, error.message[:6]) == (422, 300, "To[0]:")
        error = await refused(service, MAIL | {"text_body": None})
        assert error.message == "HtmlBody or TextBody: is required"
        for field, value, theirs in [
            ("track_opens", True, "TrackOpens"),
            ("track_links", "HtmlAndText", "TrackLinks"),
            ("message_stream", "broadcast", "MessageStream"),
        ]:
            error = await refused(service, MAIL | {field: value})
            assert error.message == f"{theirs}: cannot be carried by mailsvc; leave it out"
        error = await refused(service, MAIL, "wrong")
        assert isinstance(error, InvalidAPIKeyException)
        status, _, body = await service.call("POST", "/compat/postmark/email", json={})
        assert (status, body["ErrorCode"]) == (401, 10)
        _, _, listed = await service.call("GET", "/email", headers=bearer(FIRST))

    assert listed["data"] == []


async def test_in_a_batch_each_mail_has_its_own_answer(tmp_path: Path) -> None:
    batch = [Email.model_validate(MAIL | {"subject": subject}) for subject in ("one", "", "three")]
    async with Mailsvc(tmp_path, **SANDBOX) as service, client(service) as postmark:
        answers = await postmark.outbound.send_batch(list(batch))
        _, _, listed = await service.call("GET", "/email", headers=bearer(FIRST))

    assert [(each.error_code, each.message) for each in answers] == [
        (0, "OK"),
        (300, "Subject: is required"),
        (0, "OK"),
    ]
    assert {each["id"] for each in listed["data"]} == {answers[0].message_id, answers[2].message_id}


async def test_the_header_of_postmark_opens_nothing_but_its_own_routes(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        status, _, _ = await service.call("GET", "/email", headers={"X-Postmark-Server-Token": FIRST})

    assert status == 401
