"""SparkPost: the request, and every row of its error table."""

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest

from mailsvc.address import Mailbox
from mailsvc.model import Message, Outcome
from mailsvc.wire import HttpRequest, Response
from tests.providers.cases import AT, MESSAGE, Case, check, provider

ID = "11668787484950529"
EU = "SPARKPOST_URL=https://api.eu.sparkpost.com"


def answer(status: int, document: Any = None, **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, names, b"" if document is None else orjson.dumps(document), AT)


def taken(accepted: Any = 2, rejected: Any = 0, id: Any = ID, **fields: Any) -> Response:  # noqa: A002 - their word
    counts = {"total_accepted_recipients": accepted, "total_rejected_recipients": rejected}
    return answer(200, {"results": {"id": id, **counts}} | fields)


def error(status: int, message: str = "so it is", code: str | None = None, **headers: str) -> Response:
    told = {"message": message} | ({"code": code, "description": f"about {code}"} if code else {})
    return answer(status, {"errors": [told]}, **headers)


CREATED = [{"message": "transmission created, but with validation errors", "code": "2000"}]
MISSING = {"message": "required field is missing", "description": "address.email is required", "code": "1400"}
PARTLY = answer(
    200,
    {
        "errors": CREATED,
        "results": {
            "rcpt_to_errors": [MISSING],
            "total_rejected_recipients": 1,
            "total_accepted_recipients": 1,
            "id": ID,
        },
    },
)
CASES = [
    Case("200", taken(), Outcome.ACCEPTED, provider_message_id=ID),
    Case("200, an id that is a number", taken(1, id=7), Outcome.ACCEPTED, provider_message_id="7"),
    Case("200, one left out", PARTLY, Outcome.ACCEPTED, provider_message_id=ID, words="1 of 2 recipients left out"),
    Case("200, one left out, why", PARTLY, Outcome.ACCEPTED, None, ID, words="1400: required field is missing"),
    Case("200, none taken", taken(0, 2, errors=CREATED), Outcome.RECIPIENT_REFUSED, words="no recipient was taken"),
    Case("200, none at all", taken(0, 0), Outcome.UNANSWERED),
    Case("200, errors alone", error(200, "no", "1400"), Outcome.REFUSED, words="200: 1400: no: about 1400"),
    Case("200, errors alone, domain", error(200, "no", "7001"), Outcome.SENDER_REFUSED),
    Case("200 cut", replace(taken(), body=b'{"resu', complete=False), Outcome.UNANSWERED, words="cut off"),
    Case("200 without counts", answer(200, {"results": {"id": ID}}), Outcome.UNANSWERED),
    Case("200 with counts that are none", taken("2", "0"), Outcome.UNANSWERED),
    Case("200 with a count that is none", taken(2, "0"), Outcome.UNANSWERED),
    Case("200, results that are none", answer(200, {"results": [], "errors": CREATED}), Outcome.UNANSWERED),
    Case("200, a list", answer(200, []), Outcome.UNANSWERED),
    Case("200, a page", Response(200, {}, b"<html>Welcome</html>", AT), Outcome.UNANSWERED, words="Welcome"),
    Case("202", replace(taken(), status=202), Outcome.UNANSWERED),
    Case("302", Response(302, {"location": "https://elsewhere.test"}, b"", AT), Outcome.DOWN, words="SPARKPOST_URL"),
    Case("400, 7001", error(400, "Unconfigured sending domain", "7001"), Outcome.SENDER_REFUSED, words="Unconfigured"),
    Case("400", error(400, "invalid data", "1300"), Outcome.REFUSED, words="400: 1300: invalid data: about 1300"),
    Case("422, 1400", error(422, "required field is missing", "1400"), Outcome.REFUSED),
    Case("422, 1301", error(422, "both content and template", "1301"), Outcome.REFUSED),
    Case("422 without a code", error(422, "no"), Outcome.REFUSED, words="422: no"),
    Case(
        "400, a code that is a number",
        answer(400, {"errors": [{"message": "m", "code": 7001}]}),
        Outcome.SENDER_REFUSED,
    ),
    Case(
        "400, the second error",
        answer(400, {"errors": [MISSING, {"message": "m", "code": "7001"}]}),
        Outcome.SENDER_REFUSED,
    ),
    Case("401", error(401, "Unauthorized."), Outcome.UNAUTHORIZED, words=EU),
    Case("403", error(403, "Forbidden."), Outcome.UNAUTHORIZED, words="Forbidden."),
    Case("403, suspended", error(403, "Account is Suspended for billing"), Outcome.SUSPENDED, words="Suspended"),
    Case("404", error(404, "resource not found"), Outcome.DOWN, words="SPARKPOST_URL"),
    Case("405", error(405, "method not allowed"), Outcome.DOWN, words="SPARKPOST_URL"),
    Case("409", error(409, "no"), Outcome.REFUSED),
    Case("413", error(413, "content exceeds 20MB"), Outcome.REFUSED, words="20MB"),
    Case("413, empty", answer(413), Outcome.REFUSED),
    Case("415", error(415, "unsupported media type"), Outcome.REFUSED),
    Case("420, day", error(420, "Exceed Sending Limit (daily)", "2102"), Outcome.QUOTA, words="Exceed Sending Limit"),
    Case("420, hour", error(420, "Exceed Sending Limit (hourly)", "2101"), Outcome.QUOTA),
    Case("420 without a code", error(420, "Exceed Sending Limit"), Outcome.QUOTA),
    Case("420, for a time", error(420, "Exceed Sending Limit", retry_after="90"), Outcome.QUOTA, retry_after=90),
    Case("the limit in another status", error(400, "Exceed Sending Limit (hourly)", "2101"), Outcome.QUOTA),
    Case("429", error(429, "Too many requests"), Outcome.RATE_LIMITED, retry_after=5),
    Case("429, Retry-After", error(429, retry_after="2"), Outcome.RATE_LIMITED, retry_after=2),
    Case("429, date", error(429, retry_after="Tue, 14 Nov 2023 22:13:50 GMT"), Outcome.RATE_LIMITED, retry_after=30),
    Case("429, absurd", error(429, retry_after="soon"), Outcome.RATE_LIMITED, retry_after=5),
    Case("429, not JSON", Response(429, {"retry-after": "9"}, b"slow down", AT), Outcome.RATE_LIMITED, retry_after=9),
    Case("500", error(500, "internal"), Outcome.DOWN, words="internal"),
    Case("502, HTML", Response(502, {}, b"<html><b>Bad Gateway</b></html>", AT), Outcome.DOWN, words="Bad Gateway"),
    Case("503, empty", answer(503), Outcome.DOWN, words="503"),
    Case("504", answer(504), Outcome.UNANSWERED),
    Case("408", answer(408), Outcome.UNANSWERED),
    *[
        Case(f"400, {name}", Response(400, {}, body, AT), Outcome.DOWN, words="SPARKPOST_URL")
        for name, body in (
            ("HTML", b"<html>proxy</html>"),
            ("empty", b""),
            ("cut JSON", b'{"errors":[{"mess'),
            ("other JSON", b'{"message":"no"}'),
            ("no errors", b'{"errors":[]}'),
            ("errors of another form", b'{"errors":["no"]}'),
        )
    ],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_means(case: Case) -> None:
    check("sparkpost", case)


def request(message: Message = MESSAGE) -> HttpRequest:
    found = provider("sparkpost").request(message)
    assert isinstance(found, HttpRequest)
    return found


def body(message: Message = MESSAGE) -> Any:
    return json.loads(request(message).body)


def as_it_is_read(sent: Any, text: str) -> str:
    """A header as SparkPost would make it: it evaluates expressions, and not what comes out of them."""
    for name, value in sent.get("substitution_data", {}).items():
        if text == "{{{" + name + "}}}":
            return str(value)
    assert "{{" not in text
    assert "}}" not in text
    return text


def test_the_request_is_json_with_the_bare_key() -> None:
    found = request()

    assert (found.method, found.url) == ("POST", "https://api.sparkpost.com/api/v1/transmissions")
    assert found.headers == {
        "Authorization": "secret-of-SPARKPOST_API_KEY",
        "Content-Type": "application/json",
        "Accept": "application/json",
    }


def test_the_body_holds_the_mail_and_its_id_as_metadata() -> None:
    to = '"Ann Ünder" <Ann@example.org>, bob@example.net'

    assert body(replace(MESSAGE, subject="Grüße")) == {
        "options": {"transactional": True, "perform_substitutions": False},
        "recipients": [
            {"address": {"email": "Ann@example.org", "header_to": to}},
            {"address": {"email": "bob@example.net", "header_to": to}},
        ],
        "content": {
            "from": {"email": "shop@example.com", "name": "Tö, the Shop"},
            "subject": "Grüße",
            "text": MESSAGE.text,
            "html": MESSAGE.html,
            "headers": {"Message-ID": f"<{MESSAGE.id}@example.com>"},
        },
        "metadata": {"mailsvc_id": MESSAGE.id},
    }


@pytest.mark.parametrize(
    "subject",
    [
        "{{name}}",
        "100 % {{sure}}",
        'JSON {"a":{}}',
        "{{{ raw }}}",
        "}} {{",
        "{{ if x }}{{ end }}",
        "{ one }",
        "a {{ b",
        "a }} b",
    ],
)
def test_braces_in_headers_are_read_as_they_were_written(subject: str) -> None:
    sender, people = Mailbox("a@b.test", subject), (Mailbox("c@d.test", subject), Mailbox("e@f.test"))
    message = replace(MESSAGE, subject=subject, sender=sender, to=people)
    sent = body(message)

    assert as_it_is_read(sent, sent["content"]["subject"]) == subject
    assert as_it_is_read(sent, sent["content"]["from"]["name"]) == subject
    for recipient in sent["recipients"]:
        assert as_it_is_read(sent, recipient["address"]["header_to"]) == f"{people[0]}, e@f.test"


def test_the_parts_of_a_mail_are_no_templates() -> None:
    sent = body()

    assert sent["options"]["perform_substitutions"] is False
    assert (sent["content"]["text"], sent["content"]["html"]) == (MESSAGE.text, MESSAGE.html)


def test_without_braces_there_is_nothing_to_substitute() -> None:
    assert "substitution_data" not in body(replace(MESSAGE, subject="Hi"))


@pytest.mark.parametrize(("text", "html", "kept"), [("t", None, "text"), (None, "h", "html"), ("", "h", "html")])
def test_a_part_that_is_empty_is_left_out(text: str | None, html: str | None, kept: str) -> None:
    assert {"text", "html"} & body(replace(MESSAGE, text=text, html=html))["content"].keys() == {kept}


def test_a_sender_without_a_name_has_none() -> None:
    assert body(replace(MESSAGE, sender=Mailbox("a@b.test")))["content"]["from"] == {"email": "a@b.test"}
