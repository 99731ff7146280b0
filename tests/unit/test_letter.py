"""A message by SMTP as the fields of a mail: who gets it, what is in it, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mailsvc.errors import InvalidMail
from mailsvc.letter import read
from mailsvc.submission import parse

HEAD = "From: Shop <shop@example.com>\r\nTo: Ann <ann@example.com>\r\nSubject: Hi\r\n"


def fields(raw: bytes | EmailMessage, *recipients: str) -> dict[str, Any]:
    """The one mail that a message is."""
    data = raw if isinstance(raw, bytes) else raw.as_bytes()
    (mail,) = read(data, recipients or ("ann@example.com",)).mails
    parse(mail)
    return mail


def refusal(raw: str, *recipients: str) -> str:
    with pytest.raises(InvalidMail) as error:
        fields(raw.encode(), *recipients)
    return str(error.value)


def whole() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Schöner Laden <shop@example.com>"
    message["To"] = 'Ann <ann@example.com>, "Lee, Bob" <bob@example.com>'
    message["Cc"] = "cleo@example.com"
    message["Reply-To"] = "answers@example.com"
    message["Subject"] = "Grüße"
    message["X-Order"] = "1042"
    message["References"] = "<1@example.com> <2@example.com>"
    message["Message-ID"] = "<3@example.com>"
    message["X-Mailsvc-Tags"] = "receipt, order"
    message.set_content("Hällo\n")
    message.add_alternative("<p>Hällo <img src='cid:logo'></p>", subtype="html")
    html = message.get_payload()[1]
    html.add_related(b"png", "image", "png", cid="<logo>", filename="logo.png", disposition="inline")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="größe.pdf")
    return message


def test_a_whole_message_keeps_all_that_a_mail_has() -> None:
    mail = fields(whole(), "ann@example.com", "bob@example.com", "cleo@example.com", "unseen@example.com")

    assert mail["from"] == "Schöner Laden <shop@example.com>" or "Schöner Laden" in mail["from"]
    assert (mail["to"], mail["cc"]) == (
        ["Ann <ann@example.com>", '"Lee, Bob" <bob@example.com>'],
        ["cleo@example.com"],
    )
    assert (mail["bcc"], mail["reply_to"]) == (["unseen@example.com"], ["answers@example.com"])
    assert (mail["subject"], mail["tags"]) == ("Grüße", ["receipt", "order"])
    assert mail["headers"] == {"X-Order": "1042", "References": "<1@example.com> <2@example.com>"}
    assert (mail["text"], mail["html"].strip()) == ("Hällo\n", "<p>Hällo <img src='cid:logo'></p>")
    assert [(each["filename"], each["content"], each.get("content_id")) for each in mail["attachments"]] == [
        ("logo.png", b"png", "logo"),
        ("größe.pdf", b"%PDF", None),
    ]


def test_nobody_gets_a_mail_because_of_a_header() -> None:
    mail = fields(whole(), "bob@example.com")

    assert mail["to"] == ['"Lee, Bob" <bob@example.com>']
    assert "cc" not in mail
    assert "bcc" not in mail


def test_recipients_that_no_header_names_get_a_mail_each() -> None:
    raw = b"From: shop@example.com\r\nTo: undisclosed-recipients:;\r\nSubject: Hi\r\n\r\nHi"
    mails = read(raw, ["ann@example.com", "bob@example.com"]).mails

    assert [mail["to"] for mail in mails] == [["ann@example.com"], ["bob@example.com"]]


def test_an_address_of_the_envelope_is_found_in_a_header_in_any_case_and_a_bcc_header_is_gone() -> None:
    raw = HEAD.replace("ann@", "ANN@") + "Bcc: secret@example.com\r\n\r\nHi"
    mail = fields(raw.encode(), "ann@example.com", "secret@example.com")

    assert (mail["to"], mail["bcc"]) == (["Ann <ANN@example.com>"], ["secret@example.com"])
    assert "headers" not in mail


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("To: ann@example.com\r\nSubject: Hi\r\n\r\nHi", "From: must be there, with one address"),
        (HEAD.replace("shop@example.com>", "shop@example.com>, b@example.com") + "\r\nHi", "From: must be there"),
        (HEAD.replace("Subject: Hi\r\n", "") + "\r\nHi", "subject: is required"),
        (HEAD + "X-A: 1\r\nX-A: 2\r\n\r\nHi", "X-A: is there more than once"),
        (HEAD + "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nHi\r\n--b--", "multipart/signed cannot"),
        (HEAD + "Content-Type: multipart/mixed\r\n\r\nHi", "says it has several parts"),
        (HEAD + "X-Mailsvc-Idempotency-Key: " + "k" * 300 + "\r\n\r\nHi", "must be 1 to 256"),
        (HEAD + "X-SG-EID: 1\r\n\r\nHi", "must not set X-SG-EID"),
    ],
)
def test_what_cannot_be_carried_is_refused_with_the_reason(raw: str, words: str) -> None:
    assert words in refusal(raw)


def test_raw_utf8_and_unknown_charsets_are_read_as_well_as_can_be() -> None:
    raw = HEAD.replace("Hi", "Grüße").encode() + b"Content-Type: text/plain; charset=klingon\r\n\r\nH\xc3\xa4llo"
    mail = fields(raw)

    assert (mail["subject"], mail["text"]) == ("Grüße", "Hällo")


def test_a_message_of_nothing_but_a_file_and_a_message_within_a_message_are_mails() -> None:
    inner = EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("inner")
    outer = EmailMessage()
    outer["From"], outer["To"], outer["Subject"] = "shop@example.com", "ann@example.com", "Fwd"
    outer.add_attachment(inner)
    mail = fields(outer)

    assert mail["text"] == "\n"
    assert (mail["attachments"][0]["filename"], mail["attachments"][0]["content_type"]) == (
        "message-1.eml",
        "message/rfc822",
    )
    assert b"Subject: inner" in mail["attachments"][0]["content"]


def test_parts_within_parts_have_an_end() -> None:
    head = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n" for n in range(60))

    assert "30 deep" in refusal(HEAD + head + "\r\nHi")
    assert "more than 100 parts" in refusal(HEAD + 2 * head + "\r\nHi")


@pytest.mark.parametrize("header", ["To: ", "Subject: ", "Content-Type: ", "X-A: ", "Reply-To: "])
def test_a_header_that_a_slow_reader_would_take_hours_for_is_read_or_refused_at_once(header: str) -> None:
    head = HEAD.replace("Subject: Hi\r\n", "") if header == "Subject: " else HEAD
    for piece in ("(", '"\\', ",", "a@b.co,", "=?utf-8?q?a?= ", "\\", ";a*0*=b", "\r\n "):
        with suppress(InvalidMail):
            fields((head + header + piece * (200_000 // len(piece)) + "\r\n\r\nHi").encode())


LINES = [
    b"From: a@b.co",
    b"From: <",
    b"To: x, , <y@z.co>",
    b"Subject: =?utf-8?b?",
    b"Content-Type: multipart/mixed; b=",
    b"Content-Type: text/plain; charset=\xff",
    b"Content-Disposition: attachment; filename*=x''%",
    b"",
    b"--b",
    b"\xff",
]


@given(some.lists(some.sampled_from(LINES), max_size=12))
def test_hostile_bytes_are_a_mail_or_refused_and_never_an_error_of_ours(lines: list[bytes]) -> None:
    with suppress(InvalidMail):
        fields(b"\r\n".join(lines))
