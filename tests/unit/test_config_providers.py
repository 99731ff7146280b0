"""Which variables switch which provider on, and in which order they are asked."""

import pytest

from mailsvc.config import Config
from mailsvc.errors import ConfigError
from mailsvc.providers import all_providers

SENDER = {"MAILSVC_FROM": "Shop <shop@example.com>"}
AWS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-of-aws"}
KINDS = {name: kind for name, kind in all_providers().items() if name != "capture"}
ORDER = ["sendgrid", "mandrill", "mailgun", "postmark", "resend", "brevo", "sparkpost", "mailersend", "ses", "smtp"]


def variables(name: str) -> dict[str, str]:
    return {variable: KINDS[name].example.get(variable, "x") for variable in KINDS[name].env}


def faults(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        Config.from_environ(environ)
    return list(raised.value.faults)


@pytest.mark.parametrize("name", ORDER)
def test_the_variables_of_a_provider_switch_it_on_and_no_other(name: str) -> None:
    config = Config.from_environ(SENDER | variables(name))

    assert (list(config.providers), config.live) == ([name], True)
    assert config.providers[name].score == 50


def test_all_of_them_are_asked_in_the_order_of_the_documentation() -> None:
    config = Config.from_environ(SENDER | {key: value for name in ORDER for key, value in variables(name).items()})

    assert list(KINDS) == ORDER
    assert [(name, settings.score) for name, settings in config.providers.items()] == list(
        zip(ORDER, (50, 40, 30, 20, 10, 5, 4, 3, 2, 1), strict=True)
    )


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("MAILGUN_API_KEY", "MAILGUN_DOMAIN"),
        ("SES_REGION", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_providers_own_variable_without_the_others_is_a_fault_that_names_them(name: str, missing: str) -> None:
    (fault,) = faults(SENDER | {name: "eu-central-1"})

    assert fault.startswith(f"{name} is set, but {missing} is not")


@pytest.mark.parametrize("environ", [AWS, {"MAILGUN_DOMAIN": "mg.example.com"}, AWS | {"AWS_SESSION_TOKEN": "token"}])
def test_variables_that_others_use_as_well_switch_nothing_on(environ: dict[str, str]) -> None:
    assert list(Config.from_environ(environ).providers) == ["capture"]


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("POSTMARK_URL", "POSTMARK_SERVER_TOKEN"),
        ("POSTMARK_WEBHOOK_KEY", "POSTMARK_SERVER_TOKEN"),
        ("MAILGUN_DOMAIN", "MAILGUN_API_KEY"),
        ("SES_URL", "SES_REGION"),
        ("SMTP_SCORE", "SMTP_URL"),
    ],
)
def test_what_is_set_for_a_provider_that_is_off_is_noted(name: str, needed: str) -> None:
    note = f"{name} is set, but {needed} is not, so {needed.partition('_')[0].lower()} is not used"

    assert Config.from_environ(SENDER | variables("resend") | {name: "https://hid.den"}).notes == (note,)
    assert Config.from_environ(SENDER | AWS | variables("resend")).notes == ()
    assert (
        Config.from_environ({"MAILSVC_CAPTURE": "1", "SENDGRID_API_KEY": "x", "SENDGRID_URL": "http://x"}).notes == ()
    )


def test_a_token_of_temporary_keys_is_read_and_not_needed() -> None:
    ses = SENDER | AWS | {"SES_REGION": "eu-central-1"}
    without, with_token = Config.from_environ(ses), Config.from_environ(ses | {"AWS_SESSION_TOKEN": "token/+="})

    assert "AWS_SESSION_TOKEN" not in without.providers["ses"].values
    assert with_token.providers["ses"].values["AWS_SESSION_TOKEN"] == "token/+="
    assert "token/+=" not in repr(with_token)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"MAILGUN_API_KEY": "x", "MAILGUN_DOMAIN": "hid.den/"}, "MAILGUN_DOMAIN must be a domain"),
        (AWS | {"SES_REGION": "hidden"}, "SES_REGION must be a region of AWS"),
        (AWS | {"SES_REGION": "eu-central-1", "AWS_SESSION_TOKEN": "hid den"}, "AWS_SESSION_TOKEN contains a space"),
        ({"POSTMARK_SERVER_TOKEN": "x", "POSTMARK_URL": "api.postmarkapp.com"}, "POSTMARK_URL must be a URL"),
        ({"BREVO_API_KEY": "x", "BREVO_SCORE": "0"}, "BREVO_SCORE must be a number from 1 to 100"),
    ],
)
def test_what_cannot_be_is_named_and_not_shown(environ: dict[str, str], words: str) -> None:
    (fault,) = faults(SENDER | environ)

    assert words in fault
    assert "hid" not in fault
