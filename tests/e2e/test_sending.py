"""Scheduled, expiring, canceled, retried and urgent mails, and many at once, over HTTP on both databases."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import FORM, Mailsvc
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider

Started = Callable[..., Mailsvc]


@pytest.fixture
def started(tmp_path: Path) -> Started:
    """Makes processes on one database."""
    return lambda **settings: Mailsvc(tmp_path, **settings)


def at(seconds: float) -> str:
    """A time so many seconds from now, as somebody writes it who lives in India."""
    there = timezone(timedelta(hours=5, minutes=30))
    return (datetime.now(UTC) + timedelta(seconds=seconds)).astimezone(there).isoformat()


async def test_a_mail_leaves_when_it_is_scheduled_and_not_before(started: Started) -> None:
    async with FakeProvider() as sendgrid, started(**live(sendgrid)) as service:
        status, _, soon = await service.call("POST", "/email", json=FORM | {"send_at": at(3)})
        _, _, past = await service.call("POST", "/email", json=FORM | {"send_at": at(-50)})
        first = await service.mail(soon["id"])
        sent = await service.settled(soon["id"])

    assert (status, soon["status"], past["status"], first["status"]) == (202, "scheduled", "queued", "scheduled")
    assert sent["status"] == "sent"
    assert sent["attempts"][0]["started_at"] >= first["due_at"] > first["created_at"]


async def test_a_scheduled_mail_can_be_put_to_another_time(started: Started) -> None:
    async with FakeProvider() as sendgrid, started(**live(sendgrid)) as service:
        mail_id = await service.post(send_at=at(3600), expires_at=at(7200))
        later = await service.call("PATCH", f"/email/{mail_id}", json={"send_at": at(5000)})
        too_late = await service.call("PATCH", f"/email/{mail_id}", json={"send_at": at(9000)})
        nonsense = await service.call("PATCH", f"/email/{mail_id}", json={"send_at": "tomorrow"})
        now = await service.call("PATCH", f"/email/{mail_id}", json={"send_at": at(-1)})
        sent = await service.settled(mail_id)
        over = await service.call("PATCH", f"/email/{mail_id}", json={"send_at": at(60)})

    assert (later[0], later[2]["status"], later[2]["events"][0]["type"]) == (200, "scheduled", "rescheduled")
    assert [answer[0] for answer in (too_late, nonsense, now)] == [422, 422, 200]
    assert {answer[2]["errors"][0]["field"] for answer in (too_late, nonsense)} == {"send_at"}
    assert sent["status"] == "sent"
    assert (over[0], over[2]["code"]) == (409, "not_scheduled")


async def test_a_mail_that_nobody_could_take_in_time_expires(started: Started) -> None:
    async with FakeProvider() as sendgrid, started(**live(sendgrid, MAILSVC_RETRY="30")) as service:
        sendgrid.fault("answer", status=503)
        tried = await service.post(expires_at=at(3))
        await service.call("POST", "/providers/sendgrid/pause")
        waiting = await service.post(expires_at=at(3))
        ends = [await service.until(mail_id, "expired") for mail_id in (tried, waiting)]
        await service.call("POST", "/providers/sendgrid/resume")

    assert [[event["type"] for event in mail["events"]] for mail in ends] == [["expired"], ["expired"]]
    assert all(mail["updated_at"] >= mail["expires_at"] for mail in ends)
    assert ends[1]["attempts"] == []


async def test_a_waiting_mail_is_canceled_and_retried(started: Started) -> None:
    async with FakeProvider() as sendgrid, started(**live(sendgrid)) as service:
        mail_id = await service.post(send_at=at(3600))
        canceled = [await service.call("POST", f"/email/{mail_id}/cancel") for _ in range(2)]
        await service.call("POST", "/providers/sendgrid/pause")  # so that it is still queued when it is shown
        retried = await service.call("POST", f"/email/{mail_id}/retry")
        await service.call("POST", "/providers/sendgrid/resume")
        sent = await service.settled(mail_id)
        late = [await service.call("POST", f"/email/{mail_id}/{what}") for what in ("cancel", "retry")]
        unknown = await service.call("POST", "/email/01890000-0000-7000-8000-000000000000/cancel")

    assert [(answer[0], answer[2]["status"]) for answer in canceled] == [(200, "canceled")] * 2
    assert (retried[0], retried[2]["status"]) == (200, "queued")
    assert (sent["status"], len(sent["attempts"])) == ("sent", 1)
    assert [event["type"] for event in sent["events"]] == ["canceled", "retried"]
    assert [(answer[0], answer[2]["code"]) for answer in late] == [(409, "not_cancelable"), (409, "not_retryable")]
    assert unknown[0] == 404


async def test_many_failed_mails_are_retried_in_steps(started: Started) -> None:
    async with FakeProvider() as sendgrid, started(**live(sendgrid)) as service:
        sendgrid.fault("answer", status=400)
        ids = [await service.post() for _ in range(5)]
        before = at(60)
        assert {(await service.settled(mail_id))["status"] for mail_id in ids} == {"failed"}
        sendgrid.clear()
        none = await _retry(service, status="failed", until=at(-3600))
        wrong = await service.call("POST", "/email/retry", json={"status": "sent", "limit": 0})
        odd = await service.call("POST", "/email/retry", json={"status": {}})
        steps = [await _retry(service, status="failed", limit=3, until=before)]
        steps.append(await _retry(service, status="failed", limit=3, after=steps[0]["after"]))
        ends = {(await service.settled(mail_id))["status"] for mail_id in ids}

    assert none == {"retried": 0, "skipped": 0, "after": None}
    assert sorted(fault["field"] for fault in wrong[2]["errors"]) == ["limit", "status"]
    assert [(step["retried"], step["skipped"]) for step in steps] == [(3, 0), (2, 0)]
    assert steps[1]["after"] is None
    assert ends == {"sent"}
    assert (odd[0], odd[2]["errors"][0]["field"]) == (422, "status")


async def _retry(service: Mailsvc, **asked: Any) -> dict[str, Any]:
    status, _, body = await service.call("POST", "/email/retry", json=asked)
    assert status == 200, body
    return dict(body)


async def test_a_batch_is_answered_mail_by_mail_and_once(started: Started) -> None:
    mails = [FORM, {"to": "nobody"}, FORM | {"subject": "two", "send_at": at(3600)}, 7]
    key = {"Idempotency-Key": "batch 1"}
    async with FakeProvider() as sendgrid, started(**live(sendgrid)) as service:
        status, headers, body = await service.call("POST", "/email/batch", json=mails, headers=key)
        again = await service.call("POST", "/email/batch", json=mails, headers=key)
        other = await service.call("POST", "/email/batch", json=mails[:1], headers=key)
        single = await service.call("POST", "/email", json=FORM, headers=key)
        one, three = (await service.settled(body["data"][0]["id"]), await service.mail(body["data"][2]["id"]))
        listed = (await service.call("GET", "/email"))[2]["data"]

    assert status == 202
    assert [row.get("status") for row in body["data"]] == ["queued", None, "scheduled", None]
    errors = [row["error"] for row in body["data"] if "error" in row]
    assert [error["code"] for error in errors] == ["invalid"] * 2
    assert {fault["field"] for fault in errors[0]["errors"]} == {"to", "subject", "content"}
    assert "Idempotent-Replayed" not in headers
    assert (again[0], again[1]["Idempotent-Replayed"], again[2]) == (202, "true", body)
    assert [(answer[0], answer[2]["code"]) for answer in (other, single)] == [(422, "idempotency_key_reused")] * 2
    assert (one["status"], three["status"], len(listed)) == ("sent", "scheduled", 2)


async def test_a_batch_that_is_no_batch_is_refused(started: Started) -> None:
    async with started() as service:
        bodies: list[Any] = [[], [FORM] * 501, FORM, "text", 3, [{"to": "nobody"}, []]]
        answers = [await service.call("POST", "/email/batch", json=body) for body in bodies]
        form = await service.call("POST", "/email/batch", data=FORM)
        broken = await service.call("POST", "/email/batch", data=b"[", headers={"Content-Type": "application/json"})
        many = await service.call("POST", "/email/batch", json=[FORM] * 500)

    assert [answer[0] for answer in answers] == [422] * 6
    assert {fault["field"] for fault in answers[5][2]["errors"]} >= {"[0].to", "[0].subject", "[1].mail"}
    assert (form[0], broken[0], many[0]) == (415, 400, 202)
    assert len({row["id"] for row in many[2]["data"]}) == 500


async def test_a_batch_that_was_answered_survives_a_kill(started: Started) -> None:
    async with FakeProvider() as sendgrid, started(**live(sendgrid)) as service:
        _, _, body = await service.call("POST", "/email/batch", json=[FORM | {"send_at": at(4)}] * 100)
        await service.kill()
        await service.start()
        ends = {(await service.settled(row["id"]))["status"] for row in body["data"]}

    assert ends == {"sent"}
    assert all(sendgrid.accepted(row["id"]) == 1 for row in body["data"])


async def test_a_sensitive_mail_is_shown_nowhere_and_gone_once_it_is_sent(started: Started) -> None:
    secret = "the code is 493-112"
    page = {"headers": {"Accept": "text/html"}}
    async with FakeProvider() as sendgrid, started(**live(sendgrid, MAILSVC_LOG="debug")) as service:
        waiting = await service.post(content=secret, sensitive=True, send_at=at(3600))
        sent = await service.settled(await service.post(content=secret, sensitive=True))
        shown = [
            (await service.call("GET", path, **page))[2]
            for mail_id in (waiting, sent["id"])
            for path in (
                f"/mail/{mail_id}",
                f"/mail/{mail_id}/html",
                f"/mail/{mail_id}?view=source",
                f"/email/{mail_id}",
            )
        ]
        retried = await service.call("POST", f"/email/{sent['id']}/retry")
    log = "\n".join(service.log)

    assert sent["erased_at"] is not None
    assert (sent["status"], sent["sensitive"], sendgrid.accepted(sent["id"])) == ("sent", True, 1)
    assert not any("493-112" in str(text) for text in shown)
    assert "493-112" not in log
    assert retried[0] == 409


async def test_a_sensitive_mail_that_failed_has_no_body_left_to_retry(started: Started) -> None:
    async with FakeProvider() as sendgrid, started(**live(sendgrid)) as service:
        sendgrid.fault("answer", status=400)
        failed = await service.settled(await service.post(content="the code is 493-112", sensitive=True))
        retried = await service.call("POST", f"/email/{failed['id']}/retry")
        many = await _retry(service, status="failed")

    assert (failed["status"], failed["erased_at"]) == ("failed", failed["updated_at"])
    assert (retried[0], retried[2]["code"]) == (409, "not_retryable")
    assert "sensitive" in retried[2]["detail"]
    assert (many["retried"], many["skipped"]) == (0, 1)


async def test_faults_of_the_new_fields_are_named(started: Started) -> None:
    wrong = [
        ({"send_at": "2027-01-02 03:04"}, "send_at"),
        ({"send_at": at(400 * 86_400)}, "send_at"),
        ({"send_at": 1}, "send_at"),
        ({"expires_at": at(-1)}, "expires_at"),
        ({"send_at": at(100), "expires_at": at(50)}, "expires_at"),
        ({"expires_at": "9999-99-99T00:00:00Z"}, "expires_at"),
        ({"priority": "urgent"}, "priority"),
        ({"sensitive": "perhaps"}, "sensitive"),
    ]
    async with started() as service:
        answers = [await service.call("POST", "/email", json=FORM | fields) for fields, _ in wrong]
        form = await service.call("POST", "/email", data=FORM | {"sensitive": "true", "priority": "low"})
        kept = await service.mail(form[2]["id"])
        key = {"Idempotency-Key": "late"}
        late = await service.call("POST", "/email", json=FORM | {"expires_at": at(-9)}, headers=key)
        end = await service.until(late[2]["id"], "expired")

    assert [answer[0] for answer in answers] == [422] * len(wrong)
    assert [[fault["field"] for fault in answer[2]["errors"]] for answer in answers] == [[field] for _, field in wrong]
    assert (form[0], kept["priority"], kept["sensitive"]) == (202, "low", True)
    assert end["attempts"] == []


async def test_a_high_mail_overtakes_a_flood_of_low_ones(started: Started) -> None:
    async with FakeProvider() as sendgrid, started(**live(sendgrid, MAILSVC_CONCURRENCY="1")) as service:
        await service.call("POST", "/providers/sendgrid/pause")
        flood = [FORM | {"priority": "low"}] * 100
        await service.call("POST", "/email/batch", json=flood)
        high = await service.post(priority="high")
        await service.call("POST", "/providers/sendgrid/resume")
        first = await service.settled(high)
        begun = time.time()
        while (await service.call("GET", "/email?status=queued&limit=1"))[2]["data"]:
            assert time.time() < begun + 30
            await asyncio.sleep(0.05)
        sent = (await service.call("GET", "/email?limit=100"))[2]["data"]

    earlier = [mail for mail in sent if mail["updated_at"] < first["updated_at"]]
    assert len(earlier) <= 1


async def test_mails_are_listed_by_tag_metadata_and_time_and_counted(started: Started) -> None:
    async with started() as service:
        one = await service.post(tags=["welcome"], metadata={"order": "1042", "shop": "a&b=c"})
        two = await service.post(tags=["welcome", "vip"], to="bob@example.com")
        for mail_id in (one, two):
            await service.settled(mail_id)
        asked = ["tag=welcome", "tag=vip", "metadata[order]=1042", "metadata%5Bshop%5D=a%26b%3Dc&tag=welcome", "tag=no"]
        found = [(await service.call("GET", f"/email?{query}"))[2]["data"] for query in asked]
        since = (await service.call("GET", f"/email?since={at(-60).replace('+', '%2B')}"))[2]["data"]
        wrong = [
            await service.call("GET", f"/email?{query}")
            for query in ("metadata=1", "metadata[]=1", "metadata[a]=1&metadata[b]=2", "since=today", "tag=a&tag=b")
        ]
        counts = (await service.call("GET", "/email/counts"))[2]["counts"]
        lately = (await service.call("GET", f"/email/counts?since={at(-60).replace('+', '%2B')}"))[2]
        faults = [
            (await service.call("GET", f"/email/counts?{query}"))[2]["errors"][0]["field"]
            for query in ("since=2020-01-01T00:00:00Z", "until=2027-01-01T00:00:00Z", "since=2099-01-01T00:00:00Z")
        ]

    assert [[mail["id"] for mail in each] for each in found] == [[two, one], [two], [one], [one], []]
    assert len(since) == 2
    assert [answer[0] for answer in wrong] == [422] * 5
    assert (counts["sent"], counts["failed"]) == (2, 0)
    assert (lately["counts"], sum(hour["counts"]["sent"] for hour in lately["hours"])) == (counts, 2)
    assert lately["since"] <= lately["hours"][0]["at"] <= lately["hours"][-1]["at"] < lately["until"]
    assert faults == ["since", "until", "since"]


async def test_a_dry_run_tells_what_would_be_done_and_stores_nothing(started: Started) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill, started(**live(sendgrid, mandrill)) as service:
        await service.call("POST", "/suppressions", json={"address": "bob@example.com"})
        await service.call("POST", "/providers/sendgrid/pause")
        mail = FORM | {"to": ["ann@example.com", "Bob <bob@example.com>"], "dry_run": True, "send_at": at(60)}
        status, _, plan = await service.call("POST", "/email", json=mail)
        html = {"to": "bob@example.com", "subject": "Hi", "html": "<img src='cid:logo'>", "dry_run": "true"}
        _, _, other = await service.call("POST", "/email", data=html)
        fault = await service.call("POST", "/email", json=FORM | {"dry_run": True, "content": ">" * 100_000})
        batch = await service.call("POST", "/email/batch", json=[FORM, FORM | {"dry_run": True}])
        mails = (await service.call("GET", "/email"))[2]["data"]

    assert (status, plan["dry_run"], plan["status"]) == (200, True, "scheduled")
    assert "<strong>hello</strong>" in plan["html"]
    assert plan["text"] == "**hello**"
    assert [(row["provider"], row["state"]) for row in plan["providers"]] == [
        ("mandrill", "chosen"),
        ("sendgrid", "paused"),
    ]
    assert all(row["size_limit"] > plan["size"] > 0 for row in plan["providers"])
    assert [each["address"] for each in plan["suppressed"]] == ["bob@example.com"]
    assert plan["warnings"] == []
    assert other["status"] == "suppressed"
    assert [any(word in warning for warning in other["warnings"]) for word in ("text part", "cid:logo", "`to`")] == [
        True
    ] * 3
    assert (fault[0], batch[0]) == (422, 202)
    assert batch[2]["data"][1]["error"]["errors"][0]["field"] == "dry_run"
    assert len(mails) == 1


async def test_times_at_either_end_of_the_calendar_are_answered_and_never_an_error_of_the_server(
    tmp_path: Path,
) -> None:
    first, last, ends = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "9999-12-31T22:59:59.999Z"
    async with Mailsvc(tmp_path) as service:
        status, _, answer = await service.call("GET", f"/email/counts?since={last}&until={last}")
        counted = [await service.call("GET", f"/email/counts?since={at}&until={at}") for at in (first, ends)]
        listed = [
            await service.call("GET", f"/email?{name}={at}") for name in ("since", "until") for at in (first, last)
        ]
        sent = [
            await service.call("POST", "/email", json={"to": "a@example.com", "subject": "x", "text": "x", name: at})
            for name in ("send_at", "expires_at")
            for at in (first, last)
        ]

    assert (status, answer["errors"][0]["field"], answer["errors"][0]["code"]) == (422, "until", "out_of_range")
    assert [each[0] for each in counted] == [200, 200]
    assert [each[0] for each in listed] == [200] * 4
    assert [each[0] for each in sent if each[0] not in (202, 422)] == []
