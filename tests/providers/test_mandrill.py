"""Mandrill: the request, and every row of its tables of fates and errors."""

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest

from mailsvc.address import Mailbox
from mailsvc.model import Message, Outcome
from mailsvc.wire import HttpRequest, Response
from tests.providers.cases import AT, MESSAGE, Case, check, provider

ANN, BOB = "ann@example.org", "bob@example.net"  # Mandrill gives addresses back in its own spelling


def fate(status: str, email: str = ANN, **fields: Any) -> dict[str, Any]:
    return {"email": email, "status": status, "reject_reason": None, "queued_reason": None} | fields


def fates(*found: dict[str, Any]) -> Response:
    """The fates of both recipients; one alone befalls both."""
    return only(*found, *[each | {"email": BOB} for each in found if len(found) == 1])


def only(*found: dict[str, Any]) -> Response:
    return Response(200, {"content-type": "application/json"}, orjson.dumps(found), AT)


def error(status: int, name: str, code: int = -1, **headers: str) -> Response:
    document = {"status": "error", "code": code, "name": name, "message": f"about {name}"}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, names, orjson.dumps(document), AT)


def rejected(reason: str | None, email: str = ANN) -> dict[str, Any]:
    return fate("rejected", email, reject_reason=reason)


def queued(reason: str | None, email: str = ANN) -> dict[str, Any]:
    return fate("queued", email, queued_reason=reason, _id="q1")


STUCK = (
    "free-trial-sends-exhausted",
    "hourly-quota-exhausted",
    "monthly-limit-reached",
    "sending-paused",
    "sending-suspended",
    "account-suspended",
)
ACCEPTED = Outcome.ACCEPTED
RECIPIENT = ("hard-bounce", "soft-bounce", "spam", "unsub", "custom", "invalid", "rule")
CASES = [
    # Fates.
    Case("sent", fates(fate("sent", _id="a1")), Outcome.ACCEPTED, provider_message_id="a1"),
    Case("scheduled", fates(fate("scheduled", _id="a1")), Outcome.ACCEPTED, provider_message_id="a1"),
    Case("sent, for both", fates(fate("sent", _id="a1"), fate("sent", BOB, _id="a2")), Outcome.ACCEPTED, None, "a1"),
    Case("sent without id", fates(fate("sent")), Outcome.ACCEPTED),
    *[
        Case(f"queued: {reason}", fates(queued(reason)), Outcome.ACCEPTED, provider_message_id="q1")
        for reason in (None, "attachments", "multiple-recipients", "sending-backlogged", "a-new-one")
    ],
    *[
        Case(f"queued: {reason}", fates(queued(reason)), Outcome.ACCEPTED, None, "q1", stuck=True, words=reason)
        for reason in STUCK
    ],
    *[
        Case(f"rejected: {reason}", fates(rejected(reason)), Outcome.RECIPIENT_REFUSED, words=reason)
        for reason in RECIPIENT
    ],
    Case("rejected: unsigned", fates(rejected("unsigned")), Outcome.SENDER_REFUSED, words="unsigned"),
    Case("rejected: invalid-sender", fates(rejected("invalid-sender")), Outcome.SENDER_REFUSED),
    Case("rejected: test-mode-limit", fates(rejected("test-mode-limit")), Outcome.QUOTA),
    Case("rejected for no reason", fates(rejected(None)), Outcome.REFUSED),
    Case("rejected for a new reason", fates(rejected("a-new-one")), Outcome.REFUSED, words="a-new-one"),
    Case("invalid", fates(fate("invalid")), Outcome.RECIPIENT_REFUSED),
    Case(
        "one taken, one rejected",
        fates(rejected("hard-bounce"), fate("sent", BOB, _id="b1")),
        Outcome.ACCEPTED,
        provider_message_id="b1",
        refused={"Ann@example.org": "rejected: hard-bounce"},
    ),
    Case(
        "one stuck, one invalid",
        fates(queued("sending-paused"), fate("invalid", BOB)),
        Outcome.ACCEPTED,
        provider_message_id="q1",
        refused={BOB: "invalid"},
        stuck=True,
    ),
    Case("both bounced", fates(rejected("hard-bounce"), rejected("spam", BOB)), Outcome.RECIPIENT_REFUSED),
    Case("bounced, and unsigned", fates(rejected("spam"), rejected("unsigned", BOB)), Outcome.SENDER_REFUSED),
    Case("bounced, and out of tests", fates(rejected("spam"), rejected("test-mode-limit", BOB)), Outcome.QUOTA),
    # A recipient without a fate.
    Case("one sent, one untold", only(fate("sent", _id="a1")), Outcome.ACCEPTED, None, "a1", untold=(BOB,)),
    Case("one rejected, one untold", only(rejected("spam")), Outcome.UNANSWERED, words="without a fate for 1"),
    Case("as many fates as recipients, one of another name", fates(fate("sent"), fate("sent", "x@y.test")), ACCEPTED),
    # What a 200 must not be.
    *[
        Case(f"200, {name}", Response(200, {}, body, AT), Outcome.UNANSWERED)
        for name, body in (
            ("empty", b""),
            ("no fates", b"[]"),
            ("HTML", b"<html>hello</html>"),
            ("another object", b'{"ok":true}'),
            ("a fate without status", b'[{"email":"a@b.test"}]'),
            ("a fate without email", b'[{"status":"sent"}]'),
            ("an unknown status", b'[{"email":"a@b.test","status":"teleported"}]'),
            ("strings", b'["sent"]'),
        )
    ],
    Case("200 cut", replace(fates(fate("sent", _id="a1")), complete=False), Outcome.UNANSWERED),
    Case("202", replace(fates(fate("sent", _id="a1")), status=202), Outcome.ACCEPTED, provider_message_id="a1"),
    Case("200 with an error inside", error(200, "Invalid_Key"), Outcome.UNAUTHORIZED),
    # Errors by name, whatever code and status say.
    Case("Invalid_Key, 401", error(401, "Invalid_Key", 401), Outcome.UNAUTHORIZED, words="about Invalid_Key"),
    Case("Invalid_Key, 500", error(500, "Invalid_Key", -1), Outcome.UNAUTHORIZED),
    Case("PaymentRequired", error(402, "PaymentRequired", 10), Outcome.QUOTA),
    Case("Unknown_Subaccount", error(404, "Unknown_Subaccount", 12), Outcome.UNAUTHORIZED),
    Case("ValidationError, 422", error(422, "ValidationError", -2), Outcome.REFUSED),
    Case("ValidationError, 500", error(500, "ValidationError", -2), Outcome.REFUSED),
    Case("RequestLimitExceeded", error(429, "RequestLimitExceeded", 429), Outcome.RATE_LIMITED, retry_after=10),
    Case(
        "RequestLimitExceeded for a time",
        error(429, "RequestLimitExceeded", 429, retry_after="33"),
        Outcome.RATE_LIMITED,
        retry_after=33,
    ),
    Case("ServiceUnavailable", error(503, "ServiceUnavailable", -2), Outcome.DOWN),
    Case("PoorReputation", error(500, "PoorReputation"), Outcome.SUSPENDED),
    Case("GeneralError", error(500, "GeneralError"), Outcome.DOWN),
    Case("another name, 500", error(500, "Something"), Outcome.DOWN, words="Something"),
    Case("another name, 400", error(400, "Something"), Outcome.REFUSED),
    Case("another name, 401", error(401, "Something"), Outcome.UNAUTHORIZED),
    Case("another name, 402", error(402, "Something"), Outcome.QUOTA),
    Case("another name, 403", error(403, "Something"), Outcome.UNAUTHORIZED),
    Case("another name, 429", error(429, "Something"), Outcome.RATE_LIMITED, retry_after=10),
    # Not Mandrill.
    Case("400, HTML", Response(400, {}, b"<html>proxy</html>", AT), Outcome.DOWN, words="MANDRILL_URL"),
    Case("401, empty", Response(401, {}, b"", AT), Outcome.DOWN, words="MANDRILL_URL"),
    Case("404, other JSON", Response(404, {}, b'{"status":"error"}', AT), Outcome.DOWN),
    Case("429, not JSON", Response(429, {"retry-after": "5"}, b"no", AT), Outcome.RATE_LIMITED, retry_after=5),
    Case("502, HTML", Response(502, {}, b"<html>Bad Gateway</html>", AT), Outcome.DOWN, words="Bad Gateway"),
    Case("302", Response(302, {}, b"", AT), Outcome.DOWN, words="MANDRILL_URL"),
    Case("504", Response(504, {}, b"", AT), Outcome.UNANSWERED),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_means(case: Case) -> None:
    check("mandrill", case)


def test_an_address_never_stands_in_the_detail() -> None:
    answer = fates(rejected("hard-bounce"), fate("sent", BOB))
    result = provider("mandrill").read(answer, MESSAGE)

    assert result.detail == "rejected: hard-bounce; sent"


def request(message: Message = MESSAGE) -> Any:
    sent = provider("mandrill").request(message)
    assert isinstance(sent, HttpRequest)
    return json.loads(sent.body)


@pytest.mark.parametrize("path", ["", "/", "/api/1.0", "/api/1.0/"])
def test_its_url_may_be_the_one_of_its_documentation(path: str) -> None:
    sent = provider("mandrill", f"https://mandrill.example{path}").request(MESSAGE)

    assert isinstance(sent, HttpRequest)
    assert sent.url == "https://mandrill.example/api/1.0/messages/send"


def test_the_request_is_json_to_the_send_endpoint_and_its_key_stands_in_the_body_only() -> None:
    sent = provider("mandrill").request(MESSAGE)

    assert isinstance(sent, HttpRequest)
    assert (sent.method, sent.url) == ("POST", "https://mandrillapp.com/api/1.0/messages/send")
    assert sent.headers == {"Content-Type": "application/json", "Accept": "application/json"}
    assert json.loads(sent.body)["key"] == "secret-of-MANDRILL_API_KEY"


def test_the_body_holds_the_mail_its_id_and_no_merging() -> None:
    assert request() == {
        "key": "secret-of-MANDRILL_API_KEY",
        "message": {
            "from_email": "shop@example.com",
            "from_name": "Tö, the Shop",
            "to": [
                {"email": "Ann@example.org", "name": "Ann Ünder", "type": "to"},
                {"email": "bob@example.net", "type": "to"},
            ],
            "subject": MESSAGE.subject,
            "text": MESSAGE.text,
            "html": MESSAGE.html,
            "headers": {"Message-ID": f"<{MESSAGE.id}@example.com>"},
            "metadata": {"mailsvc_id": MESSAGE.id},
            "merge": False,
            "preserve_recipients": True,
        },
        "async": False,
    }


def test_a_part_that_is_empty_is_left_out() -> None:
    assert "text" not in request(replace(MESSAGE, text=""))["message"]
    assert "html" not in request(replace(MESSAGE, html=None))["message"]


def test_a_sender_without_a_name_has_an_empty_one() -> None:
    assert request(replace(MESSAGE, sender=Mailbox("a@b.test")))["message"]["from_name"] == ""
