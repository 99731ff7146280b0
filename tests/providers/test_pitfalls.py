"""What others have stumbled over, as far as it is the same for several providers; the rest is in their own files."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from mailsvc import submission
from mailsvc.address import Mailbox
from mailsvc.errors import InvalidMail
from mailsvc.model import Attachment, Message, OnUncertain
from mailsvc.providers import all_providers
from mailsvc.wire import HttpRequest, SmtpRequest
from tests.providers.cases import every_sending, provider
from tests.providers.test_sparkpost import as_it_is_read
from tests.providers.whole import WHOLE, mail, sayable

OVER_JSON = ("sendgrid", "mandrill", "postmark", "ses", "resend", "brevo", "sparkpost", "mailersend")
every_json = pytest.mark.parametrize("name", OVER_JSON)
FIELDS: dict[str, Any] = {"to": "a@b.example", "subject": "s", "text": "t"}


def body(name: str, message: Message = WHOLE) -> Any:
    request = provider(name).request(sayable(name, message))
    assert isinstance(request, HttpRequest)
    return json.loads(request.body)


def leaves(value: Any) -> list[Any]:
    """Every value that holds no other."""
    if isinstance(value, dict | list):
        return [leaf for each in (value.values() if isinstance(value, dict) else value) for leaf in leaves(each)]
    return [value]


@every_json
def test_there_are_no_values_but_texts_and_switches(name: str) -> None:
    """A number in headers or metadata gets an opaque 400 at SendGrid, Resend and Brevo."""
    assert {type(leaf) for leaf in leaves(body(name))} <= {str, bool}


@every_json
def test_files_are_base64_without_line_breaks(name: str) -> None:
    content = bytes(range(256)) * 40
    found = body(name, replace(WHOLE, attachments=(Attachment("a.csv", "text/csv", None, len(content), content),)))
    (encoded,) = [leaf for leaf in leaves(found) if isinstance(leaf, str) and len(leaf) > 10_000]

    assert re.fullmatch(r"[A-Za-z0-9+/]+=*", encoded)


@every_sending
def test_who_gets_a_copy_unseen_stands_where_nobody_sees_it(name: str) -> None:
    """Each provider has one place for them, which is not a header of the mail."""
    request = provider(name).request(sayable(name))
    if isinstance(request, SmtpRequest):
        assert b"dave" not in request.data
    elif name == "mailgun":
        assert isinstance(request, HttpRequest)
        named = re.findall(rb'name="([^"]+)"\r\n\r\n[^\r]*dave@', request.body)
        assert named == [b"bcc"]
    else:
        found = body(name)
        inner = found["content"] if name == "sparkpost" else found.get("message", {})
        visible = [inner.get("headers"), found.get("headers"), found.get("Headers"), found.get("substitution_data")]
        assert "dave" not in json.dumps(visible)
        assert json.dumps(found).count("dave@example.org") == 1


@every_sending
def test_nobody_is_named_twice(name: str) -> None:
    """SendGrid refuses an address that stands in two fields; so mailsvc takes it once, whatever its case."""
    given = {**FIELDS, "to": ["Ann@b.example", "ann@B.example"], "cc": "ANN@b.example", "bcc": ["c@d.example"]}
    asked = submission.parse(given).mail(0.0, WHOLE.sender, OnUncertain.HOLD)
    people = {"to": asked.to, "cc": asked.cc, "bcc": asked.bcc}
    request = provider(name).request(replace(WHOLE, headers={}, attachments=(), reply_to=(), **people))
    said = request.data.decode() if isinstance(request, SmtpRequest) else ""
    said += json.dumps(request.recipients) if isinstance(request, SmtpRequest) else ""
    said += request.body.decode() if isinstance(request, HttpRequest) else ""

    # Once more in the envelope of SMTP, and with SparkPost in what each of the two recipients sees.
    times = {"smtp": 2, "sparkpost": 3}.get(name, 1)
    assert len(re.findall(r"ann@b\.example", said, re.IGNORECASE)) == times


def test_a_header_to_unsubscribe_goes_only_to_those_who_pass_it_on() -> None:
    message = mail(replace(WHOLE, headers={"List-Unsubscribe": "<https://example.com/u>"}, attachments=()))
    lacking = {name for name, kind in all_providers().items() if kind.ability.lacks(message)}

    assert lacking == {"brevo", "sparkpost", "mailersend"}


@pytest.mark.parametrize(
    "name", ["X-Sg-Id", "received", "DKIM-Signature", "Content-Type", "TO", "Reply-To", "X-MC-Tags"]
)
def test_a_header_that_is_the_providers_own_is_refused_at_once(name: str) -> None:
    with pytest.raises(InvalidMail, match="must not set"):
        submission.parse({**FIELDS, "headers": {name: "x"}})


def test_headers_that_differ_in_case_alone_are_refused_at_once() -> None:
    with pytest.raises(InvalidMail, match="more than once"):
        submission.parse({**FIELDS, "headers": {"X-A": "x", "x-a": "y"}})


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\x85", "\u2028"])
@pytest.mark.parametrize(
    "field",
    [
        lambda text: {"subject": text},
        lambda text: {"to": f"{text} <a@b.example>"},
        lambda text: {"cc": f"a{text}@b.example"},
        lambda text: {"reply_to": f'"{text}" <a@b.example>'},
        lambda text: {"headers": {"X-A": text}},
        lambda text: {"headers": {f"X-{text}": "a"}},
        lambda text: {"tags": [text]},
        lambda text: {"metadata": {"a": text}},
        lambda text: {"attachments": [{"filename": text, "content": ""}]},
        lambda text: {"attachments": [{"filename": "a", "content": "", "content_type": f"a/{text}"}]},
        lambda text: {"attachments": [{"filename": "a", "content": "", "content_id": text}]},
    ],
    ids=["subject", "to", "cc", "reply_to", "value", "name", "tags", "metadata", "filename", "type", "content_id"],
)
def test_a_line_cannot_be_broken_anywhere(field: Any, character: str) -> None:
    with pytest.raises(InvalidMail):
        submission.parse(FIELDS | field(f"x{character}Bcc: e@f.example"))


def test_braces_in_any_header_survive_the_templates_of_sparkpost() -> None:
    headers = {"X-A": "{{a}}", "X-B": "b}}", "X-C": "c"}
    found = body("sparkpost", replace(WHOLE, headers=headers, reply_to=(Mailbox("a@b.example", "{{r}}"),)))

    said = found["content"]["headers"]
    assert {name: as_it_is_read(found, said[name]) for name in headers} == headers
    assert as_it_is_read(found, found["content"]["reply_to"]) == "{{r}} <a@b.example>"
