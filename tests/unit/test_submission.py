"""What a request may say, field by field."""

from typing import Any

import pytest

from mailsvc.address import Mailbox
from mailsvc.errors import InvalidMail
from mailsvc.model import OnUncertain
from mailsvc.submission import Submission, parse

GOOD: dict[str, Any] = {"to": "ann@example.com", "subject": "Hi", "content": "**hello**"}


def faults(**changes: Any) -> list[tuple[str, str]]:
    """Field and code of every fault of a good mail with these changes; None takes a field away."""
    fields = {name: value for name, value in (GOOD | changes).items() if value is not ...}
    with pytest.raises(InvalidMail) as raised:
        parse(fields)
    return [(fault.field, fault.code) for fault in raised.value.faults]


def test_a_plain_mail_is_read() -> None:
    mail = parse(GOOD)

    assert mail.people[0] == (Mailbox("ann@example.com"),)
    assert (mail.subject, mail.content, mail.html, mail.text) == ("Hi", "**hello**", None, None)
    assert (mail.sender, mail.on_uncertain) == (None, None)


def test_every_field_is_read() -> None:
    mail = parse(
        {
            "to": ["Ann <ann@example.com>", "bob@example.com"],
            "subject": "Hi",
            "html": "<b>hi</b>",
            "text": "hi",
            "from": "Shop <shop@example.com>",
            "on_uncertain": "hold",
        }
    )

    assert mail.people[0] == (Mailbox("ann@example.com", "Ann"), Mailbox("bob@example.com"))
    assert (mail.html, mail.text) == ("<b>hi</b>", "hi")
    assert mail.sender == Mailbox("shop@example.com", "Shop")
    assert mail.on_uncertain is OnUncertain.HOLD


def test_to_name_names_the_single_recipient() -> None:
    assert parse(GOOD | {"to_name": "Ann"}).people[0] == (Mailbox("ann@example.com", "Ann"),)
    assert parse(GOOD | {"to_name": ""}).people[0] == (Mailbox("ann@example.com"),)
    assert parse(GOOD | {"to_name": None}).people[0] == (Mailbox("ann@example.com"),)


def test_an_address_that_is_there_twice_gets_the_mail_once() -> None:
    mail = parse(GOOD | {"to": ["Ann <ann@example.com>", "bob@example.com", "ANN@example.com"]})

    assert mail.people[0] == (Mailbox("ann@example.com", "Ann"), Mailbox("bob@example.com"))


def test_all_faults_are_told_at_once() -> None:
    found = faults(to=["ok@example.com", "no"], subject=5, content=..., status="sent", to_name="x")

    assert found == [
        ("to[1]", "invalid_address"),
        ("subject", "type_error"),
        ("status", "unknown_field"),
        ("content", "missing"),
        ("to_name", "exclusive"),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"to": ...}, ("to", "missing")),
        ({"to": []}, ("to", "too_few")),
        ({"to": 5}, ("to", "type_error")),
        ({"to": None}, ("to", "missing")),
        ({"to": {"email": "a@b.co"}}, ("to", "type_error")),
        ({"to": ["a@b.co", 5]}, ("to[1]", "type_error")),
        ({"to": ["a@b.co"] * 51}, ("to", "too_many")),
        ({"to": "a@b.co,c@d.co"}, ("to", "several_addresses")),
        ({"to_name": 5}, ("to_name", "type_error")),
        ({"to_name": "a\nb"}, ("to_name", "control_character")),
        ({"to_name": "n" * 256}, ("to_name", "too_long")),
        ({"subject": ...}, ("subject", "missing")),
        ({"subject": ""}, ("subject", "too_short")),
        ({"subject": "s" * 999}, ("subject", "too_long")),
        ({"subject": None}, ("subject", "missing")),
        ({"subject": "a\r\nBcc: b@c.de"}, ("subject", "control_character")),
        ({"subject": "a\u2029b"}, ("subject", "control_character")),
        ({"content": ...}, ("content", "missing")),
        ({"content": ""}, ("content", "missing")),
        ({"content": ["x"]}, ("content", "type_error")),
        ({"content": "a\x00b"}, ("content", "control_character")),
        ({"html": "<p>"}, ("content", "exclusive")),
        ({"content": ..., "html": "a\x00"}, ("html", "control_character")),
        ({"from": "nobody"}, ("from", "invalid_address")),
        ({"from": ["a@b.co"]}, ("from", "type_error")),
        ({"sender": "a@b.co"}, ("sender", "unknown_field")),
        ({"on_uncertain": "maybe"}, ("on_uncertain", "invalid_choice")),
        ({"on_uncertain": True}, ("on_uncertain", "invalid_choice")),
        ({"id": "x"}, ("id", "unknown_field")),
        ({"provider": "x"}, ("provider", "unknown_field")),
        ({"provider": None}, ("provider", "unknown_field")),
    ],
)
def test_a_fault_is_named_by_its_field_and_a_stable_code(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    assert faults(**changes) == [expected]


def test_a_field_that_is_null_is_not_given() -> None:
    fields = [field.alias or name for name, field in Submission.model_fields.items()]

    assert parse(dict.fromkeys(fields) | GOOD) == parse(GOOD)


def test_a_subject_may_fill_a_whole_header_line() -> None:
    assert len(parse(GOOD | {"subject": "é" * 998}).subject) == 998


def test_a_body_may_have_line_breaks_and_tabs() -> None:
    assert parse(GOOD | {"content": "a\r\n\tb\n"}).content == "a\r\n\tb\n"
