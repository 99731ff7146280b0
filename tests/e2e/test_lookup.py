"""A doubt that a look-up settles, in the real process: the provider is asked whether it has the mail."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import Mailsvc
from tests.fakes import FakeProvider

BOTH = pytest.mark.parametrize("policy", ["resend", "hold"])


def settings(postmark: FakeProvider, sendgrid: FakeProvider) -> dict[str, str]:
    """One that can be asked, first in rank, and one that takes what is left."""
    return {
        "MAILSVC_FROM": "shop@example.com",
        "POSTMARK_SERVER_TOKEN": "token",
        "POSTMARK_URL": postmark.url,
        "POSTMARK_SCORE": "90",
        "SENDGRID_API_KEY": "SG.key",
        "SENDGRID_URL": sendgrid.url,
        "MAILSVC_RETRY": "0.2",
        "MAILSVC_UNCERTAIN_AFTER": "0.2",
    }


def told(mail: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(attempt["provider"], attempt["outcome"], attempt["resolved"]) for attempt in mail["attempts"]]


@BOTH
async def test_a_mail_that_is_found_is_sent_and_nobody_else_gets_it(tmp_path: Path, policy: str) -> None:
    async with FakeProvider() as postmark, FakeProvider() as sendgrid:
        async with Mailsvc(tmp_path, **settings(postmark, sendgrid)) as service:
            postmark.fault("cut", times=1)
            mail_id = await service.post(on_uncertain=policy)
            found = await service.until(mail_id, "sent")

    assert told(found) == [("postmark", "unanswered", "lookup")]
    assert (found["provider"], found["provider_message_id"]) == ("postmark", f"of {mail_id}")
    assert [event["type"] for event in found["events"]] == ["uncertain", "resolved"]
    assert (postmark.accepted(mail_id), sendgrid.ledger) == (1, [])


async def test_a_mail_that_is_not_found_goes_on_as_its_policy_says(tmp_path: Path) -> None:
    async with FakeProvider() as postmark, FakeProvider() as sendgrid:
        async with Mailsvc(tmp_path, **settings(postmark, sendgrid)) as service:
            postmark.fault("close", times=2)
            held = await service.post(on_uncertain="hold")
            waiting = await service.until(held, "uncertain")
            while waiting["due_at"] is not None:
                await asyncio.sleep(0.05)
                waiting = await service.mail(held)
            resent = await service.post(on_uncertain="resend")
            sent = await service.until(resent, "sent")

    assert waiting["status"] == "uncertain"
    assert "nothing but a report or a person can tell" in waiting["error"]
    assert told(sent) == [("postmark", "unanswered", "resend"), ("sendgrid", "accepted", None)]
    assert postmark.searches == 2


async def test_a_key_that_may_not_look_is_not_used_for_it_again(tmp_path: Path) -> None:
    async with FakeProvider() as postmark, FakeProvider() as sendgrid:
        postmark.searchable = False
        async with Mailsvc(tmp_path, **settings(postmark, sendgrid)) as service:
            postmark.fault("close", times=2)
            for _ in range(2):
                found = await service.until(await service.post(on_uncertain="resend"), "sent")
                assert told(found) == [("postmark", "unanswered", "resend"), ("sendgrid", "accepted", None)]

    assert postmark.searches == 1
    assert len([line for line in service.log if "lookup_not_allowed" in line]) == 1
