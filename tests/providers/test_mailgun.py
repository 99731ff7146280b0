"""Mailgun: the form against the official specification, and every row of its error table."""

import email
import json
from base64 import b64encode
from dataclasses import replace
from email.message import Message as MimePart
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from mailsvc.address import Mailbox
from mailsvc.model import Message, Outcome, new_id
from mailsvc.providers import all_providers
from mailsvc.providers.base import Settings
from mailsvc.wire import HttpRequest, Response
from tests.providers.cases import AT, MESSAGE, Case, check, provider
from tests.providers.whole import WHOLE

SPECIFICATION = Path(__file__).parents[3] / "shared" / "specs" / "mailgun.json"
needs_specification = pytest.mark.skipif(
    not SPECIFICATION.exists(), reason="needs Mailgun's specification beside the repository"
)
EU = "https://api.eu.mailgun.net"


def answer(status: int, document: Any = None, **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, names, b"" if document is None else orjson.dumps(document), AT)


def said(status: int, message: str, **headers: str) -> Response:
    return answer(status, {"message": message}, **headers)


def page(status: int, body: bytes) -> Response:
    return Response(status, {}, body, AT)


QUEUED = answer(200, {"id": "<20260102.1@mg.example.com>", "message": "Queued. Thank you."})
BAD_TO = "to parameter is not a valid address. please check documentation"
RATE = "Domain mg.example.com is not allowed to send: account-requests-per-sec limit exceeded"
SANDBOX = "Domain sandbox1.mailgun.org is not allowed to send: Sandbox subdomains are for test purposes only."
UNVERIFIED = "Domain mg.example.com is not allowed to send: The domain is unverified and requires DNS configuration."
CASES = [
    Case("200", QUEUED, Outcome.ACCEPTED, provider_message_id="20260102.1@mg.example.com", words="200: Queued"),
    Case("200 without id", said(200, "Queued. Thank you."), Outcome.ACCEPTED),
    Case("200 cut", replace(QUEUED, body=b'{"id": "<2026', complete=False), Outcome.UNANSWERED, words="cut off"),
    Case("200, not queued", said(200, "Hello."), Outcome.UNANSWERED, words="Hello."),
    Case("200, another object", answer(200, {"id": "<a@b>"}), Outcome.UNANSWERED),
    Case("200, a list", answer(200, []), Outcome.UNANSWERED),
    Case("200, empty", answer(200), Outcome.UNANSWERED),
    Case("200, Magnificent", page(200, b"Mailgun Magnificent API"), Outcome.DOWN, words="MAILGUN_URL"),
    Case("200, Magnificent JSON", answer(200, "Mailgun Magnificent API"), Outcome.DOWN, words="MAILGUN_DOMAIN"),
    Case("200, a page", page(200, b"\n<html>Welcome</html>"), Outcome.DOWN, words="MAILGUN_URL"),
    Case("202", replace(QUEUED, status=202), Outcome.UNANSWERED),
    Case("302", Response(302, {"location": "https://elsewhere.test"}, b"", AT), Outcome.DOWN, words="MAILGUN_URL"),
    Case(
        "400, no text", said(400, "Need at least one of 'text', 'html' parameters"), Outcome.REFUSED, words="400: Need"
    ),
    Case("400, too many", said(400, "Too many recipients, max is 1000"), Outcome.REFUSED),
    Case("400, options", said(400, "Send options are limited to 16KB total"), Outcome.REFUSED),
    Case("400, from", said(400, "from parameter is missing"), Outcome.REFUSED),
    Case("400, one of several recipients", said(400, BAD_TO), Outcome.REFUSED, words="to parameter"),
    Case("401", page(401, b"Forbidden"), Outcome.UNAUTHORIZED, words=EU),
    Case("401, JSON", answer(401, "Forbidden"), Outcome.UNAUTHORIZED, words="MAILGUN_URL"),
    Case("401, object", said(401, "Invalid private key"), Outcome.UNAUTHORIZED, words="Invalid private key"),
    Case("402", said(402, "Request failed"), Outcome.QUOTA, words="Request failed"),
    Case("402, for a time", said(402, "Request failed", retry_after="600"), Outcome.QUOTA, retry_after=600),
    Case("403, sandbox", said(403, SANDBOX), Outcome.SUSPENDED, words="Sandbox"),
    Case("403, disabled", said(403, "Domain mg.example.com is disabled"), Outcome.SUSPENDED),
    Case("403, unverified", said(403, UNVERIFIED), Outcome.SENDER_REFUSED, words="unverified"),
    Case("403, not verified", said(403, "The domain is not verified"), Outcome.SENDER_REFUSED),
    Case("403, bare", page(403, b"Forbidden"), Outcome.UNAUTHORIZED),
    Case("404, domain", said(404, "Domain not found: mg.example.com"), Outcome.SENDER_REFUSED, words=EU),
    Case("404, path", said(404, "Not Found"), Outcome.DOWN, words="MAILGUN_URL"),
    Case("405", said(405, "Method not allowed"), Outcome.DOWN, words="MAILGUN_URL"),
    Case("406", said(406, "Not acceptable"), Outcome.DOWN, words="MAILGUN_URL"),
    Case("413", said(413, "Request entity too large"), Outcome.REFUSED),
    Case("413, empty", answer(413), Outcome.REFUSED),
    Case("422", said(422, "no"), Outcome.REFUSED),
    Case("429", said(429, f"{RATE}, try again after 120 seconds"), Outcome.RATE_LIMITED, retry_after=120),
    Case("429, one second", said(429, f"{RATE}, try again after 1 second"), Outcome.RATE_LIMITED, retry_after=1),
    Case("429, no time", said(429, RATE), Outcome.RATE_LIMITED, retry_after=10, words="limit exceeded"),
    Case("429, header", said(429, f"{RATE}, try again after 9 seconds", retry_after="3"), Outcome.RATE_LIMITED, 3),
    Case("429, date", said(429, RATE, retry_after="Tue, 14 Nov 2023 22:13:50 GMT"), Outcome.RATE_LIMITED, 30),
    Case("429, absurd", said(429, RATE, retry_after="soon"), Outcome.RATE_LIMITED, retry_after=10),
    Case("429, not JSON", Response(429, {"retry-after": "7"}, b"slow", AT), Outcome.RATE_LIMITED, retry_after=7),
    Case("500", said(500, "Internal Server Error"), Outcome.DOWN, words="Internal Server Error"),
    Case("502, HTML", page(502, b"<html><b>Bad Gateway</b></html>"), Outcome.DOWN, words="Bad Gateway"),
    Case("503, empty", answer(503), Outcome.DOWN, words="503"),
    Case("504", answer(504), Outcome.UNANSWERED),
    Case("408", answer(408), Outcome.UNANSWERED),
    *[
        Case(f"400, {name}", page(400, body), Outcome.DOWN, words="MAILGUN_URL")
        for name, body in (
            ("HTML", b"<html>proxy</html>"),
            ("empty", b""),
            ("cut JSON", b'{"mess'),
            ("other JSON", b'{"error":"no"}'),
            ("a message that is none", b'{"message":7}'),
            ("another word", b"Denied"),
        )
    ],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_means(case: Case) -> None:
    check("mailgun", case)


@pytest.mark.parametrize("words", [BAD_TO, "'to' parameter is not a valid address. please check documentation"])
def test_the_only_recipient_that_is_refused_is_known(words: str) -> None:
    result = provider("mailgun").read(said(400, words), replace(MESSAGE, to=MESSAGE.to[:1]))

    assert result.outcome is Outcome.RECIPIENT_REFUSED


def request(message: Message = MESSAGE) -> HttpRequest:
    found = provider("mailgun").request(message)
    assert isinstance(found, HttpRequest)
    return found


def parts(message: Message = MESSAGE) -> list[MimePart]:
    sent = request(message)
    form = email.message_from_bytes(f"Content-Type: {sent.headers['Content-Type']}\r\n\r\n".encode() + sent.body)
    assert form.defects == []
    return list(form.get_payload())  # type: ignore[arg-type]


def fields(message: Message = MESSAGE) -> list[tuple[str, str]]:
    return [
        (str(part.get_param("name", header="content-disposition")), part.get_payload(decode=True).decode())  # type: ignore[union-attr]
        for part in parts(message)
    ]


def test_the_request_is_an_authorised_form_to_the_domains_endpoint() -> None:
    sent = request()
    kind, _, boundary = sent.headers["Content-Type"].partition("; boundary=")

    assert (sent.method, sent.url) == ("POST", "https://api.mailgun.net/v3/mg.example.com/messages")
    assert sent.headers["Authorization"] == "Basic " + b64encode(b"api:secret-of-MAILGUN_API_KEY").decode()
    assert kind == "multipart/form-data"
    assert 1 <= len(boundary) <= 70
    assert sent.body.endswith(f"\r\n--{boundary}--\r\n".encode())


def test_the_form_holds_the_mail_and_its_id_as_a_variable() -> None:
    assert fields() == [
        ("from", '"Tö, the Shop" <shop@example.com>'),
        ("to", '"Ann Ünder" <Ann@example.org>'),
        ("to", "bob@example.net"),
        ("subject", MESSAGE.subject),
        ("text", MESSAGE.text),
        ("html", MESSAGE.html),
        ("h:Message-Id", f"<{MESSAGE.id}@example.com>"),
        ("v:mailsvc_id", MESSAGE.id),
    ]


@pytest.mark.parametrize(("text", "html", "kept"), [("t", None, "text"), (None, "h", "html"), ("", "h", "html")])
def test_a_part_that_is_empty_is_left_out(text: str | None, html: str | None, kept: str) -> None:
    names = {name for name, _ in fields(replace(MESSAGE, text=text, html=html))}

    assert {"text", "html"} & names == {kept}


def test_every_mail_has_a_boundary_of_its_own_that_is_not_its_id() -> None:
    boundaries = {request(replace(MESSAGE, id=new_id(AT))).headers["Content-Type"] for _ in range(9)}

    assert len(boundaries) == 9
    assert not [kind for kind in boundaries if MESSAGE.id in kind]


def test_a_field_cannot_break_out_of_its_part() -> None:
    hostile = '\r\n--x\r\nContent-Disposition: form-data; name="bcc"\r\n\r\nevil@example.org'
    names = [name for name, _ in fields(replace(MESSAGE, text=hostile, to=(Mailbox("a@b.test", 'x"; name="y'),)))]

    assert "bcc" not in names
    assert len(names) == len(fields()) - 1


def test_batch_sending_and_its_variables_stay_off() -> None:
    assert not [name for name, _ in fields() if name in ("recipient-variables", "template") or name[:2] in ("t:", "o:")]


@pytest.mark.parametrize("domain", ["mg.example.com/x", "mg.example.com%2f", "localhost", "a b.com", "..", "-a.com"])
def test_a_domain_that_would_lead_elsewhere_is_a_fault(domain: str) -> None:
    faults = all_providers()["mailgun"].faults(Settings({"MAILGUN_API_KEY": "x", "MAILGUN_DOMAIN": domain}))

    assert any("MAILGUN_DOMAIN must be a domain" in fault for fault in faults)


@pytest.mark.parametrize(
    "domain", ["example.com", "mg.eu-1.example.co.uk", "sandbox1234abcd.mailgun.org", "xn--bcher-kva.de"]
)
def test_a_domain_is_no_fault(domain: str) -> None:
    assert all_providers()["mailgun"].faults(Settings({"MAILGUN_API_KEY": "x", "MAILGUN_DOMAIN": domain})) == []


@needs_specification
@pytest.mark.parametrize(
    "message",
    [MESSAGE, replace(MESSAGE, text=None), replace(MESSAGE, html=None), replace(MESSAGE, to=MESSAGE.to[1:]), WHOLE],
    ids=["both parts", "html", "text", "one recipient", "everything"],
)
def test_the_form_follows_the_official_specification(message: Message) -> None:
    document = gathered(message)

    assert list(specification().iter_errors(document)) == []
    named = {name for name in document if not name.startswith(("h:", "v:"))}
    assert named <= specification().schema["properties"].keys()


@needs_specification
def test_the_specification_notices_a_fault() -> None:
    validator = specification()

    assert list(validator.iter_errors({key: value for key, value in gathered().items() if key != "from"}))
    assert list(validator.iter_errors(gathered() | {"to": "bob@example.net"}))


def gathered(message: Message = MESSAGE) -> dict[str, Any]:
    """The form as a document; a field that can be repeated is a list, and a file is its name."""
    repeated = ("to", "cc", "bcc", "o:tag", "attachment", "inline")
    document: dict[str, Any] = {}
    for part in parts(message):
        name, file = part.get_param("name", header="content-disposition"), part.get_filename()
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        value = file or payload.decode()
        if name in repeated:
            document.setdefault(str(name), []).append(value)
        else:
            document[str(name)] = value
    return document


def specification() -> Draft202012Validator:
    document = json.loads(SPECIFICATION.read_text())
    schemas = document["components"]["schemas"]
    body = schemas["POST-v3-domain_name-messages-multipart-form-data-RequestBody"]
    return Draft202012Validator({**body, "components": document["components"]})
