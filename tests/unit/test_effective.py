"""What `mailsvc config` shows: every setting that counts, where it comes from, and no secret."""

import pytest

from mailsvc.config import Config, effective
from mailsvc.errors import ConfigError
from mailsvc.setting import masked, shown

SECRETS = {
    "MAILSVC_API_KEY": "secret-0123456789",
    "SENDGRID_API_KEY": "SG.secret",
    "POSTMARK_SERVER_TOKEN": "secret",
    "POSTMARK_WEBHOOK_KEY": "secret-secret-secret",
    "SMTP_URL": "smtps://user:secret@smtp.shop.dev:465",
    "DATABASE_URL": "postgres://user:secret@db.shop.dev:5432/mail?sslmode=require",
}
SENDER = {"MAILSVC_FROM": "Shop <orders@shop.dev>"}


def test_with_nothing_set_everything_is_a_default_that_would_mean_the_same_if_it_were_set() -> None:
    found = effective({})
    again = {name: value for name, value, _ in found if value != "-"}

    assert {origin for _, _, origin in found} == {"default"}
    assert len(found) > 20
    assert Config.from_environ(again) == Config.from_environ({})


def test_what_is_set_is_shown_as_it_was_set_and_secrets_are_not() -> None:
    found = {name: (value, origin) for name, value, origin in effective(SECRETS | SENDER | {"MAILSVC_GIVE_UP": "2d"})}

    assert found["MAILSVC_GIVE_UP"] == ("2d", "environment")
    assert found["MAILSVC_FROM"] == ("Shop <orders@shop.dev>", "environment")
    assert found["DATABASE_URL"] == ("postgres://user:***@db.shop.dev:5432/mail?sslmode=require", "environment")
    for name in ("MAILSVC_API_KEY", "SENDGRID_API_KEY", "POSTMARK_WEBHOOK_KEY", "SMTP_URL"):
        assert found[name] == ("***", "environment")
    assert found["SENDGRID_SCORE"] == ("50", "default")
    assert "MANDRILL_API_KEY" not in found
    assert "secret" not in str(found)


def test_a_configuration_that_cannot_work_is_told_by_its_faults() -> None:
    with pytest.raises(ConfigError, match="PORT"):
        effective({"PORT": "99999"})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "1"),
        (30.0, "30"),
        (2.5, "2.5"),
        (31_536_000.0, "31536000"),
        ((5.0, 0.5), "5,0.5"),
        ((), "-"),
        (None, "-"),
    ],
)
def test_a_default_is_written_as_it_would_be_set(value: object, words: str) -> None:
    assert shown(value) == words


def test_only_the_password_of_a_url_is_hidden() -> None:
    assert masked("postgres://user:p%40ss@host/db") == "postgres://user:***@host/db"
    assert masked("postgres://user@host/db") == "postgres://user@host/db"
    assert masked("sqlite:////data/mail.db") == "sqlite:////data/mail.db"
