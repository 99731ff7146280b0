"""SMTP: the URL, and every row of the table of replies."""

import pytest

from mailsvc.model import Outcome
from mailsvc.providers import all_providers
from mailsvc.providers.base import Settings
from mailsvc.wire import SmtpReply, SmtpRequest
from tests.providers.cases import MESSAGE, Case, check, provider

Smtp = all_providers()["smtp"]


def reply(stage: str, code: int | None, text: str = "", **refused: tuple[int, str]) -> SmtpReply:
    return SmtpReply(stage, code, text, refused)


def all_refused(*replies: tuple[int, str]) -> SmtpReply:
    code, text = replies[0]
    return SmtpReply("rcpt", code, text, {f"r{n}@d.test": found for n, found in enumerate(replies)})


ANN, BOB = "Ann@example.org", "bob@example.net"
CASES = [
    # Taken.
    Case("taken", reply("done", 250, "2.0.0 Ok: queued as 4XyZ"), Outcome.ACCEPTED, provider_message_id="4XyZ"),
    Case("taken, no id", reply("done", 250, "2.0.0 fine"), Outcome.ACCEPTED, words="250 2.0.0 fine"),
    Case(
        "taken by Amazon SES",
        reply("done", 250, "Ok 0102018c-a1b2-000000"),
        Outcome.ACCEPTED,
        None,
        "0102018c-a1b2-000000",
    ),
    Case(
        "taken for some",
        SmtpReply("done", 250, "2.0.0 queued as A1", {ANN: (550, "5.1.1 unknown"), BOB: (450, "4.2.1 busy")}),
        Outcome.ACCEPTED,
        provider_message_id="A1",
        refused={ANN: "550 5.1.1 unknown", BOB: "450 4.2.1 busy"},
    ),
    # Connecting.
    Case(
        "connect 421", reply("connect", 421, "4.3.2 busy"), Outcome.DOWN, words="refused the connection: 421 4.3.2 busy"
    ),
    Case("connect 554", reply("connect", 554, "5.7.1 blocked"), Outcome.DOWN),
    # STARTTLS.
    Case(
        "STARTTLS not offered",
        reply("starttls", None, "not supported by server"),
        Outcome.UNAUTHORIZED,
        words="STARTTLS",
    ),
    Case("STARTTLS 454", reply("starttls", 454, "4.7.0 not now"), Outcome.DOWN),
    Case("STARTTLS 502", reply("starttls", 502, "5.5.1 what"), Outcome.UNAUTHORIZED),
    # Logging in.
    Case("AUTH not offered", reply("auth", None, "not supported"), Outcome.UNAUTHORIZED, words="refused the login"),
    Case("AUTH 535", reply("auth", 535, "5.7.8 bad"), Outcome.UNAUTHORIZED),
    Case("AUTH 534", reply("auth", 534, "5.7.9 needs another mechanism"), Outcome.UNAUTHORIZED),
    Case("AUTH 451, SendGrid", reply("auth", 451, "Authentication failed: Maximum credits exceeded"), Outcome.QUOTA),
    Case(
        "AUTH 454, SES rate",
        reply("auth", 454, "Throttling failure: Maximum sending rate exceeded."),
        Outcome.RATE_LIMITED,
        10,
    ),
    Case("AUTH 454, SES quota", reply("auth", 454, "Throttling failure: Daily message quota exceeded."), Outcome.QUOTA),
    Case("AUTH 454", reply("auth", 454, "4.7.0 Temporary authentication failure"), Outcome.RATE_LIMITED, 10),
    # The sender.
    Case("MAIL 552", reply("mail", 552, "5.3.4 too big"), Outcome.REFUSED, words="552 5.3.4 too big"),
    Case("MAIL 5.3.4 with another code", reply("mail", 523, "5.3.4 too big"), Outcome.REFUSED),
    Case("MAIL 550", reply("mail", 550, "5.7.1 not verified"), Outcome.SENDER_REFUSED, words="refused the sender"),
    Case("MAIL 553", reply("mail", 553, "5.7.1 not owned by user"), Outcome.SENDER_REFUSED),
    Case("MAIL 501", reply("mail", 501, "5.1.7 bad address"), Outcome.SENDER_REFUSED),
    Case("MAIL 530", reply("mail", 530, "5.7.0 Authentication required"), Outcome.UNAUTHORIZED),
    Case("MAIL 451", reply("mail", 451, "4.7.1 later"), Outcome.RATE_LIMITED, 10),
    Case("MAIL 421", reply("mail", 421, "4.7.0 too many messages"), Outcome.RATE_LIMITED, 10),
    Case("MAIL 452, quota", reply("mail", 452, "4.5.3 your sending quota is used up"), Outcome.QUOTA),
    Case("MAIL 550, Google's quota", reply("mail", 550, "5.4.5 Daily user sending limit exceeded"), Outcome.QUOTA),
    # All recipients.
    Case("RCPT 550", all_refused((550, "5.1.1 unknown")), Outcome.RECIPIENT_REFUSED, words="550 5.1.1 unknown"),
    Case("RCPT 550, both", all_refused((550, "5.1.1 unknown"), (553, "5.1.3 bad")), Outcome.RECIPIENT_REFUSED),
    Case("RCPT 552, mailbox full", all_refused((552, "5.2.2 mailbox over quota")), Outcome.RECIPIENT_REFUSED),
    Case("RCPT 552, size", all_refused((552, "5.3.4 too big")), Outcome.REFUSED),
    Case("RCPT 450", all_refused((450, "4.2.0 greylisted")), Outcome.RATE_LIMITED, soft=True),
    Case("RCPT 452, full mailbox", all_refused((452, "4.2.2 over quota")), Outcome.RATE_LIMITED, soft=True),
    Case("RCPT 550, 450", all_refused((550, "5.1.1 unknown"), (450, "4.2.0 later")), Outcome.RATE_LIMITED, soft=True),
    Case("RCPT 421", all_refused((421, "4.7.0 too much")), Outcome.RATE_LIMITED, 10),
    Case("RCPT 452, full server", all_refused((452, "4.3.1 insufficient storage")), Outcome.RATE_LIMITED, 10),
    Case("RCPT 554, policy", all_refused((554, "5.7.1 listed at a block list")), Outcome.REFUSED),
    Case("RCPT 554, no relaying", all_refused((554, "5.7.1 Relay access denied")), Outcome.UNAUTHORIZED),
    Case(
        "RCPT 550, a relay knows nobody", all_refused((550, "5.1.1 unknown at relay.test")), Outcome.RECIPIENT_REFUSED
    ),
    Case("RCPT 550, no relaying", all_refused((550, "relaying denied")), Outcome.UNAUTHORIZED),
    Case("RCPT 530", all_refused((530, "5.7.0 log in first")), Outcome.UNAUTHORIZED),
    # The message.
    Case("DATA 451", reply("data", 451, "4.3.0 later"), Outcome.RATE_LIMITED, 10, words="refused the message"),
    Case("DATA 554", reply("data", 554, "5.6.0 spam"), Outcome.REFUSED),
    Case("DATA 552", reply("data", 552, "5.3.4 too big"), Outcome.REFUSED),
    Case(
        "DATA 554, SES", reply("data", 554, "Message rejected: Email address is not verified."), Outcome.SENDER_REFUSED
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_reply_means(case: Case) -> None:
    check("smtp", case)


# The URL.


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("smtp://user:pass@mail.example.com", ("mail.example.com", 587, "starttls", "user", "pass")),
        ("smtp://user:pass@mail.example.com:25/", ("mail.example.com", 25, "starttls", "user", "pass")),
        ("smtps://user:pass@mail.example.com", ("mail.example.com", 465, "tls", "user", "pass")),
        ("smtps://127.0.0.1:2465", ("127.0.0.1", 2465, "tls", None, None)),
        ("smtp://localhost:1025", ("localhost", 1025, "plain", None, None)),
        ("smtp://127.0.0.2:1025", ("127.0.0.2", 1025, "plain", None, None)),
        ("smtp://[::1]:1025", ("::1", 1025, "plain", None, None)),
        ("smtp://192.168.0.7", ("192.168.0.7", 587, "starttls", None, None)),
        ("smtp://a%40b.test:p%2Fs%3A%C3%B6@h.test", ("h.test", 587, "starttls", "a@b.test", "p/s:ö")),
    ],
)
def test_the_url_says_how_to_connect(url: str, wanted: tuple[str, int, str, str | None, str | None]) -> None:
    assert Smtp.faults(Settings({"SMTP_URL": url})) == []

    sent = provider("smtp", SMTP_URL=url).request(MESSAGE)

    assert isinstance(sent, SmtpRequest)
    assert (sent.host, sent.port, sent.security, sent.username, sent.password) == wanted


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hidden@mail.example.com",
        "mail.example.com",
        "smtp://",
        "smtp://user:hidden@",
        "smtp://user@mail.example.com",
        "smtp://:hidden@mail.example.com",
        "smtp://user:hidden@mail.example.com:0",
        "smtp://user:hidden@mail.example.com:99999",
        "smtp://user:hidden@mail.example.com:smtp",
        "smtp://user:hid/den@mail.example.com",
        "smtp://user:hid#den@mail.example.com",
        "smtp://user:hid?den@mail.example.com",
        "smtp://user:hidden@mail.example.com/path",
        "smtp://user:hidden@mail.example.com?tls=no",
        "smtp://user:hidden%0d%0aQUIT@mail.example.com",
        "smtp://user:hidden%00@mail.example.com",
        "smtp://user:hidden%ff@mail.example.com",
        "smtp://user:hid den@mail.example.com",
        "smtp://user:hiddenß@mail.example.com",
        "smtp://[::1",
    ],
)
def test_a_faulty_url_is_named_but_not_shown(url: str) -> None:
    faults = Smtp.faults(Settings({"SMTP_URL": url}))

    assert len(faults) == 1
    assert faults[0].startswith("SMTP_URL ")
    assert "hid" not in faults[0]


@pytest.mark.parametrize("echo", ["p%40ss/word", "p@ss/word", "AHVzZXIAcEBzcy93b3Jk", "cEBzcy93b3Jk"])
def test_the_password_is_masked_in_every_form_in_which_a_server_can_repeat_it(echo: str) -> None:
    smtp = provider("smtp", SMTP_URL="smtp://user:p%40ss%2Fword@mail.example.com")
    echo = echo.replace("p%40ss/", "p%40ss%2F")
    result = smtp.read(SmtpReply("auth", 535, f"5.7.8 not {echo}"), MESSAGE)

    assert echo not in result.detail
    assert "***" in result.detail
