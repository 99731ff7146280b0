"""SMTP: the message as any reader of mail sees it, the URL, and every row of the table of replies."""

import email
import re
from dataclasses import replace
from email.header import decode_header
from email.message import EmailMessage
from email.policy import default
from email.utils import getaddresses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsvc.address import Mailbox, control_character
from mailsvc.model import Message, Outcome
from mailsvc.providers import all_providers
from mailsvc.providers.base import Settings, SmtpReply, SmtpRequest
from tests.providers.cases import ENCODED_WORD, MESSAGE, Case, check, provider

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
    Case("RCPT 450", all_refused((450, "4.2.0 greylisted")), Outcome.RATE_LIMITED, 10),
    Case("RCPT 550 and 450", all_refused((550, "5.1.1 unknown"), (450, "4.2.0 later")), Outcome.RATE_LIMITED, 10),
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


# The message.


def build(message: Message = MESSAGE) -> bytes:
    sent = provider("smtp").request(message)
    assert isinstance(sent, SmtpRequest)
    return sent.data


def read(message: Message = MESSAGE) -> EmailMessage:
    parsed = email.message_from_bytes(build(message), policy=default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def content(part: EmailMessage) -> str:
    return part.get_content().replace("\r\n", "\n")


def raw_header(data: bytes, name: str) -> str:
    """A header as it is on the wire, unfolded."""
    head = data.partition(b"\r\n\r\n")[0].decode("ascii")
    found = re.search(rf"^{name}: ([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", head, re.MULTILINE)
    assert found
    return re.sub(r"\r\n(?=[ \t])", "", found[1])


def decoded(header: str) -> str:
    """A header's text by the older of the standard library's readers, which shares no code with the newer."""
    return "".join(
        part.decode(charset or "ascii") if isinstance(part, bytes) else part for part, charset in decode_header(header)
    )


def test_the_envelope_names_each_recipient_once() -> None:
    sent = provider("smtp").request(replace(MESSAGE, to=(*MESSAGE.to, MESSAGE.to[0])))

    assert isinstance(sent, SmtpRequest)
    assert (sent.sender, sent.recipients) == ("shop@example.com", ("Ann@example.org", "bob@example.net"))


def test_a_reader_sees_what_was_written() -> None:
    mail = read()

    assert mail["Subject"] == MESSAGE.subject
    assert mail["From"].addresses[0].display_name == "Tö, the Shop"
    assert [str(address.addr_spec) for address in mail["To"].addresses] == ["Ann@example.org", "bob@example.net"]
    assert mail["Message-ID"] == f"<{MESSAGE.id}@example.com>"
    assert mail["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    text, html = (content(part) for part in mail.iter_parts())
    assert text == MESSAGE.text
    assert html.rstrip("\n") == MESSAGE.html
    assert mail.defects == []


@pytest.mark.parametrize(("text", "html", "kind"), [("ä\n", None, "text/plain"), ("", "<p>ä</p>\n", "text/html")])
def test_a_single_part_needs_no_container(text: str | None, html: str | None, kind: str) -> None:
    mail = read(replace(MESSAGE, text=text, html=html))

    assert mail.get_content_type() == kind
    assert content(mail) == (text or html)


def test_the_message_is_the_same_every_time() -> None:
    assert build() == build()


LONG_LINES = replace(MESSAGE, text="ä" * 5000 + "\rlone\nlone\r\n" + "x" * 5000, html="<p>" + "y" * 5000)
LONG_WORDS = replace(MESSAGE, subject="x" * 998, to=(Mailbox("c@d.test", "y" * 255), Mailbox("e@f.test", "ä" * 255)))


@pytest.mark.parametrize("message", [MESSAGE, LONG_LINES, LONG_WORDS], ids=["usual", "long lines", "long words"])
def test_all_bytes_are_ascii_and_all_lines_end_with_crlf_and_are_short(message: Message) -> None:
    data = build(message)

    data.decode("ascii")
    lines = data.split(b"\r\n")
    assert lines[-1] == b""
    assert all(len(line) <= 998 and b"\r" not in line and b"\n" not in line for line in lines)


def test_an_encoded_word_arrives_as_the_text_it_is() -> None:
    message = replace(
        MESSAGE,
        subject=ENCODED_WORD,
        sender=Mailbox("a@b.test", ENCODED_WORD),
        to=(Mailbox("c@d.test", f"x {ENCODED_WORD}"),),
    )
    data, mail = build(message), read(message)

    assert mail["Bcc"] is None
    assert b"=?utf-8?q?a" not in data
    assert decoded(raw_header(data, "Subject")) == ENCODED_WORD
    assert decoded(raw_header(data, "From")) == f"{ENCODED_WORD} <a@b.test>"
    assert decoded(raw_header(data, "To")) == f"x {ENCODED_WORD} <c@d.test>"


def test_a_long_list_of_recipients_is_folded_between_them() -> None:
    people = tuple(Mailbox(f"person{n}@example.com", f'The "{n}", Person') for n in range(50))
    data = build(replace(MESSAGE, to=people))

    assert max(len(line) for line in data.split(b"\r\n")) < 100
    assert getaddresses([raw_header(data, "To")]) == [(person.name, person.address) for person in people]


ONE_LINE = (
    st.text(max_size=200).map(lambda text: text.strip()).filter(lambda text: text and not control_character(text))
)


@settings(deadline=None)
@given(ONE_LINE.filter(lambda text: text.isprintable() and max(text) < "\ud800"))
def test_any_subject_and_any_name_survive(text: str) -> None:
    message = replace(MESSAGE, subject=text, to=(Mailbox("c@d.test", text),))
    data = build(message)

    assert decoded(raw_header(data, "Subject")) == text
    assert data.count(b"\r\nSubject: ") == 1
    assert read(message)["To"].addresses[0].addr_spec == "c@d.test"
