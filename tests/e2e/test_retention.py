"""What is forgotten by the running service, and that nothing of it stays on the disk."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.process import Mailsvc, run

CANARIES = {"to": "canary-recipient@example.com", "to_name": "canary-name", "subject": "canary-subject"}


def found(folder: Path) -> list[str]:
    """The canaries that are in a file."""
    files = b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())
    words = ("canary-recipient", "canary-name", "canary-subject", "canary-body")
    return [word for word in words if word.encode() in files]


async def test_bodies_are_erased_when_their_time_has_come_and_the_mail_says_so(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_KEEP_BODY="0") as service:
        mail_id = await service.post(content="canary-body " * 2000)
        before = await service.settled(mail_id)
        service.terminate()
        await service.ended()
        await service.start()  # old bodies are looked for at every start, and then once a minute
        while not (await service.mail(mail_id))["erased_at"]:
            await asyncio.sleep(0.02)
        after = await service.mail(mail_id)
        page = await service.call("GET", f"/mail/{mail_id}")
        html = await service.call("GET", f"/mail/{mail_id}/html")
        inbox = await service.call("GET", "/inbox")
        parts = await service.call("GET", "/")
        service.terminate()
        await service.ended()

    assert before["erased_at"] is None
    assert after == before | {"erased_at": after["erased_at"]}
    assert [answer[0] for answer in (page, html, inbox, parts)] == [200] * 4
    assert "Its bodies were erased" in page[2]
    assert "have been erased" in html[2]
    assert found(tmp_path) == []


@pytest.mark.sqlite
async def test_an_erased_recipient_is_on_the_disk_no_more(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        mail_id = await service.post(**CANARIES, content="canary-body " * 2000)
        other = await service.post()
        for each in (mail_id, other):
            await service.settled(each)
        before = found(tmp_path)
        erased = await run(tmp_path, "erase", "Canary-Recipient@example.com", MAILSVC_URL=service.url)
        again = await run(tmp_path, "erase", "canary-recipient@example.com", "--json", MAILSVC_URL=service.url)
        after = found(tmp_path)
        mail = await service.mail(mail_id)
        listed = await service.call("GET", "/email?to=canary-recipient@example.com")
        kept = await service.mail(other)

    assert len(before) == 4
    assert (erased[0], erased[1], again[0]) == (0, "1 mails erased\n", 0)
    assert after == []
    assert (mail["status"], mail["to"], mail["subject"]) == ("sent", ["erased@erased.invalid"], "(erased)")
    assert listed[2]["data"] == []
    assert (kept["to"], kept["erased_at"]) == (["ann@example.com"], None)


async def test_a_mail_that_waits_is_not_erased_and_the_caller_is_told(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        await service.call("POST", "/providers/capture/pause")
        mail_id = await service.post()
        waiting = await run(tmp_path, "erase", "ann@example.com", MAILSVC_URL=service.url)
        await service.call("POST", "/providers/capture/resume")
        await service.settled(mail_id)
        done = await service.call("POST", "/erase", json={"address": "ann@example.com"})
        faults = [
            await service.call("POST", "/erase", json=body)
            for body in ({}, {"address": 5}, {"address": "ann"}, {"address": "a@b.co", "all": True})
        ]

    assert waiting[0] == 1
    assert "1 are not final yet" in waiting[1]
    assert done[2] == {"erased": 1, "waiting": 0}
    assert [(fault[0], fault[2]["errors"][0]["field"]) for fault in faults] == [
        (422, "address"),
        (422, "address"),
        (422, "address"),
        (422, "all"),
    ]
