"""The environment: defaults, units, and every fault in one message without a secret."""

import math

import pytest

from mailsvc.address import Mailbox
from mailsvc.config import Config
from mailsvc.errors import ConfigError
from mailsvc.model import OnUncertain

LIVE = {"MAILSVC_FROM": "Shop <shop@example.com>", "SENDGRID_API_KEY": "SG.secret-of-sendgrid"}
KEY = {"MAILSVC_API_KEY": "k" * 32}


def faults(environ: dict[str, str]) -> list[str]:
    """The faults of an environment that cannot be used."""
    with pytest.raises(ConfigError) as raised:
        Config.from_environ(environ)
    return list(raised.value.faults)


def test_nothing_set_is_a_sandbox_on_this_machine() -> None:
    config = Config.from_environ({})

    assert (config.host, config.port, config.loopback, config.live) == ("127.0.0.1", 8080, True, False)
    assert list(config.providers) == ["capture"]
    assert config.database_url == "sqlite:///mailsvc.db"
    assert config.sender == Mailbox("sandbox@example.invalid")
    assert config.retry == (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
    assert (config.concurrency, config.timeout, config.uncertain_after, config.give_up) == (64, 30.0, 60.0, 86_400.0)
    assert (config.on_uncertain, config.exact) == (OnUncertain.RESEND, False)
    assert (config.max_body, config.max_queued) == (25 * 1024 * 1024, 1_000_000)


def test_everything_can_be_set() -> None:
    config = Config.from_environ(
        LIVE
        | KEY
        | {
            "HOST": "0.0.0.0",
            "PORT": "9000",
            "DATABASE_URL": "sqlite:////var/lib/mailsvc/mail.db",
            "MAILSVC_PUBLIC_URL": "https://mail.example.com/",
            "MAILSVC_SELECTOR": "classic",
            "MAILSVC_ON_UNCERTAIN": "hold",
            "MAILSVC_CONCURRENCY": "8",
            "MAILSVC_TIMEOUT": "2.5",
            "MAILSVC_UNCERTAIN_AFTER": "5m",
            "MAILSVC_RETRY": "1, 2s,1m",
            "MAILSVC_GIVE_UP": "2d",
            "MAILSVC_LOCK_WAIT": "60",
            "MAILSVC_LOG": "debug",
            "MAILSVC_MAX_BODY": "2 MiB",
            "MAILSVC_MAX_QUEUED": "10",
            "SENDGRID_URL": "http://127.0.0.1:9001/",
            "SENDGRID_SCORE": "70",
        }
    )

    assert (config.host, config.port, config.live) == ("0.0.0.0", 9000, True)
    assert config.public_url == "https://mail.example.com"
    assert (config.exact, config.on_uncertain, config.retry) == (True, OnUncertain.HOLD, (1.0, 2.0, 60.0))
    assert (config.timeout, config.uncertain_after, config.give_up) == (2.5, 300.0, 172_800.0)
    assert config.max_body == 2 * 1024 * 1024
    assert config.providers["sendgrid"].url == "http://127.0.0.1:9001"
    assert config.providers["sendgrid"].score == 70.0


@pytest.mark.parametrize(
    ("body", "mail", "kept"),
    [("", "", (30.0, 365.0)), ("0", "1d", (0.0, 1.0)), ("Forever", "forever", (math.inf, math.inf))],
)
def test_how_long_mails_are_kept_has_an_end_unless_it_is_forever(
    body: str, mail: str, kept: tuple[float, float]
) -> None:
    config = Config.from_environ({"MAILSVC_KEEP_BODY": body, "MAILSVC_KEEP_MAIL": mail})

    assert (config.keep_body / 86_400, config.keep_mail / 86_400) == kept


def test_names_and_proxies_are_read_as_lists() -> None:
    config = Config.from_environ(
        {
            "MAILSVC_PUBLIC_URL": "https://Mail.example.com:8443/x",
            "MAILSVC_HOSTS": "mailsvc, 10.0.0.7,[::1]",
            "MAILSVC_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        }
    )

    assert config.known_names == {"mail.example.com", "mailsvc", "10.0.0.7", "::1"}
    assert [str(network) for network in config.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert Config.from_environ({}).known_names == frozenset()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAILSVC_HOSTS", "https://mail.example.com"),
        ("MAILSVC_HOSTS", "mail.example.com:80"),
        ("MAILSVC_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("MAILSVC_TRUSTED_PROXIES", "proxy"),
        ("MAILSVC_KEEP_BODY", "-1"),
        ("MAILSVC_KEEP_MAIL", "1h"),
        ("MAILSVC_KEEP_MAIL", "never"),
    ],
)
def test_what_makes_no_sense_is_named(name: str, value: str) -> None:
    assert [fault.split()[0] for fault in faults({name: value})] == [name]


def test_default_scores_go_down_in_the_order_of_the_providers_that_are_on() -> None:
    both = Config.from_environ(LIVE | {"MANDRILL_API_KEY": "m", "SMTP_URL": "smtp://127.0.0.1:25"})
    smtp = Config.from_environ({"MAILSVC_FROM": "a@b.co", "SMTP_URL": "smtp://127.0.0.1:25"})

    assert {name: s.score for name, s in both.providers.items()} == {"sendgrid": 50.0, "mandrill": 40.0, "smtp": 30.0}
    assert {name: s.score for name, s in smtp.providers.items()} == {"smtp": 50.0}


def test_port_and_key_without_host_listen_everywhere_as_platforms_expect() -> None:
    assert Config.from_environ(LIVE | KEY | {"PORT": "5000"}).host == "0.0.0.0"
    assert Config.from_environ(LIVE | KEY | {"PORT": "5000", "HOST": "127.0.0.1"}).host == "127.0.0.1"
    assert Config.from_environ(LIVE | {"PORT": "5000"}).host == "127.0.0.1"
    assert Config.from_environ(LIVE | KEY).host == "127.0.0.1"


def test_capture_can_be_forced_whatever_else_is_configured() -> None:
    config = Config.from_environ(LIVE | {"MAILSVC_CAPTURE": "1"})

    assert list(config.providers) == ["capture"]
    assert not config.live


def test_every_fault_is_told_at_once_and_no_secret_with_it() -> None:
    found = faults(
        {
            "SENDGRID_API_KEY": "SG.secret",
            "SMTP_URL": "http://user:hunter2@host",
            "DATABASE_URL": "mysql://root:hunter2@host/x",
            "PORT": "eighty",
            "MAILSVC_RETRY": "soon",
            "MAILSVC_TIMEOUT": "-1",
            "MAILSVC_SELECTOR": "best",
            "HOST": "0.0.0.0",
        }
    )

    for name in (
        "SMTP_URL", "DATABASE_URL", "PORT", "MAILSVC_RETRY", "MAILSVC_TIMEOUT", "MAILSVC_SELECTOR", "MAILSVC_FROM",
        "MAILSVC_API_KEY",
    ):  # fmt: skip
        assert any(fault.startswith(name) for fault in found), name
    assert "hunter2" not in str(found)
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    "platform", ["DYNO", "RENDER", "FLY_APP_NAME", "RAILWAY_ENVIRONMENT", "KUBERNETES_SERVICE_HOST"]
)
def test_a_public_platform_needs_a_key(platform: str) -> None:
    found = faults(LIVE | {platform: "x", "DATABASE_URL": "postgres://h/d"})

    assert len(found) == 1
    assert found[0].startswith("MAILSVC_API_KEY is needed")


def test_listening_to_others_needs_a_key() -> None:
    assert faults(LIVE | {"HOST": "0.0.0.0"})[0].startswith("MAILSVC_API_KEY is needed")
    assert faults(LIVE | {"HOST": "192.0.2.1"})[0].startswith("MAILSVC_API_KEY is needed")
    assert Config.from_environ(LIVE | {"HOST": "::1"}).loopback
    assert Config.from_environ(LIVE | {"HOST": "localhost"}).loopback


def test_capture_alone_is_not_shown_to_others_by_accident() -> None:
    assert "MAILSVC_CAPTURE=1" in faults(KEY | {"HOST": "0.0.0.0"})[0]
    assert Config.from_environ(KEY | {"HOST": "0.0.0.0", "MAILSVC_CAPTURE": "1"}).host == "0.0.0.0"


def test_sqlite_on_a_disk_that_is_wiped_is_refused() -> None:
    environ = LIVE | KEY | {"DYNO": "web.1", "PORT": "5000"}

    assert faults(environ)[0].startswith("DATABASE_URL is an SQLite file")
    assert Config.from_environ(environ | {"MAILSVC_EPHEMERAL": "1"}).port == 5000
    assert Config.from_environ(environ | {"DATABASE_URL": "postgres://u:p@h/d"}).port == 5000


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999", "http://[::1", "ftp://x", "http://", "http://u:p@h", "http://h:0"]
)
def test_a_provider_url_that_cannot_work_is_a_fault_in_words(url: str) -> None:
    (found,) = faults(LIVE | {"SENDGRID_URL": url})

    assert found.startswith("SENDGRID_URL must be a URL")


def test_secrets_are_not_shown_by_a_repr() -> None:
    config = Config.from_environ(LIVE | KEY | {"DATABASE_URL": "postgres://u:hunter2@h/d"})

    assert "secret-of-sendgrid" not in repr(config)
    assert KEY["MAILSVC_API_KEY"] not in repr(config)
    assert "hunter2" not in repr(config)


def test_what_is_probably_misspelt_is_noted() -> None:
    assert Config.from_environ({"MAILSVC_RETRYS": "1"}).notes == (
        "MAILSVC_RETRYS is not a setting of mailsvc; is it misspelt?",
    )
    assert "guessed" in Config.from_environ({"MAILSVC_API_KEY": "short"}).notes[0]
    assert Config.from_environ({"MAILSVC_EPHEMERAL": "1", "MAILSVC_URL": "x"}).notes == ()
