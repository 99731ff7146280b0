"""What each provider is told of a mail with everything in it, field by field."""

import email
import json
from base64 import b64encode
from dataclasses import replace
from email.policy import HTTP, default
from typing import Any

import pytest

from mailsvc.address import Mailbox
from mailsvc.mime import build
from mailsvc.model import Attachment, Message
from mailsvc.providers import all_providers
from mailsvc.wire import HttpRequest, SmtpRequest
from tests.providers.cases import every_sending, provider
from tests.providers.whole import PIXEL, TABLE, WHOLE, mail, sayable

ID = WHOLE.id
CSV, PNG = b64encode(TABLE).decode(), b64encode(PIXEL).decode()
CSV_NAME = "Größen – 2024.csv"
CAROL, CARL = '"Čarol, {{x}}" <carol@example.org>', "carl@xn--bcher-kva.example"
ANSWERS = '"Hílfe, Desk" <help@example.com>'
METADATA = {"mailsvc_id": ID, "order": "4711", "note": "grün & blau", "a.b": "c d"}
PLAIN = [("mailsvc_id", ID), ("order", "4711"), ("tag", "receipt"), ("tag_3", "shop")]


def body(name: str, message: Message = WHOLE) -> Any:
    """What an HTTP provider is told of as much of the mail as it can carry."""
    request = provider(name).request(sayable(name, message))
    assert isinstance(request, HttpRequest)
    return json.loads(request.body)


@every_sending
def test_nothing_that_a_reader_would_miss_is_dropped(name: str) -> None:
    """Each of these is said, or the provider lacks it and is not asked."""
    ability = all_providers()[name].ability
    plain = replace(WHOLE, cc=(), bcc=(), reply_to=(), headers={}, attachments=())
    before = provider(name).request(plain)
    for field in ("cc", "bcc", "reply_to", "headers", "attachments"):
        message = replace(plain, **{field: getattr(WHOLE, field)})
        assert ability.lacks(mail(message)) or provider(name).request(message) != before


def test_sendgrid_is_told() -> None:
    found = body("sendgrid")

    assert found["personalizations"] == [
        {
            "to": [{"email": "Ann@example.org", "name": "Ann Ünder"}, {"email": "bob@example.net"}],
            "cc": [{"email": "carol@example.org", "name": "Čarol, {{x}}"}, {"email": CARL}],
            "bcc": [{"email": "dave@example.org", "name": "Dave Ö"}, {"email": "eve@example.net"}],
            "custom_args": METADATA,
        }
    ]
    assert found["reply_to"] == {"email": "help@example.com", "name": "Hílfe, Desk"}
    assert found["headers"] == {"Message-ID": WHOLE.message_id, "X-Order": "4711", "x-weird-Name": "a, b; c"}
    assert found["categories"] == ["receipt", "größe", "shop"]
    assert found["attachments"] == [
        {"content": CSV, "type": "text/csv", "filename": CSV_NAME, "disposition": "attachment"},
        {"content": PNG, "type": "image/png", "filename": "logo.png", "disposition": "inline", "content_id": "logo"},
    ]


def test_sendgrid_is_told_several_addresses_for_answers_as_a_list_and_never_both() -> None:
    found = body("sendgrid", replace(WHOLE, reply_to=(Mailbox("a@b.test"), Mailbox("c@d.test", "C"))))

    assert found["reply_to_list"] == [{"email": "a@b.test"}, {"email": "c@d.test", "name": "C"}]
    assert "reply_to" not in found


def test_sendgrid_is_told_as_much_metadata_as_it_takes() -> None:
    found = body("sendgrid", replace(WHOLE, metadata={f"k{n}": "ä" * 500 for n in range(50)}))
    arguments = found["personalizations"][0]["custom_args"]

    assert arguments["mailsvc_id"] == ID
    assert 8_000 < len(json.dumps(arguments, ensure_ascii=False, separators=(",", ":")).encode()) <= 10_000


def test_mandrill_is_told() -> None:
    found = body("mandrill")["message"]

    assert found["to"] == [
        {"email": "Ann@example.org", "type": "to", "name": "Ann Ünder"},
        {"email": "bob@example.net", "type": "to"},
        {"email": "carol@example.org", "type": "cc", "name": "Čarol, {{x}}"},
        {"email": CARL, "type": "cc"},
        {"email": "dave@example.org", "type": "bcc", "name": "Dave Ö"},
        {"email": "eve@example.net", "type": "bcc"},
    ]
    assert found["headers"] == {
        "Message-ID": WHOLE.message_id,
        "Reply-To": ANSWERS,
        "X-Order": "4711",
        "x-weird-Name": "a, b; c",
    }
    assert found["preserve_recipients"] is True
    assert (found["tags"], found["metadata"]) == (["receipt", "größe", "shop"], METADATA)
    assert found["attachments"] == [{"type": "text/csv", "name": CSV_NAME, "content": CSV}]
    assert found["images"] == [{"type": "image/png", "name": "logo", "content": PNG}]


def test_mandrill_is_not_told_tags_that_it_would_refuse() -> None:
    assert body("mandrill", replace(WHOLE, tags=("_own", "x" * 51, "good")))["message"]["tags"] == ["good"]


def form(message: Message = WHOLE) -> list[Any]:
    """Name, filename, type of each part, and the part."""
    request = provider("mailgun").request(message)
    assert isinstance(request, HttpRequest)
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    parts = email.message_from_bytes(head + request.body, policy=HTTP.clone(utf8=True)).get_payload()
    return [
        (part.get_param("name", header="content-disposition"), part.get_filename(), part.get_content_type(), part)
        for part in parts
    ]


def test_mailgun_is_told() -> None:
    parts = form()
    fields = [(name, part.get_payload(decode=True).decode()) for name, filename, _, part in parts if not filename]

    assert [each for each in fields if each[0] not in ("from", "subject", "text", "html")] == [
        ("to", '"Ann Ünder" <Ann@example.org>'),
        ("to", "bob@example.net"),
        ("cc", CAROL),
        ("cc", CARL),
        ("bcc", '"Dave Ö" <dave@example.org>'),
        ("bcc", "eve@example.net"),
        ("h:Message-Id", WHOLE.message_id),
        ("h:Reply-To", ANSWERS),
        ("h:X-Order", "4711"),
        ("h:x-weird-Name", "a, b; c"),
        ("o:tag", "receipt"),
        ("o:tag", "shop"),
        *[(f"v:{key}", value) for key, value in METADATA.items()],
    ]


def test_mailgun_gets_files_with_names_and_their_bytes_as_they_are() -> None:
    request = provider("mailgun").request(WHOLE)

    assert isinstance(request, HttpRequest)
    boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
    parts = request.body.split(b"--" + boundary)
    head = f'Content-Disposition: form-data; name="attachment"; filename="{CSV_NAME}"\r\nContent-Type: text/csv\r\n\r\n'
    shown = b'Content-Disposition: form-data; name="inline"; filename="logo"\r\nContent-Type: image/png\r\n\r\n'
    assert b"\r\n" + head.encode() + TABLE + b"\r\n" in parts
    assert b"\r\n" + shown + PIXEL + b"\r\n" in parts


def test_mailgun_is_told_as_many_options_as_it_takes_and_its_headers_first() -> None:
    headers = {f"X-{n}": "h" * 990 for n in range(14)}
    found = [
        (name, part.get_payload(decode=True).decode())
        for name, *_, part in form(replace(WHOLE, headers=headers, metadata={f"k{n}": "m" * 500 for n in range(50)}))
        if name[:2] in ("h:", "o:", "v:")
    ]

    assert sum(name.startswith("h:X-") for name, _ in found) == 14
    assert ("v:mailsvc_id", ID) in found
    assert 14_000 < sum(len(name) + len(value) for name, value in found) <= 16 * 1024


def test_mailgun_lacks_room_for_very_long_headers() -> None:
    headers = {f"X-{n}": "h" * 990 for n in range(16)}

    assert all_providers()["mailgun"].ability.lacks(mail(replace(WHOLE, headers=headers))) == (
        "takes at most 15360 bytes of headers"
    )


def test_postmark_is_told() -> None:
    found = body("postmark")

    assert (found["Cc"], found["Bcc"]) == (f"{CAROL}, {CARL}", '"Dave Ö" <dave@example.org>, eve@example.net')
    assert found["ReplyTo"] == ANSWERS
    assert found["Headers"][2:] == [
        {"Name": "X-Order", "Value": "4711"},
        {"Name": "x-weird-Name", "Value": "a, b; c"},
    ]
    assert (found["Tag"], found["Metadata"]) == ("receipt", METADATA)
    assert found["Attachments"] == [
        {"Name": CSV_NAME, "Content": CSV, "ContentType": "text/csv"},
        {"Name": "logo.png", "Content": PNG, "ContentType": "image/png", "ContentID": "cid:logo"},
    ]


def test_postmark_is_told_the_metadata_that_fit() -> None:
    metadata = {"x" * 21: "name", "long": "v" * 81, **{f"k{n}": "v" * 80 for n in range(20)}}
    found = body("postmark", replace(WHOLE, metadata=metadata))["Metadata"]

    assert found == {"mailsvc_id": ID, **{f"k{n}": "v" * 80 for n in range(9)}}


def test_ses_is_told() -> None:
    found = body("ses")

    assert found["Destination"] == {
        "ToAddresses": ["=?utf-8?q?Ann_=C3=9Cnder?= <Ann@example.org>", "bob@example.net"],
        "CcAddresses": ["=?utf-8?b?xIxhcm9sLCB7e3h9fQ==?= <carol@example.org>", CARL],
        "BccAddresses": ["=?utf-8?q?Dave_=C3=96?= <dave@example.org>", "eve@example.net"],
    }
    assert found["ReplyToAddresses"] == ["=?utf-8?b?SMOtbGZlLCBEZXNr?= <help@example.com>"]
    assert found["Content"]["Simple"]["Headers"] == [
        {"Name": "X-Order", "Value": "4711"},
        {"Name": "x-weird-Name", "Value": "a, b; c"},
    ]
    assert [(tag["Name"], tag["Value"]) for tag in found["EmailTags"]] == PLAIN
    csv, png = found["Content"]["Simple"]["Attachments"]
    assert csv == {
        "RawContent": CSV,
        "FileName": CSV_NAME,
        "ContentType": "text/csv",
        "ContentTransferEncoding": "BASE64",
        "ContentDisposition": "ATTACHMENT",
    }
    assert (png["ContentDisposition"], png["ContentId"]) == ("INLINE", "logo")


@pytest.mark.parametrize(
    "message",
    [
        replace(WHOLE, headers={"X-Name": "Grüße"}),
        replace(WHOLE, headers={"X-Empty": ""}),
        replace(WHOLE, headers={f"X-{n}": "v" for n in range(16)}),
        replace(WHOLE, attachments=(Attachment("a.bin", f"application/x-{'y' * 60}", None, 1, b"x"),)),
        replace(WHOLE, attachments=(Attachment("a.bin", f"{'z' * 20}/x-{'y' * 60}", None, 1, b"x"),)),
    ],
    ids=["non-ASCII header", "empty header", "many headers", "long type", "longer type"],
)
def test_ses_gets_bytes_where_its_fields_are_too_narrow(message: Message) -> None:
    content = body("ses", message)["Content"]
    narrow = all(value and value.isascii() for value in message.headers.values()) and len(message.headers) <= 15

    if narrow and all(len(each.content_type) <= 78 for each in message.attachments):
        assert "Simple" in content
    else:
        assert content == {"Raw": {"Data": b64encode(build(message)).decode()}}
        assert b"Bcc" not in build(message)
        assert "ReplyToAddresses" not in body("ses", message)


def test_resend_is_told() -> None:
    found = body("resend")

    assert (found["cc"], found["bcc"]) == ([CAROL, CARL], ['"Dave Ö" <dave@example.org>', "eve@example.net"])
    assert found["reply_to"] == [ANSWERS]
    assert found["headers"] == {"Message-ID": WHOLE.message_id, "X-Order": "4711", "x-weird-Name": "a, b; c"}
    assert [(tag["name"], tag["value"]) for tag in found["tags"]] == PLAIN
    assert found["attachments"] == [
        {"filename": CSV_NAME, "content": CSV, "content_type": "text/csv"},
        {"filename": "logo.png", "content": PNG, "content_type": "image/png", "content_id": "logo"},
    ]


def test_resend_is_never_told_a_type_that_disagrees_with_the_name() -> None:
    files = (Attachment("a.pdf", "image/png", None, 1, b"x"), Attachment("b.no-such-ending", "x/y", None, 1, b"x"))
    found = body("resend", replace(WHOLE, attachments=files))["attachments"]

    assert [each.get("content_type") for each in found] == [None, "x/y"]


def test_brevo_is_told() -> None:
    found = body("brevo")

    assert found["cc"] == [{"email": "carol@example.org", "name": "=?utf-8?b?xIxhcm9sLCB7e3h9fQ==?="}, {"email": CARL}]
    assert found["bcc"] == [{"email": "dave@example.org", "name": "Dave Ö"}, {"email": "eve@example.net"}]
    assert found["replyTo"] == {"email": "help@example.com"}  # since a name beyond ASCII would not be encoded
    custom = found["headers"].pop("X-Mailin-custom")
    assert found["headers"] == {"idempotencyKey": ID, "X-Order": "4711", "x-weird-Name": "a, b; c"}
    assert json.loads(custom) == {"mailsvc_id": ID, "order": "4711", "a.b": "c d"}
    assert found["tags"] == ["receipt", "größe", "shop"]
    assert found["attachment"] == [{"name": CSV_NAME, "content": CSV}]


def test_brevo_gets_its_metadata_on_one_line_of_ascii() -> None:
    metadata = {f"k{n}": "v" * 99 for n in range(50)}
    custom = body("brevo", replace(WHOLE, metadata=metadata))["headers"]["X-Mailin-custom"]

    assert custom.isascii()
    assert 700 < len(custom) <= 900


def test_sparkpost_is_told() -> None:
    found = body("sparkpost")
    to = '"Ann Ünder" <Ann@example.org>, bob@example.net'

    assert found["recipients"] == [
        {"address": {"email": person.address, "header_to": to}} for person in WHOLE.everybody
    ]
    assert len(found["recipients"]) == 6
    assert found["content"]["headers"] == {
        "Message-ID": WHOLE.message_id,
        "Cc": "{{{mailsvc_cc}}}",  # since a header is a template there
        "X-Order": "4711",
        "x-weird-Name": "a, b; c",
    }
    assert found["substitution_data"]["mailsvc_cc"] == f"{CAROL}, {CARL}"
    assert found["content"]["reply_to"] == ANSWERS
    assert (found["campaign_id"], found["metadata"]) == ("receipt", METADATA)
    assert found["content"]["attachments"] == [{"name": CSV_NAME, "type": "text/csv", "data": CSV}]
    assert found["content"]["inline_images"] == [{"name": "logo", "type": "image/png", "data": PNG}]


def test_mailersend_is_told() -> None:
    found = body("mailersend")

    assert found["cc"] == [{"email": "carol@example.org", "name": "Čarol, {{x}}"}, {"email": CARL}]
    assert found["bcc"] == [{"email": "dave@example.org", "name": "Dave Ö"}, {"email": "eve@example.net"}]
    assert found["reply_to"] == {"email": "help@example.com", "name": "Hílfe, Desk"}
    assert found["tags"] == [ID, "receipt", "größe", "shop"]
    assert found["attachments"] == [
        {"content": CSV, "filename": CSV_NAME, "disposition": "attachment"},
        {"content": PNG, "filename": "logo.png", "disposition": "inline", "id": "logo"},
    ]


def test_mailersend_is_told_five_tags_with_the_id_among_them() -> None:
    assert body("mailersend", replace(WHOLE, tags=tuple("abcdefg")))["tags"] == [ID, "a", "b", "c", "d"]


def test_smtp_is_told_who_gets_a_copy_unseen_in_the_envelope_alone() -> None:
    request = provider("smtp").request(WHOLE)

    assert isinstance(request, SmtpRequest)
    assert request.recipients == tuple(person.address for person in WHOLE.everybody)
    assert not [word for word in (b"dave", b"eve@", b"Dave", b"Bcc") if word in request.data]


def test_a_reader_of_the_mail_by_smtp_sees_everything_else() -> None:
    request = provider("smtp").request(WHOLE)
    assert isinstance(request, SmtpRequest)
    read = email.message_from_bytes(request.data, policy=default)

    assert [str(each) for each in read["Cc"].addresses] == [CAROL, CARL]
    assert [str(each) for each in read["Reply-To"].addresses] == [ANSWERS]
    assert (read["X-Order"], read["X-Weird-Name"]) == ("4711", "a, b; c")
    related = ["multipart/related", "text/html", "image/png"]
    assert _tree(read) == ["multipart/mixed", ["multipart/alternative", "text/plain", related], "text/csv"]
    parts = {part.get_content_type(): part for part in read.walk()}
    csv, png = parts["text/csv"], parts["image/png"]
    assert (csv.get_filename(), csv.get_content_disposition()) == (CSV_NAME, "attachment")
    assert csv.get_payload(decode=True) == TABLE
    assert (png["Content-ID"], png.get_filename(), png.get_content_disposition()) == ("<logo>", "logo.png", "inline")
    assert png.get_payload(decode=True) == PIXEL
    assert [part.defects for part in read.walk() if part.defects] == []


def _tree(part: Any) -> Any:
    if not part.is_multipart():
        return part.get_content_type()
    return [part.get_content_type(), *[_tree(each) for each in part.iter_parts()]]
