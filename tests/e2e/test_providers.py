"""Every provider from its variables to its endpoint: the real process sends one mail by each."""

from pathlib import Path

import pytest

from mailsvc.providers import all_providers
from mailsvc.providers.base import HttpProvider
from tests.e2e.process import Mailsvc
from tests.fakes import FakeProvider

# The variable whose value an endpoint must be shown.
KEYS = {
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


@pytest.mark.parametrize("name", KEYS)
async def test_a_mail_is_sent_by_the_provider_whose_variables_are_set(tmp_path: Path, name: str) -> None:
    async with FakeProvider(keys={name: f"secret-of-{KEYS[name]}"}) as fake:
        async with Mailsvc(tmp_path, **environment(name, fake)) as service:
            mail_id = await service.post(to=["Ann Ünder <ann@example.org>", "bob@example.net"], subject="Grüße {{x}}")
            found = await service.settled(mail_id)

    assert [(a["provider"], a["outcome"]) for a in found["attempts"]] == [(name, "accepted")], found["attempts"]
    assert (found["status"], found["provider"]) == ("sent", name)
    assert found["provider_message_id"]
    assert [(entry.provider, entry.mail_id, entry.accepted) for entry in fake.ledger] == [(name, mail_id, True)]


async def test_a_doubt_about_a_mail_is_settled_by_a_key_whose_repetition_is_an_error(tmp_path: Path) -> None:
    async with FakeProvider() as fake:
        fake.fault("cut", times=1)
        async with Mailsvc(tmp_path, **environment("brevo", fake), MAILSVC_RETRY="0.2") as service:
            mail_id = await service.post(on_uncertain="hold")
            found = await service.until(mail_id, "sent")

    told = [(attempt["outcome"], attempt["http_status"], attempt["resolved"]) for attempt in found["attempts"]]
    assert told == [("unanswered", 201, "same_key"), ("accepted", 400, None)]
    assert fake.accepted(mail_id) == 1


def test_no_provider_over_http_is_forgotten() -> None:
    over_http = {name for name, kind in all_providers().items() if issubclass(kind, HttpProvider)}

    assert over_http - KEYS.keys() == {"sendgrid", "mandrill", "resend"}  # which all other tests use
