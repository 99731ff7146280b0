"""SMTP: the message as any reader of mail sees it."""

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
from mailsvc.model import Message
from mailsvc.wire import SmtpRequest
from tests.providers.cases import ENCODED_WORD, MESSAGE, provider


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
