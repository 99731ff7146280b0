"""A mail with everything, over HTTP: as JSON, as a form with files, and one that no provider can carry."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import aiohttp

from tests.e2e.process import Mailsvc

WHOLE = {
    "to": ["Ann <ann@example.com>", "bob@example.com"],
    "cc": "cleo@example.com",
    "bcc": ["unseen@example.com", "ANN@example.com"],
    "reply_to": "answers@example.com",
    "subject": "Everything",
    "content": "**hi**",
    "headers": {"X-Order": "1042"},
    "tags": ["receipt"],
    "metadata": {"order": "1042"},
    "attachments": [{"filename": "größe.pdf", "content": b64encode(b"%PDF").decode()}],
}
JSON = {"Content-Type": "application/json"}
SANDBOX = {"MAILSVC_CAPTURE": "1"}


def highest_memory(pid: int) -> int:
    """The most memory a process ever had, in kB."""
    return int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])


async def test_a_mail_with_everything_is_taken_sent_and_shown(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        status, _, added = await service.call("POST", "/email", json=WHOLE)
        assert status == 202

        _, _, mail = await service.call("GET", f"/email/{added['id']}?wait=settled")

    assert (mail["status"], mail["to"]) == ("sent", ["ann@example.com", "bob@example.com"])
    assert [(each["address"], each["role"]) for each in mail["recipients"][2:]] == [
        ("cleo@example.com", "cc"),
        ("unseen@example.com", "bcc"),
    ]
    assert (mail["tags"], mail["metadata"]) == (["receipt"], {"order": "1042"})


async def test_the_same_key_with_the_same_files_is_the_same_mail_and_with_others_is_refused(tmp_path: Path) -> None:
    async def post(service: Mailsvc, file: bytes) -> tuple[int, str]:
        form = aiohttp.FormData({"to": "ann@example.com", "subject": "A form", "text": "hi"})
        form.add_field("attachments", file, filename="a.txt", content_type="text/plain")
        status, _, answer = await service.call("POST", "/email", data=form, headers={"Idempotency-Key": "k"})
        return status, answer.get("id") or answer["code"]

    async with Mailsvc(tmp_path, **SANDBOX) as service:
        first = await post(service, b"one")
        assert first[0] == 202
        assert await post(service, b"one") == first
        assert await post(service, b"two") == (422, "idempotency_key_reused")


async def test_large_files_come_out_whole_and_many_at_once_keep_the_memory_bounded(tmp_path: Path) -> None:
    files = [{"filename": "a.bin", "content": b64encode(bytes(12_000_000)).decode()}]
    large = json.dumps({**WHOLE, "attachments": files}).encode()
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        ids = []
        for _ in range(8):
            status, _, added = await service.call("POST", "/email", data=BytesIO(large), headers=JSON)
            assert status == 202
            ids.append(added["id"])
        for mail_id in ids:
            _, _, mail = await service.call("GET", f"/email/{mail_id}?wait=settled&timeout=30")
            assert mail["status"] == "sent"
        peak = highest_memory(service.process.pid)

    assert peak < 400_000  # kB; eight of these mails held at once would take 500,000 and more


async def test_a_mail_that_no_provider_can_carry_is_refused_with_the_reasons(tmp_path: Path) -> None:
    many = {**WHOLE, "to": [f"r{n}@example.com" for n in range(50)], "cc": [f"c{n}@example.com" for n in range(50)]}
    keys = {"POSTMARK_SERVER_TOKEN": "POSTMARK_API_TEST", "MAILSVC_FROM": "a@example.com"}
    async with Mailsvc(tmp_path, **keys, POSTMARK_URL="http://127.0.0.1:9") as service:
        status, _, answer = await service.call("POST", "/email", json=many)

    assert (status, answer["errors"][0]["code"]) == (422, "cannot")
    assert "postmark takes" in answer["errors"][0]["message"]
