"""Every provider from its variables to its endpoint: the real process sends one mail by each."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailsvc.mime import build
from mailsvc.model import Message
from mailsvc.providers import all_providers
from mailsvc.wire import HttpRequest
from tests.e2e.process import Mailsvc
from tests.fakes import FakeProvider
from tests.fakes.endpoints import ENDPOINTS
from tests.fakes.smtp import MailSink
from tests.providers.cases import provider
from tests.providers.whole import WHOLE, sayable

# The variable whose value an endpoint must be shown.
OWN = {
    "sendgrid": "SENDGRID_API_KEY",
    "mandrill": "MANDRILL_API_KEY",
    "resend": "RESEND_API_KEY",
    "mailgun": "MAILGUN_API_KEY",
    "postmark": "POSTMARK_SERVER_TOKEN",
    "brevo": "BREVO_API_KEY",
    "sparkpost": "SPARKPOST_API_KEY",
    "mailersend": "MAILERSEND_API_KEY",
    "ses": "AWS_SECRET_ACCESS_KEY",
}


def environment(name: str, fake: FakeProvider) -> dict[str, str]:
    """What switches one provider on and leads it to the fake one."""
    kind = all_providers()[name]
    values = {variable: kind.example.get(variable, f"secret-of-{variable}") for variable in kind.env}
    return {"MAILSVC_FROM": "Tö, the Shop <shop@example.com>", f"{name.upper()}_URL": fake.url} | values


def fields(message: Message) -> dict[str, Any]:
    """The message as a request to mailsvc."""
    files = [
        {
            "filename": each.filename,
            "content_type": each.content_type,
            "content": each.base64,
            **({"content_id": each.content_id} if each.content_id else {}),
        }
        for each in message.attachments
    ]
    people = {role: [str(each) for each in getattr(message, role)] for role in ("to", "cc", "bcc", "reply_to")}
    rest = {"headers": dict(message.headers), "tags": list(message.tags), "metadata": dict(message.metadata)}
    texts = {"subject": message.subject, "html": message.html, "text": message.text, "content": None}
    return {**people, **rest, **texts, "attachments": files}


@pytest.mark.parametrize("name", OWN)
async def test_a_mail_with_everything_is_sent_by_the_provider_whose_variables_are_set(
    tmp_path: Path, name: str
) -> None:
    message = sayable(name)
    async with FakeProvider(keys={name: f"secret-of-{OWN[name]}"}) as fake:
        async with Mailsvc(tmp_path, **environment(name, fake)) as service:
            mail_id = await service.post(**fields(message))
            found = await service.settled(mail_id)

    assert [(a["provider"], a["outcome"]) for a in found["attempts"]] == [(name, "accepted")], found["attempts"]
    assert (found["status"], found["provider"]) == ("sent", name)
    assert found["provider_message_id"]
    assert [(entry.provider, entry.mail_id, entry.accepted) for entry in fake.ledger] == [(name, mail_id, True)]
    request = provider(name).request(replace(message, id=mail_id))
    assert isinstance(request, HttpRequest)
    assert fake.ledger[0].body_sha256 == hashlib.sha256(request.body).hexdigest()


async def test_a_mail_with_everything_is_sent_by_smtp(tmp_path: Path) -> None:
    async with MailSink() as sink:
        settings = {"SMTP_URL": f"smtp://127.0.0.1:{sink.port}", "MAILSVC_FROM": str(WHOLE.sender)}
        async with Mailsvc(tmp_path, **settings) as service:
            mail_id = await service.post(**fields(WHOLE))
            found = await service.settled(mail_id)

    assert found["status"] == "sent", found["attempts"]
    (received,) = sink.mails
    assert received.recipients == tuple(each.address for each in WHOLE.everybody)
    assert received.content == build(replace(WHOLE, id=mail_id))


async def test_a_doubt_about_a_mail_is_settled_by_a_key_whose_repetition_is_an_error(tmp_path: Path) -> None:
    async with FakeProvider() as fake:
        fake.fault("cut", times=1)
        async with Mailsvc(tmp_path, **environment("brevo", fake), MAILSVC_RETRY="0.2") as service:
            mail_id = await service.post(on_uncertain="hold")
            found = await service.until(mail_id, "sent")

    told = [(attempt["outcome"], attempt["http_status"], attempt["resolved"]) for attempt in found["attempts"]]
    assert told == [("unanswered", 201, "same_key"), ("accepted", 400, None)]
    assert fake.accepted(mail_id) == 1


def test_no_provider_that_has_a_fake_is_forgotten() -> None:
    assert {kind.name for kind in ENDPOINTS} == OWN.keys()
