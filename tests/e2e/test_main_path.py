"""The main job: a mail in by HTTP, out by the best provider, from a fresh start."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.process import FORM, Mailsvc
from tests.fakes import Certificate, FakeProvider
from tests.fakes.raw import closed_port


def live(sendgrid: FakeProvider, mandrill: FakeProvider | None = None, **settings: str) -> dict[str, str]:
    """The environment for one or two fake providers."""
    found = {
        "MAILSVC_FROM": "Shop <shop@example.com>",
        "SENDGRID_API_KEY": "SG.key-of-sendgrid",
        "SENDGRID_URL": sendgrid.url,
    }
    if mandrill:
        found |= {"MANDRILL_API_KEY": "key-of-mandrill", "MANDRILL_URL": mandrill.url}
    return found | settings


def multipart(fields: dict[str, str]) -> aiohttp.FormData:
    """The fields as multipart/form-data."""
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        form.add_field(name, value)
    return form


@pytest.mark.parametrize("kind", ["json", "form", "multipart"])
async def test_with_no_configuration_a_mail_is_kept(tmp_path: Path, kind: str) -> None:
    how: dict[str, Any] = {
        "json": {"json": FORM},
        "form": {"data": FORM},
        "multipart": {"data": multipart(FORM)},
    }[kind]
    async with Mailsvc(tmp_path) as service:
        status, headers, body = await service.call("POST", "/email", **how)
        found = await service.settled(body["id"])

    assert (status, body["status"], headers["Location"]) == (202, "queued", f"/email/{body['id']}")
    assert sorted(body) == ["created_at", "id", "status"]
    assert (found["status"], found["provider"], found["to"]) == ("sent", "capture", ["ann@example.com"])
    assert found["attempts"][0]["considered"] == [{"provider": "capture", "score": 50.0, "state": "chosen"}]
    assert found["created_at"] == body["created_at"]
    assert found["created_at"].endswith("Z")


async def test_a_provider_that_fails_is_followed_by_the_next_one_in_the_same_go(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("answer", status=503)
        async with Mailsvc(tmp_path, **live(sendgrid, mandrill)) as service:
            mail_id = await service.post(to="Ann <ann@example.com>")
            found = await service.settled(mail_id)
            _, _, providers = await service.call("GET", "/providers")
            await service.kill()
            await service.start()
            after = await service.mail(mail_id)

    attempts = [(a["n"], a["provider"], a["outcome"], a["http_status"]) for a in found["attempts"]]
    assert attempts == [(1, "sendgrid", "down", 503), (2, "mandrill", "accepted", 200)]
    assert (found["status"], found["provider"], found["error"]) == ("sent", "mandrill", None)
    assert [a["score"] for a in found["attempts"]] == [50.0, 40.0]
    assert [row["state"] for row in found["attempts"][0]["considered"]] == ["chosen", "open"]
    assert [row["state"] for row in found["attempts"][1]["considered"]] == ["tried", "chosen"]
    assert 44.9 < {row["name"]: row["score"] for row in providers}["sendgrid"] < 46.5  # it recovers as time passes
    assert providers[0]["last_error"].startswith("503")
    assert (providers[1]["sent"], providers[0]["failed"]) == (1, 1)
    assert after == found
    assert mandrill.accepted(mail_id) == 1
    assert sendgrid.accepted(mail_id) == 0


async def test_mail_waits_while_no_provider_can_be_reached_and_leaves_when_one_is_back(tmp_path: Path) -> None:
    with closed_port() as held:
        gone = FakeProvider(held=held)
        async with Mailsvc(tmp_path, **live(gone, MAILSVC_RETRY="0.2,0.4")) as service:
            mail_id = await service.post()
            while len((await service.mail(mail_id))["attempts"]) < 2:
                await asyncio.sleep(0.02)
            async with gone as back:
                found = await service.until(mail_id, "sent")
                accepted = back.accepted(mail_id)

    assert found["attempts"][-1]["outcome"] == "accepted"
    assert all(attempt["outcome"] == "down" for attempt in found["attempts"][:-1])
    assert "refused" in found["attempts"][0]["detail"]
    assert accepted == 1


async def test_a_redirect_is_never_followed_and_never_counts_as_sent(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("redirect")
        async with Mailsvc(tmp_path, **live(sendgrid, mandrill)) as service:
            found = await service.settled(await service.post())

    assert [(a["provider"], a["outcome"]) for a in found["attempts"]] == [
        ("sendgrid", "down"),
        ("mandrill", "accepted"),
    ]
    assert "SENDGRID_URL" in found["attempts"][0]["detail"]
    assert sendgrid.trapped == 0


async def test_a_mail_without_an_answer_is_in_doubt_and_is_resent_by_the_other_provider(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("hang")
        settings = live(sendgrid, mandrill, MAILSVC_TIMEOUT="1", MAILSVC_UNCERTAIN_AFTER="0.5")
        async with Mailsvc(tmp_path, **settings) as service:
            mail_id, held = await service.post(), await service.post(on_uncertain="hold")
            doubt = await service.settled(held)
            sent = await service.until(mail_id, "sent")
            while (kept := await service.mail(held))["due_at"]:  # it is looked at once more
                await asyncio.sleep(0.02)

    assert (doubt["status"], doubt["attempts"][0]["outcome"]) == ("uncertain", "unanswered")
    assert [(a["provider"], a["outcome"]) for a in sent["attempts"]] == [
        ("sendgrid", "unanswered"),
        ("mandrill", "accepted"),
    ]
    assert (kept["status"], kept["due_at"], len(kept["attempts"])) == ("uncertain", None, 1)


async def test_five_mails_and_one_slow_answer_make_four_sent_and_one_in_doubt(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        sendgrid.fault("delay", seconds=6, times=1)
        async with Mailsvc(tmp_path, **live(sendgrid, MAILSVC_TIMEOUT="2")) as service:
            ids = [await service.post(on_uncertain="hold") for _ in range(5)]
            found = [await service.settled(mail_id) for mail_id in ids]
            await sendgrid.until(lambda: len(sendgrid.ledger) == 5)  # the slow one takes its mail in the end

    assert sorted(mail["status"] for mail in found) == ["sent"] * 4 + ["uncertain"]
    assert [sendgrid.accepted(mail_id) for mail_id in ids] == [1] * 5
    assert [len(mail["attempts"]) for mail in found] == [1] * 5


async def test_providers_are_reached_over_tls_and_an_untrusted_certificate_is_not_trusted(tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    async with FakeProvider(certificate=certificate) as sendgrid, FakeProvider() as mandrill:
        settings = live(sendgrid, mandrill)
        async with Mailsvc(tmp_path, **settings) as service:
            untrusted = await service.settled(await service.post())
        async with Mailsvc(tmp_path, **settings, SSL_CERT_FILE=str(certificate.cafile)) as service:
            await service.call("POST", "/providers/sendgrid/resume")
            trusted = await service.settled(await service.post())

    assert [(a["provider"], a["outcome"]) for a in untrusted["attempts"]] == [
        ("sendgrid", "down"),
        ("mandrill", "accepted"),
    ]
    assert "certificate" in untrusted["attempts"][0]["detail"].lower()
    assert [(a["provider"], a["outcome"]) for a in trusted["attempts"]] == [("sendgrid", "accepted")]


async def test_mails_are_listed_newest_first_page_by_page(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        ids = [await service.post(to=f"user{number}@example.com") for number in range(5)]
        for mail_id in ids:
            await service.settled(mail_id)
        _, _, first = await service.call("GET", "/email?limit=2")
        _, _, second = await service.call("GET", f"/email?limit=2&after={first['data'][-1]['id']}")
        _, _, third = await service.call("GET", f"/email?limit=2&after={second['data'][-1]['id']}")
        _, _, mine = await service.call("GET", "/email?to=user3@example.com&status=sent&provider=capture")
        _, _, none = await service.call("GET", "/email?status=failed")

    pages = [[mail["id"] for mail in page["data"]] for page in (first, second, third)]
    assert [mail_id for page in pages for mail_id in page] == ids[::-1]
    assert [page["has_more"] for page in (first, second, third)] == [True, True, False]
    assert [page["next"] for page in (first, second, third)] == [ids[3], ids[1], None]
    assert [mail["id"] for mail in mine["data"]] == [ids[3]]
    assert none == {"data": [], "has_more": False, "next": None}


async def test_waiting_ends_with_the_time_out_and_tells_how_the_mail_stands(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        sendgrid.fault("hang")
        async with Mailsvc(tmp_path, **live(sendgrid)) as service:
            mail_id = await service.post()
            await service.until(mail_id, "sending")
            status, _, found = await service.call("GET", f"/email/{mail_id}?wait=settled&timeout=0.3")

    assert (status, found["status"]) == (200, "sending")
    assert found["attempts"][0]["outcome"] is None


async def test_a_paused_provider_is_not_asked_until_it_is_resumed(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        async with Mailsvc(tmp_path, **live(sendgrid, mandrill)) as service:
            paused, _, answer = await service.call("POST", "/providers/sendgrid/pause")
            first = await service.settled(await service.post())
            unknown, _, _ = await service.call("POST", "/providers/nobody/pause")
            await service.call("POST", "/providers/sendgrid/resume")
            second = await service.settled(await service.post())

    assert (paused, answer) == (200, {"name": "sendgrid", "state": "paused"})
    assert (first["provider"], second["provider"], unknown) == ("mandrill", "sendgrid", 404)
    assert first["attempts"][0]["considered"][0]["state"] == "paused"


async def test_scores_and_a_pause_survive_a_restart(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("answer", status=503)
        async with Mailsvc(tmp_path, **live(sendgrid, mandrill)) as service:
            await service.settled(await service.post())
            await service.call("POST", "/providers/mandrill/pause")
            service.terminate()
            assert await service.ended() == 0
            await service.start()
            _, _, providers = await service.call("GET", "/providers")

    assert 44.9 < providers[0]["score"] < 46.5
    assert providers[1]["state"] == "paused"


async def test_health_readiness_and_description_need_no_key(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY="k" * 32) as service:
        answers = [await service.call("GET", path) for path in ("/healthz", "/readyz", "/openapi.json")]

    assert [answer[0] for answer in answers] == [200, 200, 200]
    assert answers[2][2]["openapi"].startswith("3.1")
    assert "post" in answers[2][2]["paths"]["/email"]
