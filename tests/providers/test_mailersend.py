"""MailerSend: the request, and every row of its error table."""

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest

from mailsvc.address import Mailbox
from mailsvc.model import Message, Outcome
from mailsvc.wire import HttpRequest, Response
from tests.providers.cases import AT, MESSAGE, Case, check, provider

ID = "688a0d1fe05d4bd3d9b46ef4"
HTML = {"content-type": "text/html; charset=UTF-8"}
FREE = {"x-apiquota-remaining": "-1", "x-apiquota-reset": "2025-07-30T00:00:00Z"}
USED_UP = {"x_apiquota_remaining": "0", "x_apiquota_reset": "2023-11-15T00:00:00Z"}


def answer(status: int, document: Any = None, **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, names, b"" if document is None else orjson.dumps(document), AT)


def taken(document: Any = None, **headers: str) -> Response:
    found = answer(202, document, x_message_id=ID, **headers)
    return replace(found, headers={**HTML, **FREE, **found.headers})


def suppressed(kind: str, *addresses: str, **fields: Any) -> dict[str, Any]:
    recipients = [{"email": address, "reasons": ["hard_bounced", "unsubscribed"]} | fields for address in addresses]
    return {"message": "There are some warnings", "warnings": [{"type": kind, "recipients": recipients}]}


def error(status: int, message: str = "so it is", errors: dict[str, Any] | None = None, **headers: str) -> Response:
    return answer(status, {"message": message} | ({"errors": errors} if errors is not None else {}), **headers)


INVALID = "The given data was invalid."
UNVERIFIED = {"from.email": ["The from.email domain must be verified in your account to send emails. #MS42207"]}
WHY = "suppressed: hard_bounced, unsubscribed"
SOME = suppressed("SOME_SUPPRESSED", "ann@example.org", "eve@example.org")
ALL = suppressed("ALL_SUPPRESSED", "ann@example.org", "bob@example.net")
CASES = [
    Case("202", taken(), Outcome.ACCEPTED, provider_message_id=ID),
    Case("202 without id", answer(202), Outcome.ACCEPTED),
    Case(
        "202, paused",
        taken(x_send_paused="true"),
        Outcome.ACCEPTED,
        None,
        ID,
        stuck=True,
        words="202: sending is paused",
    ),
    Case("202, not paused", taken(x_send_paused="false"), Outcome.ACCEPTED, provider_message_id=ID),
    Case(
        "202, some left out", taken(SOME), Outcome.ACCEPTED, None, ID, {"Ann@example.org": WHY}, words="SOME_SUPPRESSED"
    ),
    Case(
        "202, some left out, reason",
        taken(suppressed("SOME_SUPPRESSED", "bob@example.net", reasons=None, reason="blocklisted")),
        Outcome.ACCEPTED,
        provider_message_id=ID,
        refused={"bob@example.net": "suppressed: blocklisted"},
    ),
    Case(
        "202, some left out, no reason",
        taken(suppressed("SOME_SUPPRESSED", "bob@example.net", reasons=[])),
        Outcome.ACCEPTED,
        provider_message_id=ID,
        refused={"bob@example.net": "suppressed"},
    ),
    Case(
        "202, some left out, and paused",
        taken(SOME, x_send_paused="true"),
        Outcome.ACCEPTED,
        provider_message_id=ID,
        refused={"Ann@example.org": WHY},
        stuck=True,
    ),
    Case("202, another warning", taken({"warnings": [{"type": "NEW"}]}), Outcome.ACCEPTED, None, ID, words="NEW"),
    Case(
        "202, all left out",
        answer(202, ALL),
        Outcome.RECIPIENT_REFUSED,
        words="202: ALL_SUPPRESSED: suppressed: hard",
    ),
    Case("202, all left out, paused", answer(202, ALL, x_send_paused="true"), Outcome.RECIPIENT_REFUSED),
    Case(
        "202 with a page and an id", replace(taken(), body=b"<html></html>"), Outcome.ACCEPTED, provider_message_id=ID
    ),
    Case("202 with a page", Response(202, HTML, b"<html>Welcome</html>", AT), Outcome.UNANSWERED, words="Welcome"),
    Case("202 with another object", answer(202, {"message": "x"}), Outcome.UNANSWERED),
    Case("202 with warnings that are none", answer(202, {"warnings": ["ALL_SUPPRESSED"]}), Outcome.UNANSWERED),
    Case("202 cut", replace(taken(), complete=False), Outcome.UNANSWERED, words="cut off"),
    Case("200", answer(200), Outcome.UNANSWERED),
    Case("200, a page", Response(200, HTML, b"<html>Welcome</html>", AT), Outcome.UNANSWERED, words="Welcome"),
    Case("204", answer(204), Outcome.UNANSWERED),
    Case("302", Response(302, {"location": "https://elsewhere.test"}, b"", AT), Outcome.DOWN, words="MAILERSEND_URL"),
    Case("400", error(400, "no"), Outcome.REFUSED, words="400: no"),
    Case("401", error(401, "Unauthenticated."), Outcome.UNAUTHORIZED, words="Unauthenticated."),
    Case("403", error(403, "This action is unauthorized."), Outcome.UNAUTHORIZED),
    *[
        Case(f"403, {words}", error(403, f"Your account {words}"), Outcome.SUSPENDED, words=words)
        for words in ("has been suspended", "is paused", "is under review", "is not approved", "is disabled")
    ],
    Case("404", error(404, "Resource not found."), Outcome.DOWN, words="MAILERSEND_URL"),
    Case("405", error(405, "no"), Outcome.DOWN, words="MAILERSEND_URL"),
    Case("413", error(413, "too large"), Outcome.REFUSED),
    Case("421, maintenance", error(421, "Service is not available"), Outcome.DOWN, words="not available"),
    Case(
        "422",
        error(422, INVALID, {"to.0.email": ["is no address"]}),
        Outcome.REFUSED,
        words="(to.0.email: is no address)",
    ),
    Case("422, several", error(422, INVALID, {"a": ["b", "c"], "d": "e"}), Outcome.REFUSED, words="(a: b c; d: e)"),
    Case("422, no fields", error(422, INVALID), Outcome.REFUSED, words=INVALID),
    Case("422, unverified", error(422, INVALID, UNVERIFIED), Outcome.SENDER_REFUSED, words="must be verified"),
    Case("422, unverified in words", error(422, UNVERIFIED["from.email"][0]), Outcome.SENDER_REFUSED),
    Case("422, from is no address", error(422, INVALID, {"from.email": ["is no address"]}), Outcome.REFUSED),
    Case("429", error(429, "Too Many Attempts."), Outcome.RATE_LIMITED, retry_after=10),
    Case("429, Retry-After", error(429, retry_after="51"), Outcome.RATE_LIMITED, retry_after=51),
    Case("429, date", error(429, retry_after="Tue, 14 Nov 2023 22:13:50 GMT"), Outcome.RATE_LIMITED, retry_after=30),
    Case("429, absurd", error(429, retry_after="soon"), Outcome.RATE_LIMITED, retry_after=10),
    Case("429, quota left", error(429, x_apiquota_remaining="12", x_ratelimit_remaining="0"), Outcome.RATE_LIMITED, 10),
    Case("429, no quota", error(429, x_apiquota_remaining="-1"), Outcome.RATE_LIMITED, retry_after=10),
    Case("429, quota", error(429, "Too Many Attempts.", **USED_UP), Outcome.QUOTA, retry_after=6400),
    Case("429, quota, Retry-After", error(429, **USED_UP, retry_after="60"), Outcome.QUOTA, retry_after=60),
    Case("429, quota, no reset", error(429, x_apiquota_remaining="0"), Outcome.QUOTA),
    Case(
        "429, quota, no body",
        answer(429, **USED_UP),
        Outcome.QUOTA,
        retry_after=6400,
        words="429: the quota is used up",
    ),
    Case("429, not JSON", Response(429, {"retry-after": "9"}, b"slow down", AT), Outcome.RATE_LIMITED, retry_after=9),
    Case("500", error(500, "Server Error"), Outcome.DOWN, words="Server Error"),
    Case("502, HTML", Response(502, {}, b"<html><b>Bad Gateway</b></html>", AT), Outcome.DOWN, words="Bad Gateway"),
    Case("503, empty", answer(503), Outcome.DOWN, words="503"),
    Case("504", answer(504), Outcome.UNANSWERED),
    Case("408", answer(408), Outcome.UNANSWERED),
    *[
        Case(f"422, {name}", Response(422, {}, body, AT), Outcome.DOWN, words="MAILERSEND_URL")
        for name, body in (
            ("HTML", b"<html>proxy</html>"),
            ("empty", b""),
            ("cut JSON", b'{"mess'),
            ("other JSON", b'{"errors":{}}'),
            ("a message that is none", b'{"message":7}'),
        )
    ],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_means(case: Case) -> None:
    check("mailersend", case)


def request(message: Message = MESSAGE) -> HttpRequest:
    found = provider("mailersend").request(message)
    assert isinstance(found, HttpRequest)
    return found


def body(message: Message = MESSAGE) -> Any:
    return json.loads(request(message).body)


def test_the_request_is_authorised_json() -> None:
    found = request()

    assert (found.method, found.url) == ("POST", "https://api.mailersend.com/v1/email")
    assert found.headers == {
        "Authorization": "Bearer secret-of-MAILERSEND_API_KEY",
        "Content-Type": "application/json",
        "Accept": "application/json",
    }


def test_the_body_holds_the_mail_its_id_as_a_tag_and_no_header() -> None:
    assert body() == {
        "from": {"email": "shop@example.com", "name": "Tö, the Shop"},
        "to": [{"email": "Ann@example.org", "name": "Ann Ünder"}, {"email": "bob@example.net"}],
        "subject": MESSAGE.subject,
        "text": MESSAGE.text,
        "html": MESSAGE.html,
        "tags": [MESSAGE.id],
    }


@pytest.mark.parametrize(("text", "html", "kept"), [("t", None, "text"), (None, "h", "html"), ("", "h", "html")])
def test_a_part_that_is_empty_is_left_out(text: str | None, html: str | None, kept: str) -> None:
    assert {"text", "html"} & body(replace(MESSAGE, text=text, html=html)).keys() == {kept}


def test_a_sender_without_a_name_has_none() -> None:
    assert body(replace(MESSAGE, sender=Mailbox("a@b.test")))["from"] == {"email": "a@b.test"}
