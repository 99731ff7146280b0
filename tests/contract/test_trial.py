"""A trial: one mail through one provider, over real sockets to fakes, and what is wrong in words."""

import json
from typing import Any

import pytest

from mailsvc import trial
from mailsvc.errors import MailsvcError
from mailsvc.providers import all_providers
from mailsvc.trial import Trial
from tests.e2e.test_providers import OWN, environment
from tests.fakes import FakeProvider
from tests.fakes.smtp import MailSink

MAIL = {"to": "Ann Ünder <ann@example.org>", "subject": "Grüße", "content": "**hello**"}
FILE = {"filename": "größe.csv", "content": "YTtiCg=="}


async def send(name: str, settings: dict[str, str], **more: Any) -> Trial:
    """A mail to Ann."""
    return await trial.run(settings, name, MAIL | more)


@pytest.mark.parametrize("name", OWN)
async def test_a_mail_that_is_taken_is_told_with_both_ids_and_its_size(name: str) -> None:
    async with FakeProvider(keys={name: f"secret-of-{OWN[name]}"}) as fake:
        done = await send(name, environment(name, fake), attachments=[FILE])

    (entry,) = fake.ledger
    told = done.document()
    assert done.well, told
    assert (told["outcome"], told["provider"], told["advice"]) == ("accepted", name, None)
    assert told["provider_message_id"]
    assert (entry.mail_id, entry.bytes_read, entry.accepted) == (told["mail_id"], told["request_bytes"], True)
    assert told["place"] == f"127.0.0.1:{fake.port}"


@pytest.mark.parametrize("name", OWN)
async def test_a_wrong_key_is_told_with_the_variables_to_check(name: str) -> None:
    async with FakeProvider(keys={name: "another"}) as fake:
        done = await send(name, environment(name, fake))
    out = done.words()

    assert not done.well
    assert out.startswith(f"unauthorized by {name}")
    assert f"check {', '.join(all_providers()[name].env)}, {name.upper()}_URL" in out
    assert "secret-of" not in out


SENDER = "verify the domain, or send from one that is"
ACCOUNT = "the account is under review, paused or blocked"
AWS = {"x-amzn-errortype": "MessageRejected"}
TROUBLE: list[tuple[str, int, Any, dict[str, str], str]] = [
    (
        "sendgrid",
        403,
        {"errors": [{"message": "does not match a verified Sender Identity", "field": "from"}]},
        {},
        SENDER,
    ),
    ("sendgrid", 401, {"errors": [{"message": "authorization required", "field": None}]}, {}, "api.eu.sendgrid.com"),
    ("mandrill", 200, [{"email": "ann@example.org", "status": "rejected", "reject_reason": "unsigned"}], {}, SENDER),
    ("mandrill", 500, {"status": "error", "code": -1, "name": "PoorReputation", "message": "no"}, {}, ACCOUNT),
    ("mailgun", 401, "Forbidden", {}, "https://api.eu.mailgun.net in the EU"),
    ("mailgun", 404, {"message": "Domain not found: mg.example.com"}, {}, SENDER),
    ("mailgun", 403, {"message": "Domain mg.example.com is disabled"}, {}, ACCOUNT),
    ("postmark", 422, {"ErrorCode": 400, "Message": "no Sender Signature"}, {}, SENDER),
    ("postmark", 422, {"ErrorCode": 412, "Message": "pending approval"}, {}, ACCOUNT),
    ("resend", 403, {"statusCode": 403, "name": "validation_error", "message": "not verified"}, {}, SENDER),
    ("resend", 403, {"statusCode": 403, "name": "suspended_api_key", "message": "no"}, {}, ACCOUNT),
    ("brevo", 400, {"code": "invalid_parameter", "message": "sender is not valid"}, {}, SENDER),
    ("brevo", 403, {"code": "account_under_validation", "message": "wait"}, {}, ACCOUNT),
    ("sparkpost", 400, {"errors": [{"message": "Unverified domain", "code": "7001"}]}, {}, SENDER),
    ("sparkpost", 401, {"errors": [{"message": "Unauthorized."}]}, {}, "https://api.eu.sparkpost.com"),
    ("sparkpost", 403, {"errors": [{"message": "account suspended"}]}, {}, ACCOUNT),
    ("mailersend", 422, {"message": "The from.email domain must be verified. #MS42207"}, {}, SENDER),
    ("mailersend", 403, {"message": "This account is suspended"}, {}, ACCOUNT),
    ("ses", 400, {"message": "Email address is not verified."}, AWS, "verified in eu-central-1?"),
    ("ses", 400, {"message": "paused"}, {"x-amzn-errortype": "SendingPausedException"}, ACCOUNT),
]


@pytest.mark.parametrize(("name", "status", "body", "headers", "words"), TROUBLE, ids=lambda value: str(value)[:30])
async def test_a_wrong_region_an_unverified_sender_and_a_suspended_account_are_told_in_words(
    name: str, status: int, body: Any, headers: dict[str, str], words: str
) -> None:
    async with FakeProvider() as fake:
        kind = {"Content-Type": "application/json"}
        fake.fault("answer", status=status, headers=kind | headers, body=json.dumps(body))
        done = await send(name, environment(name, fake))

    assert not done.well
    assert words in done.words()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ({"mail": "550 5.7.1 not yours"}, SENDER),
        ({"connect": "554 5.7.0 blocked"}, "could not be reached, or is down: check the network, SMTP_URL"),
        ({"rcpt": "550 5.1.1 unknown"}, "the recipient is on the provider's list of bounced addresses"),
    ],
)
async def test_what_a_mail_server_says_is_told_in_words(script: dict[str, str], words: str) -> None:
    async with MailSink(script) as sink:
        settings = {"SMTP_URL": f"smtp://127.0.0.1:{sink.port}", "MAILSVC_FROM": "a@example.com"}
        done = await send("smtp", settings)

    assert not done.well
    assert words in done.words()


async def test_nobody_there_and_no_answer_are_told_apart() -> None:
    async with FakeProvider() as fake:
        settings = environment("resend", fake)
        fake.fault("close")
        doubt = await send("resend", settings)
    down = await send("resend", settings)

    assert "unanswered by resend" in doubt.words()
    assert "look into the mailbox before you try again" in doubt.words()
    assert "down by resend" in down.words()


async def test_a_mail_that_will_not_leave_or_not_to_all_is_not_well() -> None:
    async with FakeProvider() as fake:
        settings = environment("mandrill", fake)
        stuck = [{"email": "ann@example.org", "status": "queued", "queued_reason": "sending-paused", "_id": "a"}]
        fake.fault("answer", status=200, body=json.dumps(stuck), times=1)
        paused = await send("mandrill", settings)
        sent = {"email": "ann@example.org", "status": "sent", "_id": "a"}
        lost = {"email": "bob@example.net", "status": "rejected", "reject_reason": "spam"}
        fake.fault("answer", status=200, body=json.dumps([sent, lost]))
        partly = await send("mandrill", settings, to=["ann@example.org", "bob@example.net", "eve@example.net"])

    assert not paused.well
    assert "it will not leave" in paused.words()
    assert not partly.well
    assert "not for   bob@example.net: rejected: spam" in partly.words()
    assert "unknown   eve@example.net: nothing was said of it" in partly.words()


async def test_a_mail_that_the_provider_cannot_carry_is_not_sent() -> None:
    file = {"filename": "run.exe", "content": "TVo="}
    async with FakeProvider() as fake:
        with pytest.raises(MailsvcError, match="postmark takes no files that end in"):
            await send("postmark", environment("postmark", fake), attachments=[file])

    assert fake.ledger == []
