"""Postmark: the request, and every row of its table of codes."""

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest

from mailsvc.address import Mailbox
from mailsvc.model import Message, Outcome
from mailsvc.wire import HttpRequest, Response
from tests.providers.cases import AT, MESSAGE, Case, check, provider

ID = "0a129aee-e1cd-480d-b08d-4f48548ff48d"
ALONE = replace(MESSAGE, to=MESSAGE.to[:1])


def answer(status: int, document: Any = None, **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, names, b"" if document is None else orjson.dumps(document), AT)


def taken(message: str = "OK", **fields: Any) -> Response:
    document = {"To": "x", "SubmittedAt": "2026-01-02T03:04:05Z", "MessageID": ID, "ErrorCode": 0, "Message": message}
    return answer(200, {name: value for name, value in (document | fields).items() if value is not None})


def error(status: int, code: int, message: str = "so it is", **headers: str) -> Response:
    return answer(status, {"ErrorCode": code, "Message": message}, **headers)


def inactive(*addresses: str) -> str:
    return (
        f"Message OK, but will not deliver to these inactive addresses: {', '.join(addresses)}. "
        "Inactive recipients are ones that have generated a hard bounce or a spam complaint."
    )


ALL_INACTIVE = (
    "You tried to send to a recipient that has been marked as inactive.\n"
    "Found inactive addresses: ann@example.org, bob@example.net.\nInactive recipients are ones that have bounced."
)
WHY = "Postmark holds this address for inactive"
CASES = [
    Case("200", taken(), Outcome.ACCEPTED, provider_message_id=ID, words="200: OK"),
    Case(
        "200, one inactive",
        taken(inactive("ann@example.org")),
        Outcome.ACCEPTED,
        provider_message_id=ID,
        refused={"Ann@example.org": WHY},
        words="inactive addresses: ….",
    ),
    Case(
        "200, somebody else inactive",
        taken(inactive("eve@example.org")),
        Outcome.ACCEPTED,
        provider_message_id=ID,
    ),
    Case(
        "200, one inactive, in fewer words",
        taken("Message OK, but will not deliver to these inactive addresses: bob@example.net"),
        Outcome.ACCEPTED,
        provider_message_id=ID,
        refused={"bob@example.net": WHY},
    ),
    Case(
        "200, delayed",
        taken("Message accepted, but delivery may be delayed.", ErrorCode=None),
        Outcome.ACCEPTED,
        provider_message_id=ID,
        words="delayed",
    ),
    Case("200 without a message", taken(Message=None), Outcome.ACCEPTED, provider_message_id=ID),
    Case("200 cut", replace(taken(), body=b'{"To":', complete=False), Outcome.UNANSWERED, words="cut off"),
    Case("200 without id", taken(MessageID=None), Outcome.UNANSWERED),
    Case("200 with an id that is none", taken(MessageID=7), Outcome.UNANSWERED),
    Case("200 with a code that is none", taken(ErrorCode="0"), Outcome.UNANSWERED),
    Case("200, a list", answer(200, [{"MessageID": ID}]), Outcome.UNANSWERED),
    Case("200, a page", Response(200, {}, b"<html>Welcome</html>", AT), Outcome.UNANSWERED, words="Welcome"),
    Case("200, empty", answer(200), Outcome.UNANSWERED),
    Case("202", replace(taken(), status=202), Outcome.UNANSWERED),
    Case("200 with an error inside, inactive", error(200, 406, ALL_INACTIVE), Outcome.RECIPIENT_REFUSED),
    Case("200 with an error inside, key", error(200, 10), Outcome.UNAUTHORIZED),
    Case("200 with an unknown error inside", error(200, 4711, "no"), Outcome.REFUSED, words="200: 4711: no"),
    Case("302", Response(302, {"location": "https://elsewhere.test"}, b"", AT), Outcome.DOWN, words="POSTMARK_URL"),
    Case("10", error(401, 10, "No Account or Server API tokens"), Outcome.UNAUTHORIZED, words="POSTMARK_SERVER_TOKEN"),
    Case("100", error(503, 100, "Maintenance"), Outcome.DOWN, words="Maintenance"),
    Case("300", error(422, 300, "Zero recipients specified"), Outcome.REFUSED, words="422: 300: Zero"),
    Case("300, from", error(422, 300, "Invalid 'From' address: 'x'."), Outcome.REFUSED),
    Case(
        "300, one of several recipients", error(422, 300, "Invalid 'To' address: 'ann@example.org'."), Outcome.REFUSED
    ),
    *[
        Case(f"{code}", error(422, code, "The Sender Signature"), Outcome.SENDER_REFUSED, words="Sender Signature")
        for code in (400, 401)
    ],
    *[
        Case(f"{code}", error(422, code, "no"), Outcome.REFUSED, words=f"422: {code}: no")
        for code in (402, 403, 409, 410, 411, 701)
    ],
    Case("405", error(422, 405, "Not allowed to send"), Outcome.QUOTA, words="Not allowed to send"),
    Case("405, for a time", error(422, 405, retry_after="900"), Outcome.QUOTA, retry_after=900),
    Case("406", error(422, 406, ALL_INACTIVE), Outcome.RECIPIENT_REFUSED, words="inactive addresses: …, …."),
    Case("406 as a status", error(406, 406, ALL_INACTIVE), Outcome.RECIPIENT_REFUSED),
    Case("412", error(422, 412, "your account is pending approval"), Outcome.SUSPENDED, words="pending"),
    Case("413 as a code", error(422, 413, "Account may not send"), Outcome.SUSPENDED),
    Case("1235", error(422, 1235, "The stream does not exist"), Outcome.UNAUTHORIZED, words="message stream outbound"),
    Case("1236", error(422, 1236), Outcome.UNAUTHORIZED, words="message stream outbound"),
    Case("413 as a status", error(413, 0, "Payload too large"), Outcome.REFUSED),
    Case("413, empty", answer(413), Outcome.REFUSED),
    Case("unknown code, 401", error(401, 4711), Outcome.UNAUTHORIZED),
    Case("unknown code, 403", error(403, 4711), Outcome.UNAUTHORIZED),
    Case("unknown code, 404", error(404, 4711), Outcome.DOWN, words="POSTMARK_URL"),
    Case("unknown code, 422", error(422, 4711, "no"), Outcome.REFUSED, words="422: 4711: no"),
    Case("unknown code, 500", error(500, 4711), Outcome.DOWN, words="4711"),
    Case("a code in a 500", error(500, 406, ALL_INACTIVE), Outcome.RECIPIENT_REFUSED),
    *[Case(f"{code} in a 500", error(500, code), Outcome.REFUSED) for code in (300, 402, 403, 409, 410, 411, 701)],
    Case("429", error(429, 429), Outcome.RATE_LIMITED, retry_after=10),
    Case("429, Retry-After", error(429, 429, retry_after="3"), Outcome.RATE_LIMITED, retry_after=3),
    Case("429, date", error(429, 429, retry_after="Tue, 14 Nov 2023 22:13:50 GMT"), Outcome.RATE_LIMITED, 30),
    Case("429, not JSON", Response(429, {"retry-after": "9"}, b"slow down", AT), Outcome.RATE_LIMITED, retry_after=9),
    Case("429, empty", answer(429), Outcome.RATE_LIMITED, retry_after=10),
    Case("500, empty", answer(500), Outcome.DOWN, words="500"),
    Case("502, HTML", Response(502, {}, b"<html><b>Bad Gateway</b></html>", AT), Outcome.DOWN, words="Bad Gateway"),
    Case("504", answer(504), Outcome.UNANSWERED),
    Case("408", answer(408), Outcome.UNANSWERED),
    *[
        Case(f"422, {name}", Response(422, {}, body, AT), Outcome.DOWN, words="POSTMARK_URL")
        for name, body in (
            ("HTML", b"<html>proxy</html>"),
            ("empty", b""),
            ("cut JSON", b'{"ErrorCode":40'),
            ("other JSON", b'{"message":"no"}'),
            ("a code that is none", b'{"ErrorCode":"406","Message":"no"}'),
            ("no message", b'{"ErrorCode":406}'),
        )
    ],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_means(case: Case) -> None:
    check("postmark", case)


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("Invalid 'To' address: 'ann@example.org'.", Outcome.RECIPIENT_REFUSED),
        ("Error parsing 'Cc': Illegal email domain 'x' in address 'a@x'.", Outcome.RECIPIENT_REFUSED),
        ("Error parsing 'Bcc': Illegal email address 'a'. It must contain the '@' symbol.", Outcome.RECIPIENT_REFUSED),
        ("Error parsing 'Reply-To': Illegal email domain 'x' in address 'a@x'.", Outcome.REFUSED),
        ("Invalid 'From' address: 'x'.", Outcome.REFUSED),
        ("Invalid metadata content.", Outcome.REFUSED),
    ],
)
def test_the_only_recipient_that_is_refused_is_known(words: str, outcome: Outcome) -> None:
    assert provider("postmark").read(error(422, 300, words), ALONE).outcome is outcome


def test_an_address_of_a_recipient_never_stands_in_the_detail() -> None:
    for answer in (error(422, 406, ALL_INACTIVE), taken(inactive("ann@example.org"))):
        assert "example.org" not in provider("postmark").read(answer, MESSAGE).detail


def request(message: Message = MESSAGE) -> HttpRequest:
    found = provider("postmark").request(message)
    assert isinstance(found, HttpRequest)
    return found


def body(message: Message = MESSAGE) -> Any:
    return json.loads(request(message).body)


def test_the_request_is_json_in_both_directions_with_the_token() -> None:
    found = request()

    assert (found.method, found.url) == ("POST", "https://api.postmarkapp.com/email")
    assert found.headers == {
        "X-Postmark-Server-Token": "secret-of-POSTMARK_SERVER_TOKEN",
        "Content-Type": "application/json",
        "Accept": "application/json",
    }


def test_the_body_holds_the_mail_its_id_its_stream_and_a_message_id_that_is_kept() -> None:
    assert body() == {
        "From": '"Tö, the Shop" <shop@example.com>',
        "To": '"Ann Ünder" <Ann@example.org>, bob@example.net',
        "Subject": MESSAGE.subject,
        "TextBody": MESSAGE.text,
        "HtmlBody": MESSAGE.html,
        "Headers": [
            {"Name": "Message-ID", "Value": f"<{MESSAGE.id}@example.com>"},
            {"Name": "X-PM-KeepID", "Value": "true"},
        ],
        "Metadata": {"mailsvc_id": MESSAGE.id},
        "MessageStream": "outbound",
    }


def test_a_name_with_a_comma_does_not_become_two_recipients() -> None:
    people = (Mailbox("ann@example.org", 'Ann "the" Brave, Esq.'), Mailbox("bob@example.net", "Bob"))

    to = body(replace(MESSAGE, to=people))["To"]

    assert to == '"Ann \\"the\\" Brave, Esq." <ann@example.org>, Bob <bob@example.net>'


@pytest.mark.parametrize(
    ("text", "html", "kept"), [("t", None, "TextBody"), (None, "h", "HtmlBody"), ("", "h", "HtmlBody")]
)
def test_a_part_that_is_empty_is_left_out(text: str | None, html: str | None, kept: str) -> None:
    assert {"TextBody", "HtmlBody"} & body(replace(MESSAGE, text=text, html=html)).keys() == {kept}
