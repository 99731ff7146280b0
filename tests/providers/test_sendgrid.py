"""SendGrid: the request against the official specification, and every row of its error table."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from mailsvc.address import Mailbox
from mailsvc.model import Message, Outcome
from mailsvc.wire import HttpRequest, Response
from tests.providers.cases import AT, MESSAGE, Case, check, provider
from tests.providers.whole import WHOLE

SPECIFICATION = Path(__file__).parents[3] / "shared" / "specs" / "sendgrid.json"


def answer(status: int, *errors: dict[str, Any], **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, names, orjson.dumps({"errors": list(errors)}) if errors else b"", AT)


def error(message: str, field: str | None = None) -> dict[str, Any]:
    return {"message": message, "field": field, "help": None}


CREDITS = error("Maximum credits exceeded")
TOO_MANY = error("too many requests")
IDENTITY = error("The from address does not match a verified Sender Identity. Mail cannot be sent.", "from")
CASES = [
    Case("202", answer(202, x_message_id="abc.D-1"), Outcome.ACCEPTED, provider_message_id="abc.D-1"),
    Case("202 without id", answer(202), Outcome.ACCEPTED),
    Case("202 cut", replace(answer(202, x_message_id="a"), complete=False), Outcome.ACCEPTED, provider_message_id="a"),
    Case("200, sandbox mode", answer(200), Outcome.ACCEPTED),
    Case("200 cut", replace(answer(200), complete=False), Outcome.UNANSWERED),
    Case("200 with a page", Response(200, {}, b"<html>Welcome</html>", AT), Outcome.UNANSWERED, words="Welcome"),
    Case("201", answer(201), Outcome.UNANSWERED),
    Case("204", answer(204), Outcome.UNANSWERED),
    Case("301", Response(301, {"location": "https://elsewhere.test"}, b"", AT), Outcome.DOWN, words="SENDGRID_URL"),
    Case("400", answer(400, error("Bad Request")), Outcome.REFUSED, words="400: Bad Request"),
    Case("400, field is the word null", answer(400, error("invalid request", "null")), Outcome.REFUSED),
    Case("400, help is a link", answer(400, error("Bad") | {"help": "https://sendgrid.com/x"}), Outcome.REFUSED),
    Case("400 about the sender's form", answer(400, error("The from email is invalid", "from.email")), Outcome.REFUSED),
    Case("404", answer(404, error("not found")), Outcome.REFUSED),
    Case("405", answer(405, error("method not allowed")), Outcome.REFUSED),
    Case("413", answer(413, error("content too large")), Outcome.REFUSED),
    Case("401, out of credits", answer(401, CREDITS), Outcome.QUOTA, words="Maximum credits exceeded"),
    Case("401, out of credits, second error", answer(401, error("x"), CREDITS), Outcome.QUOTA),
    Case("401, out of credits for a time", answer(401, CREDITS, retry_after="60"), Outcome.QUOTA, retry_after=60),
    Case("401, no key", answer(401, error("authorization required")), Outcome.UNAUTHORIZED),
    Case("401, revoked key", answer(401, error("The provided authorization grant is invalid")), Outcome.UNAUTHORIZED),
    Case("401 names the region", answer(401, error("x")), Outcome.UNAUTHORIZED, words="https://api.eu.sendgrid.com"),
    Case("403, unverified sender", answer(403, IDENTITY), Outcome.SENDER_REFUSED, words="verified Sender Identity"),
    Case("403 about from", answer(403, error("no", "from")), Outcome.SENDER_REFUSED),
    Case("403, sender identity in words", answer(403, error("needs a Sender Identity")), Outcome.SENDER_REFUSED),
    Case("403, missing scope", answer(403, error("access forbidden")), Outcome.UNAUTHORIZED),
    Case("429 without headers", answer(429, TOO_MANY), Outcome.RATE_LIMITED, retry_after=10),
    Case("429, Retry-After", answer(429, TOO_MANY, retry_after="7"), Outcome.RATE_LIMITED, retry_after=7),
    Case("429, Retry-After 0", answer(429, TOO_MANY, retry_after="0"), Outcome.RATE_LIMITED, retry_after=0),
    Case(
        "429, Retry-After as a date",
        answer(429, TOO_MANY, retry_after="Tue, 14 Nov 2023 22:13:50 GMT"),
        Outcome.RATE_LIMITED,
        retry_after=30,
    ),
    Case("429, epoch", answer(429, TOO_MANY, x_ratelimit_reset="1700000042"), Outcome.RATE_LIMITED, retry_after=42),
    Case("429, epoch past", answer(429, TOO_MANY, x_ratelimit_reset="1699999990"), Outcome.RATE_LIMITED, -10),
    Case("429, absurd", answer(429, TOO_MANY, retry_after="soon"), Outcome.RATE_LIMITED, retry_after=10),
    Case("429, negative", answer(429, TOO_MANY, retry_after="-1"), Outcome.RATE_LIMITED, retry_after=10),
    Case("429, not JSON", Response(429, {"retry-after": "9"}, b"slow down", AT), Outcome.RATE_LIMITED, retry_after=9),
    Case("500", answer(500, error("internal server error")), Outcome.DOWN, words="internal server error"),
    Case("502, HTML", Response(502, {}, b"<html>\n<b>Bad Gateway</b></html>", AT), Outcome.DOWN, words="Bad Gateway"),
    Case("503, empty", answer(503), Outcome.DOWN, words="503"),
    Case("504", answer(504), Outcome.UNANSWERED),
    Case("408", answer(408), Outcome.UNANSWERED),
    *[
        Case(f"400, {name}", Response(400, {}, body, AT), Outcome.DOWN, words="SENDGRID_URL")
        for name, body in (
            ("HTML", b"<html>proxy</html>"),
            ("empty", b""),
            ("cut JSON", b'{"errors":[{"mess'),
            ("other JSON", b'{"message":"no"}'),
            ("no errors", b'{"errors":[]}'),
            ("errors of another form", b'{"errors":["no"]}'),
            ("not UTF-8", b'{"errors":[{"message":"\xff"}]}'),
        )
    ],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_means(case: Case) -> None:
    check("sendgrid", case)


def body(message: Message = MESSAGE) -> Any:
    request = provider("sendgrid").request(message)
    assert isinstance(request, HttpRequest)
    return json.loads(request.body)


def test_the_request_is_authorised_json_to_the_send_endpoint() -> None:
    request = provider("sendgrid").request(MESSAGE)

    assert isinstance(request, HttpRequest)
    assert (request.method, request.url) == ("POST", "https://api.sendgrid.com/v3/mail/send")
    assert request.headers == {
        "Authorization": "Bearer secret-of-SENDGRID_API_KEY",
        "Content-Type": "application/json",
        "Accept": "application/json",
    }


def test_the_url_can_be_another_with_a_path() -> None:
    request = provider("sendgrid", "http://127.0.0.1:9001/eu/").request(MESSAGE)

    assert isinstance(request, HttpRequest)
    assert request.url == "http://127.0.0.1:9001/eu/v3/mail/send"


def test_the_body_holds_the_mail_and_its_id_in_the_personalization() -> None:
    assert body() == {
        "from": {"email": "shop@example.com", "name": "Tö, the Shop"},
        "subject": MESSAGE.subject,
        "personalizations": [
            {
                "to": [{"email": "Ann@example.org", "name": "Ann Ünder"}, {"email": "bob@example.net"}],
                "custom_args": {"mailsvc_id": MESSAGE.id},
            }
        ],
        "content": [{"type": "text/plain", "value": MESSAGE.text}, {"type": "text/html", "value": MESSAGE.html}],
        "headers": {"Message-ID": f"<{MESSAGE.id}@example.com>"},
    }


@pytest.mark.parametrize(
    ("text", "html", "types"),
    [("t", None, ["text/plain"]), (None, "h", ["text/html"]), ("", "h", ["text/html"]), ("t", "", ["text/plain"])],
)
def test_a_part_that_is_empty_is_left_out(text: str | None, html: str | None, types: list[str]) -> None:
    assert [part["type"] for part in body(replace(MESSAGE, text=text, html=html))["content"]] == types


def test_an_address_that_is_there_twice_is_sent_once_whatever_its_case() -> None:
    message = replace(MESSAGE, to=(Mailbox("ann@example.org"), Mailbox("Ann@Example.org", "Ann")))

    assert [person["email"] for person in body(message)["personalizations"][0]["to"]] == ["ann@example.org"]


def test_a_mail_that_begins_like_an_api_key_is_sent_as_it_is() -> None:
    message = replace(MESSAGE, text="SG.abc.def is how a key looks", html="SG.abc.def")

    assert body(message)["content"][0]["value"] == "SG.abc.def is how a key looks"


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="needs SendGrid's specification beside the repository")
@pytest.mark.parametrize(
    "message",
    [MESSAGE, replace(MESSAGE, text=None), replace(MESSAGE, html=None), replace(MESSAGE, to=MESSAGE.to[1:]), WHOLE],
    ids=["both parts", "html", "text", "one recipient", "everything"],
)
def test_the_body_follows_the_official_specification(message: Message) -> None:
    validator = specification()

    assert list(validator.iter_errors(body(message))) == []


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="needs SendGrid's specification beside the repository")
def test_the_specification_notices_a_fault() -> None:
    validator = specification()

    assert list(validator.iter_errors(body() | {"subject": ""}))
    assert list(validator.iter_errors({"personalizations": [{}]}))


def specification() -> Draft202012Validator:
    document = json.loads(SPECIFICATION.read_text())
    schema = document["components"]["requestBodies"]["PostMailSend"]["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": document["components"]})


def test_the_package_is_imported_only_when_sendgrid_is_used() -> None:
    code = "import sys, mailsvc.providers as found; found.all_providers(); print('sendgrid' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed == "False\n"
