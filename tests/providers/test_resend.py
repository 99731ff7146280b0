"""Resend: the request against the official specification, its key, and every row of its error table."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from mailsvc.model import Message, Outcome
from mailsvc.wire import HttpRequest, Response
from tests.providers.cases import AT, MESSAGE, Case, check, provider
from tests.providers.whole import WHOLE

SPECIFICATION = Path(__file__).parents[3] / "shared" / "specs" / "resend.json"
ID = "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"


def answer(status: int, document: Any = None, **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, names, b"" if document is None else orjson.dumps(document), AT)


def error(status: int, name: str, message: str = "so it is", **headers: str) -> Response:
    return answer(status, {"statusCode": status, "name": name, "message": message}, **headers)


UNVERIFIED = "The example.com domain is not verified. Please, add and verify your domain."
GOOD = answer(200, {"id": ID})
CASES = [
    Case("200", GOOD, Outcome.ACCEPTED, provider_message_id=ID),
    Case("200 with more", answer(200, {"id": ID, "object": "email"}), Outcome.ACCEPTED, provider_message_id=ID),
    Case("200 cut", replace(GOOD, body=b'{"id": "49', complete=False), Outcome.UNANSWERED, words="cut off"),
    Case("200 without id", answer(200, {}), Outcome.UNANSWERED),
    Case("200 with an empty id", answer(200, {"id": ""}), Outcome.UNANSWERED),
    Case("200 with an id that is none", answer(200, {"id": 7}), Outcome.UNANSWERED),
    Case("200 with a list", answer(200, [{"id": ID}]), Outcome.UNANSWERED),
    Case("200 with an error inside", answer(200, {"name": "x", "message": "y"}), Outcome.UNANSWERED),
    Case("200 with a page", Response(200, {}, b"<html>Welcome</html>", AT), Outcome.UNANSWERED, words="Welcome"),
    Case("201", answer(201, {"id": ID}), Outcome.UNANSWERED),
    Case("204", answer(204), Outcome.UNANSWERED),
    Case("302", Response(302, {"location": "https://elsewhere.test"}, b"", AT), Outcome.DOWN, words="RESEND_URL"),
    *[
        Case(f"{status} {name}", error(status, name, "no"), Outcome.REFUSED, words=f"{status}: {name}: no")
        for status, name in (
            (400, "validation_error"),
            (422, "validation_error"),
            (422, "missing_required_field"),
            (422, "invalid_attachment"),
            (422, "invalid_parameter"),
            (422, "invalid_access"),
            (422, "invalid_region"),
            (451, "security_error"),
            (413, "a_name_that_nobody_knows"),
        )
    ],
    Case("400, our key", error(400, "invalid_idempotency_key"), Outcome.REFUSED, words="invalid_idempotency_key"),
    Case("401, no key", error(401, "missing_api_key"), Outcome.UNAUTHORIZED),
    Case("401, a key for other things", error(401, "restricted_api_key"), Outcome.UNAUTHORIZED),
    Case("401, unknown", error(401, "another"), Outcome.UNAUTHORIZED),
    Case("403, wrong key", error(403, "invalid_api_key"), Outcome.UNAUTHORIZED),
    Case("403, suspended", error(403, "suspended_api_key"), Outcome.SUSPENDED),
    Case("403, unknown", error(403, "another"), Outcome.UNAUTHORIZED),
    Case("403, domain", error(403, "validation_error", UNVERIFIED), Outcome.SENDER_REFUSED, words="not verified"),
    Case("403, from", error(403, "invalid_from_address"), Outcome.SENDER_REFUSED),
    Case("422, from", error(422, "invalid_from_address"), Outcome.SENDER_REFUSED),
    Case("404", error(404, "not_found"), Outcome.DOWN, words="RESEND_URL"),
    Case("405", error(405, "method_not_allowed"), Outcome.DOWN, words="RESEND_URL"),
    Case("409, still at work", error(409, "concurrent_idempotent_requests"), Outcome.UNANSWERED, words="concurrent"),
    Case("409, another body", error(409, "invalid_idempotent_request"), Outcome.UNANSWERED, words="invalid_idem"),
    Case("409, unknown", error(409, "another"), Outcome.UNANSWERED),
    Case("429", error(429, "rate_limit_exceeded"), Outcome.RATE_LIMITED, retry_after=10),
    Case("429, Retry-After", error(429, "rate_limit_exceeded", retry_after="2"), Outcome.RATE_LIMITED, 2),
    Case("429, reset", error(429, "rate_limit_exceeded", ratelimit_reset="3"), Outcome.RATE_LIMITED, retry_after=3),
    Case("429, absurd", error(429, "rate_limit_exceeded", retry_after="soon"), Outcome.RATE_LIMITED, retry_after=10),
    Case("429, unknown", error(429, "another"), Outcome.RATE_LIMITED, retry_after=10),
    Case("429, day", error(429, "daily_quota_exceeded"), Outcome.QUOTA, words="daily_quota_exceeded"),
    Case("429, month", error(429, "monthly_quota_exceeded"), Outcome.QUOTA),
    Case("429, day, until", error(429, "daily_quota_exceeded", retry_after="900"), Outcome.QUOTA, retry_after=900),
    Case("429, not JSON", Response(429, {"retry-after": "9"}, b"slow down", AT), Outcome.RATE_LIMITED, retry_after=9),
    Case("500", error(500, "application_error"), Outcome.DOWN, words="application_error"),
    Case("500, other", error(500, "internal_server_error"), Outcome.DOWN),
    Case("502, HTML", Response(502, {}, b"<html><b>Bad Gateway</b></html>", AT), Outcome.DOWN, words="Bad Gateway"),
    Case("503, empty", answer(503), Outcome.DOWN, words="503"),
    Case("504", answer(504), Outcome.UNANSWERED),
    Case("408", answer(408), Outcome.UNANSWERED),
    Case("422 with type", answer(422, {"type": "validation_error", "message": "no"}), Outcome.REFUSED),
    *[
        Case(f"400, {name}", Response(400, {}, body, AT), Outcome.DOWN, words="RESEND_URL")
        for name, body in (
            ("HTML", b"<html>proxy</html>"),
            ("empty", b""),
            ("cut JSON", b'{"name":"valid'),
            ("other JSON", b'{"message":"no"}'),
            ("a list", b"[]"),
        )
    ],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_means(case: Case) -> None:
    check("resend", case)


@pytest.mark.parametrize(
    ("name", "taken"), [("invalid_idempotent_request", True), ("concurrent_idempotent_requests", False)]
)
def test_a_key_that_stands_for_another_body_is_told_apart(name: str, taken: bool) -> None:
    assert provider("resend").read(error(409, name), MESSAGE).key_taken is taken


def request(message: Message = MESSAGE) -> HttpRequest:
    found = provider("resend").request(message)
    assert isinstance(found, HttpRequest)
    return found


def body(message: Message = MESSAGE) -> Any:
    return json.loads(request(message).body)


def test_the_request_is_authorised_json_with_the_mails_id_as_its_key() -> None:
    found = request()

    assert (found.method, found.url, found.key) == ("POST", "https://api.resend.com/emails", MESSAGE.id)
    assert found.headers == {
        "Authorization": "Bearer secret-of-RESEND_API_KEY",
        "Content-Type": "application/json",
        "Idempotency-Key": MESSAGE.id,
    }


def test_the_body_holds_the_mail_and_its_id_as_a_tag() -> None:
    assert body() == {
        "from": '"Tö, the Shop" <shop@example.com>',
        "to": ['"Ann Ünder" <Ann@example.org>', "bob@example.net"],
        "subject": MESSAGE.subject,
        "text": MESSAGE.text,
        "html": MESSAGE.html,
        "headers": {"Message-ID": f"<{MESSAGE.id}@example.com>"},
        "tags": [{"name": "mailsvc_id", "value": MESSAGE.id}],
    }


@pytest.mark.parametrize(("text", "html", "kept"), [("t", None, "text"), (None, "h", "html"), ("", "h", "html")])
def test_a_part_that_is_empty_is_left_out(text: str | None, html: str | None, kept: str) -> None:
    assert {"text", "html"} & body(replace(MESSAGE, text=text, html=html)).keys() == {kept}


def test_again_takes_the_body_as_it_was_and_the_key_of_today() -> None:
    again = provider("resend", "http://127.0.0.1:9001", RESEND_API_KEY="re_new").again(b"as it was", "key-1")

    assert isinstance(again, HttpRequest)
    assert (again.url, again.body, again.key) == ("http://127.0.0.1:9001/emails", b"as it was", "key-1")
    assert again.headers["Authorization"] == "Bearer re_new"
    assert again.headers["Idempotency-Key"] == "key-1"


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="needs Resend's specification beside the repository")
@pytest.mark.parametrize(
    "message",
    [MESSAGE, replace(MESSAGE, text=None), replace(MESSAGE, html=None), replace(MESSAGE, to=MESSAGE.to[1:]), WHOLE],
    ids=["both parts", "html", "text", "one recipient", "everything"],
)
def test_the_body_follows_the_official_specification(message: Message) -> None:
    document = body(message)

    assert list(specification().iter_errors(document)) == []
    assert document.keys() <= specification().schema["properties"].keys()


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="needs Resend's specification beside the repository")
def test_the_specification_notices_a_fault() -> None:
    validator = specification()

    assert list(validator.iter_errors({key: value for key, value in body().items() if key != "from"}))
    assert list(validator.iter_errors(body() | {"to": []}))
    assert list(validator.iter_errors(body() | {"tags": [{"name": 7}]}))


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="needs Resend's specification beside the repository")
def test_the_key_is_no_longer_than_the_specification_allows() -> None:
    (header,) = json.loads(SPECIFICATION.read_text())["paths"]["/emails"]["post"]["parameters"]

    assert header["name"] == "Idempotency-Key"
    assert 1 <= len(request().key or "") <= header["schema"]["maxLength"]


def specification() -> Draft202012Validator:
    document = json.loads(SPECIFICATION.read_text())
    schemas = document["components"]["schemas"]
    return Draft202012Validator({**schemas["SendEmailRequest"], "components": document["components"]})
