"""Resend's own SDK against the real process: only its base URL and its key are changed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import resend

from tests.e2e.process import Mailsvc
from tests.e2e.test_keys import FIRST, bearer, made

MAIL: dict[str, Any] = {
    "from": "Shop <shop@example.com>",
    "to": ["Ann <ann@example.com>"],
    "subject": "Hello",
    "html": "<p>Hi</p>",
    "text": "Hi",
}


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("api_url", "api_key"):
        monkeypatch.setattr(resend, name, getattr(resend, name))


def point_at(service: Mailsvc, key: str = FIRST) -> None:
    resend.api_url, resend.api_key = f"{service.url}/compat/resend", key


async def send(mail: dict[str, Any], **options: Any) -> Any:
    return await asyncio.to_thread(resend.Emails.send, mail, options or None)


async def refused(mail: Any, call: Any = resend.Emails.send) -> tuple[Any, str, str]:
    """What the SDK raises: code, type, message."""
    with pytest.raises(resend.exceptions.ResendError) as error:
        await asyncio.to_thread(call, mail)
    return error.value.code, error.value.error_type, str(error.value)


async def test_a_whole_mail_of_the_sdk_is_taken_sent_and_shown_by_both_apis(tmp_path: Path) -> None:
    whole = MAIL | {
        "cc": ["cleo@example.com"],
        "bcc": "unseen@example.com",
        "reply_to": "answers@example.com",
        "headers": {"X-Order": "1042"},
        "tags": [{"name": "order", "value": "1042"}],
        "attachments": [{"filename": "a.txt", "content": list(b"Hi")}, {"filename": "b.txt", "content": "SGk="}],
    }
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST, MAILSVC_CAPTURE="1") as service:
        point_at(service)
        sent = await send(whole)
        _, _, mail = await service.call("GET", f"/email/{sent['id']}?wait=settled", headers=bearer(FIRST))
        shown = await asyncio.to_thread(resend.Emails.get, sent["id"])

    assert (mail["status"], mail["metadata"], mail["from"]) == ("sent", {"order": "1042"}, "Shop <shop@example.com>")
    assert {each["address"]: each["role"] for each in mail["recipients"]} == {
        "ann@example.com": "to",
        "cleo@example.com": "cc",
        "unseen@example.com": "bcc",
    }
    assert (shown["object"], shown["last_event"], shown["html"]) == ("email", "sent", "<p>Hi</p>")
    assert (shown["to"], shown["cc"], shown["reply_to"]) == (
        ["ann@example.com"],
        ["cleo@example.com"],
        ["answers@example.com"],
    )


async def test_the_sdks_idempotency_key_makes_one_mail_and_is_refused_for_another(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST, MAILSVC_CAPTURE="1") as service:
        point_at(service)
        ids = {(await send(MAIL, idempotency_key="k"))["id"] for _ in range(3)}
        with pytest.raises(resend.exceptions.ResendError) as error:
            await send(MAIL | {"subject": "Other"}, idempotency_key="k")

    assert len(ids) == 1
    assert (error.value.code, error.value.error_type) == (409, "invalid_idempotent_request")


async def test_what_is_wrong_is_told_as_resend_tells_it(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST, MAILSVC_CAPTURE="1") as service:
        read_only, _ = await made(service, scopes=["read"])
        point_at(service)
        no_sender = {name: value for name, value in MAIL.items() if name != "from"}
        assert await refused(no_sender) == (422, "missing_required_field", "from: is required")
        assert (await refused(MAIL | {"to": "nobody"}))[:2] == (422, "validation_error")
        for field in ("template", "topic_id", "unheard_of"):
            code, kind, words = await refused(MAIL | {field: {"id": "1"}})
            assert (code, kind) == (422, "validation_error")
            assert words.startswith(f"{field}: cannot be carried")
        remote = MAIL | {"attachments": [{"filename": "a.txt", "path": "https://example.com/a.txt"}]}
        assert "attachments[0].path: cannot be carried" in (await refused(remote))[2]
        point_at(service, "re_wrong")
        assert (await refused(MAIL))[:2] == (403, "invalid_api_key")
        point_at(service, read_only)
        assert (await refused(MAIL))[:2] == (403, "restricted_api_key")
        point_at(service)
        assert (await refused("01a20c4f-9f14-7ca9-806c-59d8f7b56a5f", resend.Emails.get))[:2] == (404, "not_found")
        status, _, body = await service.call("POST", "/compat/resend/emails", json=MAIL)
        _, _, listed = await service.call("GET", "/email", headers=bearer(FIRST))

    assert (status, body["name"], body["statusCode"]) == (401, "missing_api_key", 401)
    assert listed["data"] == []


async def test_a_batch_is_taken_as_a_whole_or_where_that_is_asked_for_in_part(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST, MAILSVC_CAPTURE="1") as service:
        point_at(service)
        batch: Any = [MAIL | {"to": f"r{n}@example.com"} for n in range(5)]
        keyed: Any = {"idempotency_key": "b"}
        sent = [await asyncio.to_thread(resend.Batch.send, batch, keyed) for _ in range(2)]
        assert len({each["id"] for each in sent[0]["data"]}) == 5
        assert sent[0]["data"] == sent[1]["data"]

        wrong: Any = [*batch, MAIL | {"subject": ""}]
        assert (await refused(wrong, resend.Batch.send))[2] == "5.subject: is required"
        with pytest.raises(resend.exceptions.ResendError) as error:
            await asyncio.to_thread(resend.Batch.send, [*batch, MAIL], keyed)
        assert error.value.error_type == "invalid_idempotent_request"
        _, _, listed = await service.call("GET", "/email", headers=bearer(FIRST))
        assert len(listed["data"]) == 5

        loose = await asyncio.to_thread(resend.Batch.send, wrong, {"batch_validation": "permissive"})

    assert len(loose["data"]) == 5
    assert loose["errors"] == [{"index": 5, "message": "5.subject: is required"}]


async def test_a_scheduled_mail_is_rescheduled_and_canceled_by_the_sdk(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST, MAILSVC_CAPTURE="1") as service:
        point_at(service)
        later, still_later = (f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT%H:%M:%S.000Z}" for days in (1, 2))
        mail_id = (await send(MAIL | {"scheduled_at": later}))["id"]
        shown = await asyncio.to_thread(resend.Emails.get, mail_id)
        assert (shown["last_event"], shown["scheduled_at"]) == ("scheduled", later)
        await asyncio.to_thread(resend.Emails.update, {"id": mail_id, "scheduled_at": still_later})
        assert (await asyncio.to_thread(resend.Emails.get, mail_id))["scheduled_at"] == still_later
        assert (await asyncio.to_thread(resend.Emails.cancel, mail_id))["id"] == mail_id
        assert (await asyncio.to_thread(resend.Emails.get, mail_id))["last_event"] == "canceled"

        assert (await refused({"id": mail_id, "scheduled_at": later}, resend.Emails.update))[0] == 409
        assert (await refused({"id": mail_id}, resend.Emails.update))[1] == "missing_required_field"
        assert "scheduled_at: " in (await refused({"id": mail_id, "scheduled_at": "in 1 h"}, resend.Emails.update))[2]
        assert "scheduled_at: " in (await refused(MAIL | {"scheduled_at": "in 1 h"}))[2]


async def test_the_body_of_a_sensitive_mail_is_not_shown(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST, MAILSVC_CAPTURE="1") as service:
        point_at(service)
        await service.call("POST", "/providers/capture/pause", headers=bearer(FIRST))
        secret = {"to": "ann@example.com", "subject": "Code", "text": "4711", "sensitive": True}
        _, _, added = await service.call("POST", "/email", json=secret, headers=bearer(FIRST))
        shown = await asyncio.to_thread(resend.Emails.get, added["id"])

    assert (shown["subject"], shown["text"], shown["html"]) == ("Code", None, None)
