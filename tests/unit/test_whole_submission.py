"""The rest of what a mail can carry, as it comes in a request."""

from base64 import b64encode
from typing import Any

import pytest

from mailsvc.errors import InvalidMail
from mailsvc.submission import parse

PLAIN = {"to": "ann@example.com", "subject": "Hello", "content": "hi"}
PDF = {"filename": "a.pdf", "content": b64encode(b"%PDF").decode()}


def faults(**fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidMail) as caught:
        parse({**PLAIN, **fields})
    return [(fault.field, fault.code) for fault in caught.value.faults]


def test_an_address_counts_once_where_it_stands_first() -> None:
    found = parse({**PLAIN, "cc": ["ANN@example.com", "bob@example.com"], "bcc": "Bob <bob@example.com>"})

    to, cc, bcc = found.people
    assert ([str(box) for box in to], [str(box) for box in cc], bcc) == (["ann@example.com"], ["bob@example.com"], ())


def test_a_file_is_decoded_and_its_type_found_by_its_name() -> None:
    broken = {**PDF, "filename": "größe.pdf", "content": "JVBE\r\nRg=="}
    found = parse({**PLAIN, "attachments": [broken, {**PDF, "filename": "x", "content_id": "logo"}]})

    first, second = (file.attachment for file in found.attachments)
    assert (first.content, first.content_type, first.size) == (b"%PDF", "application/pdf", 4)
    assert (second.content_type, second.content_id) == ("application/octet-stream", "logo")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("cc", "a@x.test,b@y.test", ("cc", "several_addresses")),
        ("bcc", ["a@example.com", "nobody"], ("bcc[1]", "invalid_address")),
        ("reply_to", "a@example.com\r\nBcc: b@example.com", ("reply_to", "control_character")),
        ("headers", {"X-A": "b\r\nBcc: c@example.com"}, ("headers", "control_character")),
        ("headers", {"X-A\r\nBcc": "b"}, ("headers", "control_character")),
        ("headers", {"X A": "b"}, ("headers", "invalid")),
        ("headers", {"bCC": "b@example.com"}, ("headers", "reserved")),
        ("headers", {"Content-Type": "text/html"}, ("headers", "reserved")),
        ("headers", {"DKIM-Signature": "x"}, ("headers", "reserved")),
        ("headers", {"X-A": "b", "x-a": "c"}, ("headers", "repeated")),
        ("headers", {"X-A": 1}, ("headers", "type_error")),
        ("headers", ["X-A"], ("headers", "type_error")),
        ("headers", {"X-A": "b" * 996}, ("headers", "too_long")),
        ("headers", {f"X-{n}": "" for n in range(51)}, ("headers", "too_many")),
        ("tags", ["a"] * 11, ("tags", "too_many")),
        ("tags", ["a", ""], ("tags[1]", "too_short")),
        ("tags", ["a\nb"], ("tags[0]", "control_character")),
        ("tags", [1], ("tags[0]", "type_error")),
        ("tags", {"a": "b"}, ("tags", "type_error")),
        ("metadata", {"a b": "c"}, ("metadata", "invalid")),
        ("metadata", {"mailsvc_id": "c"}, ("metadata", "reserved")),
        ("metadata", {"a": {"b": "c"}}, ("metadata", "type_error")),
        ("attachments", "a.pdf", ("attachments", "type_error")),
        ("attachments", ["a.pdf"], ("attachments[0]", "type_error")),
        ("attachments", [{"filename": "a.pdf"}], ("attachments[0].content", "missing")),
        ("attachments", [{**PDF, "content": "%PDF"}], ("attachments[0].content", "invalid_base64")),
        ("attachments", [{**PDF, "content": "ä"}], ("attachments[0].content", "invalid_base64")),
        ("attachments", [{**PDF, "filename": "../a"}], ("attachments[0].filename", "invalid")),
        ("attachments", [{**PDF, "filename": "a\r\nb"}], ("attachments[0].filename", "control_character")),
        ("attachments", [PDF, {**PDF, "content_type": "text"}], ("attachments[1].content_type", "invalid")),
        ("attachments", [{**PDF, "content_id": "<a>"}], ("attachments[0].content_id", "invalid")),
        ("attachments", [{**PDF, "path": "/etc/passwd"}], ("attachments[0].path", "unknown_field")),
        ("attachments", [{**PDF, "content_id": "a"}] * 2, ("attachments", "repeated")),
        ("attachments", [PDF] * 51, ("attachments", "too_many")),
    ],
)
def test_a_fault_names_its_field(field: str, value: Any, expected: tuple[str, str]) -> None:
    assert expected in faults(**{field: value})
