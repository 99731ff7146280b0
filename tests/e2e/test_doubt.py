"""Doubt in the real process: a provider that knows repeated requests, a person who decides, what the record says."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.e2e.process import FORM, Mailsvc, run
from tests.e2e.test_keys import FIRST, bearer, made, send
from tests.e2e.test_session import HTML, KEY, logged_in
from tests.fakes import FakeProvider


def keyed(resend: FakeProvider, sendgrid: FakeProvider, **settings: str) -> dict[str, str]:
    """The environment for a provider that knows repeated requests, asked first, and one that does not."""
    return {
        "MAILSVC_FROM": "Shop <shop@example.com>",
        "RESEND_API_KEY": "re_key",
        "RESEND_URL": resend.url,
        "RESEND_SCORE": "90",
        "SENDGRID_API_KEY": "SG.key",
        "SENDGRID_URL": sendgrid.url,
        "MAILSVC_RETRY": "0.2",
        "MAILSVC_UNCERTAIN_AFTER": "0.2",
    } | settings


def told(mail: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """Provider, outcome and resolution of each attempt."""
    return [(attempt["provider"], attempt["outcome"], attempt["resolved"]) for attempt in mail["attempts"]]


async def altered(service: Mailsvc, statement: str) -> None:
    """Run a statement on the service's database, behind its back."""
    if url := service.settings.get("DATABASE_URL"):
        connection = await asyncpg.connect(url, server_settings={"search_path": "mailsvc"})
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
        return
    with closing(sqlite3.connect(service.folder / "mailsvc.db")) as database, database:
        database.execute(statement)


@pytest.mark.parametrize("step", ["half", "body", "answer"])
async def test_a_mail_whose_handing_over_was_cut_by_a_kill_is_one_mail_in_the_same_bytes(
    tmp_path: Path, step: str
) -> None:
    async with FakeProvider() as resend, FakeProvider() as sendgrid:
        async with Mailsvc(tmp_path, **keyed(resend, sendgrid, MAILSVC_LEASE="2")) as service:
            resend.fault("kill", pid=service.process.pid, at=step, times=1)
            mail_id = await service.post(on_uncertain="hold")
            await service.ended()
            # As if everything that shapes a mail had changed meanwhile: its bytes must not.
            await altered(service, "UPDATE mail SET subject = 'changed', sender_address = 'changed@example.com'")
            service.settings |= {"RESEND_API_KEY": "re_new", "MAILSVC_FROM": "new@example.com"}
            await service.start()
            sent = await service.until(mail_id, "sent")

    assert told(sent) == [("resend", "interrupted", "same_key"), ("resend", "accepted", None)]
    assert [event["type"] for event in sent["events"]] == ["uncertain", "resolved"]
    assert resend.accepted(mail_id) == 1
    assert sendgrid.ledger == []
    if step != "half":  # whose entry holds what had been read by then
        assert len({entry.body_sha256 for entry in resend.ledger}) == 1
    assert resend.ledger[-1].key == mail_id


async def test_a_mail_without_an_answer_is_asked_about_until_there_is_one(tmp_path: Path) -> None:
    async with FakeProvider() as resend, FakeProvider() as sendgrid:
        resend.fault("close", accepted=True, times=2)
        settings = keyed(resend, sendgrid, MAILSVC_SELECTOR="classic")
        async with Mailsvc(tmp_path, **settings) as service:
            mail_id = await service.post()
            sent = await service.until(mail_id, "sent")

    assert told(sent) == [
        ("resend", "unanswered", "same_key"),
        ("resend", "unanswered", "same_key"),
        ("resend", "accepted", None),
    ]
    assert [entry.answer for entry in resend.ledger] == ["close", "close", "200, replayed"]
    assert (resend.accepted(mail_id), sendgrid.ledger) == (1, [])


async def test_a_request_that_is_still_at_work_is_waited_for(tmp_path: Path) -> None:
    async with FakeProvider() as resend, FakeProvider() as sendgrid:
        resend.fault("delay", seconds=4.0, times=1)
        settings = keyed(resend, sendgrid, MAILSVC_RETRY="0.1,0.3", MAILSVC_TIMEOUT="1")
        async with Mailsvc(tmp_path, **settings) as service:
            sent = await service.until(await service.post(), "sent")

    details = [attempt["detail"] for attempt in sent["attempts"]]
    assert "concurrent_idempotent_requests" in details[1]
    assert {attempt["provider"] for attempt in sent["attempts"]} == {"resend"}
    assert resend.accepted(sent["id"]) == 1
    assert sendgrid.ledger == []


async def test_a_provider_that_forgets_its_keys_makes_a_double_that_is_on_record_as_a_doubt(tmp_path: Path) -> None:
    async with FakeProvider(dedupes=False) as resend, FakeProvider() as sendgrid:
        resend.fault("close", accepted=True, times=1)
        async with Mailsvc(tmp_path, **keyed(resend, sendgrid)) as service:
            sent = await service.until(await service.post(), "sent")

    assert told(sent) == [("resend", "unanswered", "same_key"), ("resend", "accepted", None)]
    assert resend.accepted(sent["id"]) == 2


async def test_a_mail_in_doubt_whose_provider_was_taken_out_goes_elsewhere_or_is_held(tmp_path: Path) -> None:
    async with FakeProvider() as resend, FakeProvider() as sendgrid:
        resend.fault("close")
        async with Mailsvc(tmp_path, **keyed(resend, sendgrid, MAILSVC_RETRY="30")) as service:
            mail_id, held_id = await service.post(), await service.post(on_uncertain="hold")
            await service.until(mail_id, "uncertain")
            await service.until(held_id, "uncertain")
            await service.kill()
            await altered(service, "UPDATE mail SET due_at = 0, claimable_at = 0")
            del service.settings["RESEND_API_KEY"], service.settings["RESEND_URL"]
            await service.start()
            sent = await service.until(mail_id, "sent")
            held = await service.mail(held_id)
            while held["due_at"]:
                held = await service.mail(held_id)

    assert told(sent) == [("resend", "unanswered", "resend"), ("sendgrid", "accepted", None)]
    assert (held["status"], told(held)) == ("uncertain", [("resend", "unanswered", None)])
    assert "resend may have it" in held["error"]


async def in_doubt(service: Mailsvc) -> str:
    """A mail that waits for a person."""
    mail_id = await service.post(on_uncertain="hold")
    await service.until(mail_id, "uncertain")
    return mail_id


@pytest.mark.parametrize(("decision", "status"), [("sent", "sent"), ("failed", "failed")])
async def test_a_person_settles_a_doubt_and_nothing_is_sent(tmp_path: Path, decision: str, status: str) -> None:
    async with FakeProvider() as resend, FakeProvider() as sendgrid:
        sendgrid.fault("close")
        settings = keyed(resend, sendgrid, SENDGRID_SCORE="95")
        async with Mailsvc(tmp_path, **settings) as service:
            mail_id = await in_doubt(service)
            path = f"/email/{mail_id}/resolve"
            answered, _, body = await service.call("POST", path, json={"as": decision})
            again, _, problem = await service.call("POST", path, data={"as": decision})
            mail = await service.mail(mail_id)

    assert (answered, body) == (200, mail)
    assert (mail["status"], mail["due_at"], told(mail)) == (status, None, [("sendgrid", "unanswered", "hand")])
    assert [(event["type"], event["detail"]) for event in mail["events"]][-1] == ("resolved", f"by hand: {decision}")
    assert (again, problem["code"]) == (409, "not_uncertain")
    assert len(sendgrid.ledger) == 1
    assert resend.ledger == []


async def test_a_person_has_a_mail_sent_again_once(tmp_path: Path) -> None:
    async with FakeProvider() as resend, FakeProvider() as sendgrid:
        sendgrid.fault("close")
        async with Mailsvc(tmp_path, **keyed(resend, sendgrid, SENDGRID_SCORE="95")) as service:
            mail_id = await in_doubt(service)
            code, out, err = await run(tmp_path, "mails", "resolve", mail_id, "--as", "resend", MAILSVC_URL=service.url)
            sent = await service.until(mail_id, "sent")
            late, _, late_err = await run(
                tmp_path, "mails", "resolve", mail_id, "--as", "failed", MAILSVC_URL=service.url
            )

    assert (code, err) == (0, "")
    assert out.split()[1] == mail_id
    assert told(sent) == [("sendgrid", "unanswered", "hand"), ("resend", "accepted", None)]
    assert (late, late_err) == (1, "this mail is sent: only one that is uncertain can be resolved\n")
    assert resend.accepted(mail_id) == 1


async def test_a_person_who_has_a_mail_sent_again_still_gets_one_if_the_provider_knows_it(tmp_path: Path) -> None:
    async with FakeProvider() as resend, FakeProvider() as sendgrid:
        resend.fault("close", accepted=True, times=1)
        async with Mailsvc(tmp_path, **keyed(resend, sendgrid, MAILSVC_RETRY="60")) as service:
            mail_id = await in_doubt(service)
            await service.call("POST", f"/email/{mail_id}/resolve", json={"as": "resend"})
            sent = await service.until(mail_id, "sent")

    assert told(sent) == [("resend", "unanswered", "hand"), ("resend", "accepted", None)]
    assert resend.accepted(mail_id) == 1
    assert sendgrid.ledger == []


async def test_what_is_no_decision_is_refused(tmp_path: Path) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with Mailsvc(tmp_path) as service:
        path = f"/email/{await service.post()}/resolve"

        async def faults(**how: Any) -> list[tuple[str, str]]:
            status, _, problem = await service.call("POST", path, **how)
            assert (status, problem["code"]) == (422, "invalid")
            return [(fault["field"], fault["code"]) for fault in problem["errors"]]

        assert await faults(json={}) == [("as", "missing")]
        assert await faults(data={"as": ""}) == [("as", "missing")]
        assert await faults(json={"as": "lost"}) == [("as", "invalid_choice")]
        assert await faults(json={"as": ["sent"]}) == [("as", "invalid_choice")]
        assert await faults(json={"as": None}) == [("as", "invalid_choice")]
        assert await faults(json={"as": "sent", "status": "sent"}) == [("status", "unknown_field")]
        assert await faults(json=["sent"]) == [("body", "type_error")]
        assert await faults(data="as=sent&as=failed", headers=form) == [("as", "repeated")]


async def test_a_decision_about_an_unknown_mail_is_not_found_and_about_a_clear_one_a_conflict(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        sent = await service.post()
        await service.settled(sent)
        found = [
            await service.call("POST", f"/email/{mail_id}/resolve", json={"as": "sent"})
            for mail_id in ("0" * 36, "../x", "01a20c68-206d-71fb-8bf0-69b468b56623", sent)
        ]

    assert [(status, body["code"]) for status, _, body in found[1:]] == [
        (404, "not_found"),
        (404, "not_found"),
        (409, "not_uncertain"),
    ]
    assert found[0][2]["code"] == "not_found"


async def test_a_decision_needs_the_key_or_a_form_of_the_page(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        cookie, token, _ = await logged_in(service)
        _, _, body = await service.call("POST", "/email", json=FORM, headers={"Authorization": f"Bearer {KEY}"})
        path = f"/email/{body['id']}/resolve"
        bare, _, _ = await service.call("POST", path, json={"as": "sent"})
        forged, _, _ = await service.call("POST", path, data={"as": "sent"}, headers={"Cookie": cookie})
        status, headers, _ = await service.call(
            "POST", path, data={"as": "sent", "_xsrf": token}, headers=HTML | {"Cookie": cookie}, allow_redirects=False
        )

    assert (bare, forged) == (401, 403)
    assert (status, headers["Location"]) == (303, f"/mail/{body['id']}")


async def test_a_key_decides_about_its_own_mails_alone(tmp_path: Path) -> None:
    async with FakeProvider() as resend, FakeProvider() as sendgrid:
        sendgrid.fault("close")
        settings = keyed(resend, sendgrid, SENDGRID_SCORE="95", MAILSVC_API_KEY=FIRST)
        async with Mailsvc(tmp_path, **settings) as service:
            own, other, reader = [(await made(service, name, scopes=[name]))[0] for name in ("send", "send", "read")]
            _, _, body = await send(service, own, on_uncertain="hold")
            path, how = f"/email/{body['id']}/resolve", {"json": {"as": "failed"}}
            while (await service.call("GET", f"/email/{body['id']}", headers=bearer(FIRST)))[2][
                "status"
            ] != "uncertain":
                await asyncio.sleep(0.05)
            found = [await service.call("POST", path, headers=bearer(key), **how) for key in (reader, other, own)]

    assert [(status, answer.get("code", answer["status"])) for status, _, answer in found] == [
        (403, "forbidden"),
        (404, "not_found"),
        (200, "failed"),
    ]
