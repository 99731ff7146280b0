"""The selector's guards in the real service, against fake providers that misbehave."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import Mailsvc
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider


async def steady(
    service: Mailsvc, per_second: float, until: Callable[[], bool], at_most: float, at_least: int = 0
) -> list[str]:
    """Post mails at a steady rate, `at_least` so many, until something is true; fails after `at_most` seconds."""
    ids: list[str] = []
    deadline = time.monotonic() + at_most
    while len(ids) < at_least or not until():
        assert time.monotonic() < deadline, f"not within {at_most} s, after {len(ids)} mails"
        ids.append(await service.post())
        await asyncio.sleep(1 / per_second)
    return ids


def asked(fake: FakeProvider, since: float = 0.0) -> list[float]:
    """When a provider was asked, as Unix times."""
    return [entry.at for entry in fake.ledger if entry.at >= since]


async def scores(service: Mailsvc) -> dict[str, dict[str, Any]]:
    """The providers by name."""
    _, _, providers = await service.call("GET", "/providers")
    return {provider["name"]: provider for provider in providers}


async def test_a_provider_that_hangs_is_left_within_seconds_and_preferred_again_after_its_cure(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        settings = live(sendgrid, mandrill, MAILSVC_TIMEOUT="6", MAILSVC_LOG="warning")
        async with Mailsvc(tmp_path, **settings) as service:
            await steady(service, 20, lambda: len(asked(sendgrid)) >= 20, 20)
            sendgrid.fault("hang")
            onset = time.time()
            ids = await steady(service, 20, lambda: time.time() > onset + 14, 20)
            sendgrid.clear()
            cure = time.time()
            recent = 20  # this many mails in a row by the preferred provider: it is back
            await steady(
                service,
                20,
                lambda: (
                    len(asked(sendgrid, cure)) >= recent and len(asked(mandrill, asked(sendgrid, cure)[-recent])) == 0
                ),
                60,
            )
            mails = [await service.mail(mail_id) for mail_id in ids]

    unanswered = [a for mail in mails for a in mail["attempts"] if a["outcome"] == "unanswered"]
    began = sorted(entry.at - onset for entry in sendgrid.ledger if onset <= entry.at <= cure and not entry.accepted)
    assert len(unanswered) < 60  # of hundreds; some twenty when the machine is idle
    assert began
    assert [second for second in began if 1.0 + 2.0 < second < 5.0] == []


async def test_a_provider_that_asks_to_be_left_alone_is_left_alone_for_that_long(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("answer", status=429, headers={"Retry-After": "3"}, times=1)
        async with Mailsvc(tmp_path, **live(sendgrid, mandrill)) as service:
            first = await service.settled(await service.post())
            closed = (await scores(service))["sendgrid"]
            since = time.time()
            await steady(service, 20, lambda: len(asked(sendgrid)) > 1, 20)

    waited = asked(sendgrid)[1] - asked(sendgrid)[0]
    assert [attempt["outcome"] for attempt in first["attempts"]] == ["rate_limited", "accepted"]
    assert (closed["state"], closed["score"]) == ("closed", 50.0)
    assert "closed" in closed["reason"]
    assert closed["until"] is not None
    assert 2.9 <= waited <= 15
    assert len(asked(mandrill, since)) > 5


async def test_a_wrong_key_costs_a_handful_of_requests_and_says_so(tmp_path: Path) -> None:
    async with FakeProvider(keys={"sendgrid": "the-right-key"}) as sendgrid, FakeProvider() as mandrill:
        # As many as are in flight at a time may be on their way there before the first answer comes.
        async with Mailsvc(tmp_path, **live(sendgrid, mandrill, MAILSVC_CONCURRENCY="8")) as service:
            ids = [await service.post() for _ in range(300)]
            mails = [await service.settled(mail_id) for mail_id in ids]
            found = (await scores(service))["sendgrid"]

    assert {mail["status"] for mail in mails} == {"sent"}
    assert 1 <= len(asked(sendgrid)) <= 10
    assert found["state"] == "benched"
    assert "key" in found["reason"]
    told = [line for line in service.log if '"event":"provider"' in line]
    assert len(told) == 1


async def test_a_hundred_poison_mails_leave_every_score_untouched(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("answer", status=400)
        mandrill.fault(
            "answer", status=422, body='{"status":"error","code":-2,"name":"ValidationError","message":"no"}'
        )
        async with Mailsvc(tmp_path, **live(sendgrid, mandrill)) as service:
            mails = [await service.settled(await service.post()) for _ in range(100)]
            found = await scores(service)
            sendgrid.clear()
            good = await service.settled(await service.post())

    assert {mail["status"] for mail in mails} == {"failed"}
    assert {len(mail["attempts"]) for mail in mails} == {2}
    assert [(p["score"], p["state"]) for p in found.values()] == [(50.0, "open"), (40.0, "open")]
    assert good["provider"] == "sendgrid"


async def test_when_everybody_is_down_mails_wait_without_hammering_and_all_leave_afterwards(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("answer", status=503)
        mandrill.fault("answer", status=503)
        settings = live(sendgrid, mandrill, MAILSVC_RETRY="0.5,1", MAILSVC_LOG="warning")
        async with Mailsvc(tmp_path, **settings) as service:
            start = time.time()
            ids = await steady(service, 40, lambda: time.time() > start + 5, 30, at_least=101)
            down = len(sendgrid.ledger) + len(mandrill.ledger)
            sendgrid.clear()
            mandrill.clear()
            mails = [await service.until(mail_id, "sent") for mail_id in ids]

    assert len(mails) == len(ids) > 100
    assert down < len(ids)


@pytest.mark.parametrize("selector", ["guarded", "classic"])
async def test_either_rule_fails_over_in_the_same_go(tmp_path: Path, selector: str) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("answer", status=503)
        async with Mailsvc(tmp_path, **live(sendgrid, mandrill, MAILSVC_SELECTOR=selector)) as service:
            mail = await service.settled(await service.post())
            found = (await scores(service))["sendgrid"]

    assert [attempt["provider"] for attempt in mail["attempts"]] == ["sendgrid", "mandrill"]
    assert round(found["score"]) == 45
