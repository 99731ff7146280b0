"""Brevo: the request, its key, and every row of its error table."""

import json
from dataclasses import replace
from email.header import decode_header, make_header
from typing import Any

import orjson
import pytest

from mailsvc.address import Mailbox
from mailsvc.model import Message, Outcome
from mailsvc.wire import HttpRequest, Response
from tests.providers.cases import AT, ENCODED_WORD, MESSAGE, Case, check, provider

ID = "<202601020304.1@smtp-relay.mailin.fr>"


def answer(status: int, document: Any = None, **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, names, b"" if document is None else orjson.dumps(document), AT)


def error(status: int, code: str, message: str = "so it is", **headers: str) -> Response:
    return answer(status, {"code": code, "message": message}, **headers)


TAKEN = answer(201, {"messageId": ID})
SENDER = "Sending has been rejected because the sender you used shop@example.com is not valid."
KEY_USED = "Request with the same idempotencyKey was received before"
REPEATED = [
    ("duplicate_request", 400, "no"),
    ("duplicate_request", 409, "no"),
    ("duplicate_parameter", 400, KEY_USED),
    ("duplicate_parameter", 400, "Duplicate parameter"),
    ("duplicate_parameter", 400, "headers.idempotencyKey: email was sent"),
]
CASES = [
    Case("201", TAKEN, Outcome.ACCEPTED, provider_message_id=ID),
    Case("202", answer(202, {"messageId": ID}), Outcome.ACCEPTED, provider_message_id=ID),
    Case("200", answer(200, {"messageId": ID}), Outcome.ACCEPTED, provider_message_id=ID),
    Case("201, several", answer(201, {"messageIds": [ID, "<2>"]}), Outcome.ACCEPTED, provider_message_id=ID),
    Case("201 cut", replace(TAKEN, body=b'{"mess', complete=False), Outcome.UNANSWERED, words="cut off"),
    Case("201 without id", answer(201, {}), Outcome.UNANSWERED),
    Case("201 with an id that is none", answer(201, {"messageId": 7}), Outcome.UNANSWERED),
    Case("201 with no ids", answer(201, {"messageIds": []}), Outcome.UNANSWERED),
    Case("201, a list", answer(201, [{"messageId": ID}]), Outcome.UNANSWERED),
    Case("200, a page", Response(200, {}, b"<html>Welcome</html>", AT), Outcome.UNANSWERED, words="Welcome"),
    Case("204", answer(204), Outcome.UNANSWERED),
    Case("302", Response(302, {"location": "https://elsewhere.test"}, b"", AT), Outcome.DOWN, words="BREVO_URL"),
    *[
        Case(f"400 {code}", error(400, code, "no"), Outcome.REFUSED, words=f"400: {code}: no")
        for code in ("invalid_parameter", "missing_parameter", "out_of_range", "bad_request", "unprocessable_entity")
    ],
    *[
        Case(f"400, repeated {words}", error(400, "duplicate_parameter", words), Outcome.REFUSED, words=words)
        for words in ("email is duplicated in to", "duplicate tags", "attachment is duplicated")
    ],
    Case("400, sender", error(400, "invalid_parameter", SENDER), Outcome.SENDER_REFUSED, words="sender you used"),
    Case("400, sender unknown", error(400, "bad_request", "Unknown sender"), Outcome.SENDER_REFUSED),
    Case("400, name of the sender", error(400, "out_of_range", "sender name must be less than 70"), Outcome.REFUSED),
    *[
        Case(f"{status} {code}, {words}", error(status, code, words), Outcome.UNANSWERED, words="got this mail before")
        for code, status, words in REPEATED
    ],
    Case("401", error(401, "unauthorized", "Key not found"), Outcome.UNAUTHORIZED, words="authorised IPs"),
    Case("402", error(402, "not_enough_credits", "no"), Outcome.QUOTA, words="not_enough_credits"),
    Case("402, for a time", error(402, "not_enough_credits", retry_after="60"), Outcome.QUOTA, retry_after=60),
    Case("402, under validation", error(402, "account_under_validation"), Outcome.SUSPENDED),
    Case("403, under validation", error(403, "account_under_validation"), Outcome.SUSPENDED, words="under_validation"),
    Case("403", error(403, "permission_denied"), Outcome.UNAUTHORIZED),
    Case("404", error(404, "document_not_found"), Outcome.DOWN, words="BREVO_URL"),
    Case("405", error(405, "method_not_allowed"), Outcome.DOWN, words="BREVO_URL"),
    Case("406", error(406, "not_acceptable"), Outcome.DOWN, words="BREVO_URL"),
    Case("413", error(413, "a_new_code"), Outcome.REFUSED),
    Case("a code is read before the status", error(400, "not_enough_credits"), Outcome.QUOTA),
    Case("unknown code, 400", error(400, "a_new_code", "no"), Outcome.REFUSED, words="400: a_new_code: no"),
    Case("unknown code, 401", error(401, "a_new_code"), Outcome.UNAUTHORIZED),
    Case("unknown code, 402", error(402, "a_new_code"), Outcome.QUOTA),
    Case("unknown code, 403", error(403, "a_new_code"), Outcome.UNAUTHORIZED),
    Case("unknown code, 404", error(404, "a_new_code"), Outcome.DOWN, words="BREVO_URL"),
    Case("unknown code, 405", error(405, "a_new_code"), Outcome.DOWN, words="BREVO_URL"),
    Case("unknown code, 406", error(406, "a_new_code"), Outcome.DOWN, words="BREVO_URL"),
    Case("unknown code, 429", error(429, "a_new_code"), Outcome.RATE_LIMITED, retry_after=10),
    Case("no message", answer(400, {"code": "bad_request"}), Outcome.REFUSED, words="bad_request"),
    Case("429", error(429, "too_many_requests"), Outcome.RATE_LIMITED, retry_after=10),
    Case("429, reset", error(429, "too_many_requests", x_sib_ratelimit_reset="4"), Outcome.RATE_LIMITED, retry_after=4),
    Case("429, Retry-After", error(429, "too_many_requests", retry_after="2"), Outcome.RATE_LIMITED, retry_after=2),
    Case(
        "429, Retry-After before the reset",
        error(429, "too_many_requests", retry_after="2", x_sib_ratelimit_reset="4"),
        Outcome.RATE_LIMITED,
        retry_after=2,
    ),
    Case(
        "429, date",
        error(429, "too_many_requests", retry_after="Tue, 14 Nov 2023 22:13:50 GMT"),
        Outcome.RATE_LIMITED,
        retry_after=30,
    ),
    Case("429, not JSON", Response(429, {"retry-after": "9"}, b"slow down", AT), Outcome.RATE_LIMITED, retry_after=9),
    Case("500", error(500, "internal_error", "no"), Outcome.DOWN, words="no"),
    Case("502, HTML", Response(502, {}, b"<html><b>Bad Gateway</b></html>", AT), Outcome.DOWN, words="Bad Gateway"),
    Case("503, empty", answer(503), Outcome.DOWN, words="503"),
    Case("504", answer(504), Outcome.UNANSWERED),
    Case("408", answer(408), Outcome.UNANSWERED),
    *[
        Case(f"400, {name}", Response(400, {}, body, AT), Outcome.DOWN, words="BREVO_URL")
        for name, body in (
            ("HTML", b"<html>proxy</html>"),
            ("empty", b""),
            ("cut JSON", b'{"code":"bad'),
            ("other JSON", b'{"message":"no"}'),
            ("a code that is none", b'{"code":400,"message":"no"}'),
        )
    ],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_means(case: Case) -> None:
    check("brevo", case)


@pytest.mark.parametrize(("code", "status", "words"), REPEATED)
def test_a_key_that_was_used_stands_for_this_very_mail(code: str, status: int, words: str) -> None:
    result = provider("brevo").read(error(status, code, words), MESSAGE)

    assert (result.key_taken, result.same_mail) == (True, True)


def request(message: Message = MESSAGE) -> HttpRequest:
    found = provider("brevo").request(message)
    assert isinstance(found, HttpRequest)
    return found


def body(message: Message = MESSAGE) -> Any:
    return json.loads(request(message).body)


def test_the_request_is_authorised_json_with_the_mails_id_as_its_key() -> None:
    found = request()

    assert (found.method, found.url, found.key) == ("POST", "https://api.brevo.com/v3/smtp/email", MESSAGE.id)
    assert found.headers == {
        "api-key": "secret-of-BREVO_API_KEY",
        "Content-Type": "application/json",
        "Accept": "application/json",
    }


def test_the_body_holds_the_mail_its_id_and_its_key() -> None:
    assert body() == {
        "sender": {"email": "shop@example.com", "name": "=?utf-8?q?T=C3=B6=2C_the_Shop?="},
        "to": [{"email": "Ann@example.org", "name": "Ann Ünder"}, {"email": "bob@example.net"}],
        "subject": MESSAGE.subject,
        "htmlContent": MESSAGE.html,
        "textContent": MESSAGE.text,
        "headers": {"X-Mailin-custom": f'{{"mailsvc_id":"{MESSAGE.id}"}}', "idempotencyKey": MESSAGE.id},
    }


def test_headers_are_ascii_strings_and_the_id_is_json_in_one() -> None:
    headers = body()["headers"]

    assert all(isinstance(value, str) and value.isascii() for value in headers.values())
    assert json.loads(headers["X-Mailin-custom"]) == {"mailsvc_id": MESSAGE.id}


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("Ann", False),
        ("Bob, Esq.", False),
        ("Ünder Ann", False),
        ("Ünder, Ann", True),
        ("Dr. Ünder", True),
        ("Ünder (Ann)", True),
        (ENCODED_WORD, True),
    ],
)
def test_a_name_is_encoded_where_it_would_be_dropped_or_decoded(name: str, encoded: bool) -> None:
    said = body(replace(MESSAGE, to=(Mailbox("a@b.test", name),)))["to"][0]["name"]

    assert (said != name) is encoded
    assert not encoded or (said.isascii() and str(make_header(decode_header(said))) == name)


@pytest.mark.parametrize("html", [None, ""])
def test_a_mail_of_text_alone_gets_html_that_reads_the_same(html: str | None) -> None:
    sent = body(replace(MESSAGE, text='a < b & "c"\n  d', html=html))

    assert sent["textContent"] == 'a < b & "c"\n  d'
    assert sent["htmlContent"] == ('<div style="white-space: pre-wrap">a &lt; b &amp; &quot;c&quot;\n  d</div>')


def test_a_mail_of_html_alone_has_no_text() -> None:
    assert "textContent" not in body(replace(MESSAGE, text=None))


def test_again_takes_the_body_as_it_was_and_the_key_of_today() -> None:
    again = provider("brevo", "http://127.0.0.1:9001", BREVO_API_KEY="xkeysib-new").again(b"as it was", "key-1")

    assert isinstance(again, HttpRequest)
    assert (again.url, again.body, again.key) == ("http://127.0.0.1:9001/v3/smtp/email", b"as it was", "key-1")
    assert again.headers["api-key"] == "xkeysib-new"


def test_the_shorter_of_the_two_documented_lives_of_a_key_is_relied_on() -> None:
    assert provider("brevo").key_life == 15 * 60
