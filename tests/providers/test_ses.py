"""Amazon SES: the request and its signature, and every row of its table of error types."""

import json
from dataclasses import replace
from email.header import decode_header, make_header
from typing import Any

import orjson
import pytest

from mailsvc.address import Mailbox
from mailsvc.model import Message, Outcome
from mailsvc.providers import all_providers
from mailsvc.providers.base import Settings
from mailsvc.wire import HttpRequest, Response
from tests.providers.cases import AT, ENCODED_WORD, MESSAGE, Case, check, provider

ID = "0102018b1234-5678-000000"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
NOT_VERIFIED = (
    "Email address is not verified. The following identities failed the check in region EU-CENTRAL-1: a@b.test"
)
TOO_FAST = "Maximum sending rate exceeded."
TOO_MANY = "Daily message quota exceeded."


def answer(status: int, document: Any = None, **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, names, b"" if document is None else orjson.dumps(document), AT)


def error(status: int, kind: str, message: str = "so it is", **headers: str) -> Response:
    """As the service says it: the type in a header, with a link behind it."""
    kind = f"{kind}:http://internal.amazon.com/coral/com.amazonaws.services.sesv2/"
    return answer(status, {"message": message}, x_amzn_errortype=kind, **headers)


TAKEN = answer(200, {"MessageId": ID})
XML = b"<ErrorResponse><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code><Message>gone</Message></Error>"
CASES = [
    Case("403 in XML", Response(403, {}, XML, AT), Outcome.UNAUTHORIZED, words="InvalidClientTokenId: gone"),
    Case("200", TAKEN, Outcome.ACCEPTED, provider_message_id=ID),
    Case("200 cut", replace(TAKEN, body=b'{"Mess', complete=False), Outcome.UNANSWERED, words="cut off"),
    Case("200 without id", answer(200, {}), Outcome.UNANSWERED),
    Case("200 with an id that is none", answer(200, {"MessageId": 7}), Outcome.UNANSWERED),
    Case("200, a list", answer(200, [{"MessageId": ID}]), Outcome.UNANSWERED),
    Case("200, a page", Response(200, {}, b"<html>Welcome</html>", AT), Outcome.UNANSWERED, words="Welcome"),
    Case("202", answer(202, {"MessageId": ID}), Outcome.UNANSWERED),
    Case("302", Response(302, {"location": "https://elsewhere.test"}, b"", AT), Outcome.DOWN, words="SES_URL"),
    Case(
        "BadRequestException", error(400, "BadRequestException", "no"), Outcome.REFUSED, words="BadRequestException: no"
    ),
    Case("MessageRejected", error(400, "MessageRejected", "virus"), Outcome.REFUSED, words="virus"),
    Case("MessageRejected, verified", error(400, "MessageRejected", "a verified virus"), Outcome.REFUSED),
    Case("not verified", error(400, "MessageRejected", NOT_VERIFIED), Outcome.SENDER_REFUSED, words="eu-central-1"),
    Case("mail from", error(400, "MailFromDomainNotVerifiedException"), Outcome.SENDER_REFUSED, words="sandbox"),
    Case("NotFoundException", error(404, "NotFoundException", "set"), Outcome.UNAUTHORIZED, words="NotFoundException"),
    Case("AccountSuspendedException", error(400, "AccountSuspendedException"), Outcome.SUSPENDED),
    Case("SendingPausedException", error(400, "SendingPausedException"), Outcome.SUSPENDED, words="SendingPaused"),
    Case("LimitExceededException", error(400, "LimitExceededException"), Outcome.QUOTA),
    *[
        Case(f"{kind}, {status}", error(status, kind, TOO_FAST), Outcome.RATE_LIMITED, retry_after=10, words="rate")
        for kind, status in (("TooManyRequestsException", 429), ("ThrottlingException", 400), ("Throttling", 400))
    ],
    *[
        Case(f"{kind}, {status}, daily", error(status, kind, TOO_MANY), Outcome.QUOTA, words="Daily")
        for kind, status in (("TooManyRequestsException", 429), ("ThrottlingException", 400), ("Throttling", 400))
    ],
    Case("Retry-After", error(429, "TooManyRequestsException", retry_after="3"), Outcome.RATE_LIMITED, retry_after=3),
    Case(
        "Retry-After as a date",
        error(429, "TooManyRequestsException", retry_after="Tue, 14 Nov 2023 22:13:50 GMT"),
        Outcome.RATE_LIMITED,
        retry_after=30,
    ),
    *[
        Case(kind, error(403, kind), Outcome.UNAUTHORIZED, words="check the AWS key, its permission ses:SendEmail")
        for kind in (
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "IncompleteSignatureException",
            "AccessDeniedException",
            "ExpiredTokenException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
        )
    ],
    *[
        Case(f"clock, {words}", error(403, "InvalidSignatureException", words), Outcome.UNAUTHORIZED, words="clock")
        for words in ("Signature expired: 20260102T030405Z is now earlier than …", "Signature not yet current: …")
    ],
    Case("type in the body", answer(400, {"__type": "MessageRejected", "message": "no"}), Outcome.REFUSED, words="no"),
    Case("type with a name space", answer(400, {"__type": "com.amazonaws#LimitExceededException"}), Outcome.QUOTA),
    Case(
        "type as code", answer(400, {"code": "SendingPausedException", "Message": "no"}), Outcome.SUSPENDED, words="no"
    ),
    Case("type without a body", answer(400, x_amzn_errortype="MessageRejected"), Outcome.REFUSED),
    Case("unknown type, 400", error(400, "NewException", "no"), Outcome.REFUSED, words="400: NewException: no"),
    Case("unknown type, 403", error(403, "NewException"), Outcome.UNAUTHORIZED),
    Case("unknown type, 404", error(404, "UnknownOperationException"), Outcome.DOWN, words="SES_URL"),
    Case("unknown type, 405", error(405, "MethodNotAllowed"), Outcome.DOWN, words="SES_URL"),
    Case("unknown type, 429", error(429, "NewException"), Outcome.RATE_LIMITED, retry_after=10),
    Case("unknown type, 500", error(500, "InternalFailure", "no"), Outcome.DOWN, words="InternalFailure: no"),
    Case("throttled by a 503", error(503, "ThrottlingException", TOO_FAST), Outcome.RATE_LIMITED, retry_after=10),
    Case("413, HTML", Response(413, {}, b"<html>too large</html>", AT), Outcome.REFUSED, words="too large"),
    Case("429, not of AWS", Response(429, {"retry-after": "9"}, b"slow down", AT), Outcome.RATE_LIMITED, retry_after=9),
    *[Case(str(status), answer(status), Outcome.DOWN, words=str(status)) for status in (500, 502, 503, 509)],
    Case("502, HTML", Response(502, {}, b"<html><b>Bad Gateway</b></html>", AT), Outcome.DOWN, words="Bad Gateway"),
    Case("504", answer(504), Outcome.UNANSWERED),
    Case("408", answer(408), Outcome.UNANSWERED),
    *[
        Case(f"400, {name}", Response(400, {}, body, AT), Outcome.DOWN, words="SES_URL")
        for name, body in (
            ("HTML", b"<html>proxy</html>"),
            ("XML", b"<Error><Code>X</Code></Error>"),
            ("empty", b""),
            ("cut JSON", b'{"__type":"Mess'),
            ("other JSON", b'{"message":"no"}'),
            ("a type that is none", b'{"__type":7,"message":"no"}'),
        )
    ],
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_means(case: Case) -> None:
    check("ses", case)


def request(message: Message = MESSAGE, url: str | None = None, **values: str) -> HttpRequest:
    found = provider("ses", url, **KEYS | values).request(message)
    assert isinstance(found, HttpRequest)
    return found


def body(message: Message = MESSAGE) -> Any:
    return json.loads(request(message).body)


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "email.eu-central-1.amazonaws.com"),
        ("us-gov-west-1", "email.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "email.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_request_goes_to_the_regions_endpoint(region: str, host: str) -> None:
    found = request(SES_REGION=region)

    assert (found.method, found.url) == ("POST", f"https://{host}/v2/email/outbound-emails")
    assert found.headers == {"Content-Type": "application/json"}


def test_a_url_that_is_set_goes_before_the_region() -> None:
    assert request(url="http://127.0.0.1:9001").url == "http://127.0.0.1:9001/v2/email/outbound-emails"


def test_the_request_is_signed_when_it_goes_out_and_the_same_until_then() -> None:
    found = request()
    first, later = found.headers_at(AT), found.headers_at(AT + 1)

    assert found == request()
    assert first["X-Amz-Date"] == "20231114T221320Z"
    assert first["Host"] == "email.eu-central-1.amazonaws.com"
    scope = "AKIDEXAMPLE/20231114/eu-central-1/ses/aws4_request"
    names = "content-type;host;x-amz-date"
    assert first["Authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature=")
    assert first["Authorization"] != later["Authorization"]
    assert "X-Amz-Security-Token" not in first


def test_temporary_credentials_send_their_token() -> None:
    found = request(AWS_SESSION_TOKEN="token/+=")

    assert found.headers_at(AT)["X-Amz-Security-Token"] == "token/+="
    assert "x-amz-security-token" in found.headers_at(AT)["Authorization"]
    assert "token/+=" in provider("ses", **KEYS, AWS_SESSION_TOKEN="token/+=").secrets()


def test_the_body_holds_the_mail_and_its_id_as_a_tag() -> None:
    def text(data: str | None) -> dict[str, str | None]:
        return {"Data": data, "Charset": "UTF-8"}

    assert body() == {
        "FromEmailAddress": "=?utf-8?q?T=C3=B6=2C_the_Shop?= <shop@example.com>",
        "Destination": {"ToAddresses": ["=?utf-8?q?Ann_=C3=9Cnder?= <Ann@example.org>", "bob@example.net"]},
        "Content": {
            "Simple": {
                "Subject": text(MESSAGE.subject),
                "Body": {"Text": text(MESSAGE.text), "Html": text(MESSAGE.html)},
            }
        },
        "EmailTags": [{"Name": "mailsvc_id", "Value": MESSAGE.id}],
    }


@pytest.mark.parametrize("name", ["Ünder, Ann", ENCODED_WORD, "名" * 100])
def test_a_name_is_ascii_on_one_line_and_reads_as_it_was(name: str) -> None:
    (said,) = body(replace(MESSAGE, to=(Mailbox("a@b.test", name),)))["Destination"]["ToAddresses"]

    assert said.isascii()
    assert not set(said) & set("\r\n")
    assert str(make_header(decode_header(said.removesuffix(" <a@b.test>")))) == name


def test_a_plain_name_is_left_as_it_is() -> None:
    people = (Mailbox("a@b.test", "Ann"), Mailbox("c@d.test", "Bob, Esq."))

    assert body(replace(MESSAGE, to=people))["Destination"]["ToAddresses"] == [
        "Ann <a@b.test>",
        '"Bob, Esq." <c@d.test>',
    ]


@pytest.mark.parametrize(("text", "html", "kept"), [("t", None, "Text"), (None, "h", "Html"), ("", "h", "Html")])
def test_a_part_that_is_empty_is_left_out(text: str | None, html: str | None, kept: str) -> None:
    simple = body(replace(MESSAGE, text=text, html=html))["Content"]["Simple"]

    assert simple["Body"].keys() == {kept}


@pytest.mark.parametrize("region", ["Frankfurt", "eu-central", "us-east-1.evil.test/", "1", "eu_central_1"])
def test_a_region_that_is_none_is_a_fault(region: str) -> None:
    faults = all_providers()["ses"].faults(Settings(KEYS | {"SES_REGION": region}))

    assert faults == ["SES_REGION must be a region of AWS, such as eu-central-1"]


@pytest.mark.parametrize("region", ["us-east-1", "ap-southeast-3", "us-gov-west-1", "cn-north-1", "us-isob-east-1"])
def test_a_region_is_no_fault(region: str) -> None:
    assert all_providers()["ses"].faults(Settings(KEYS | {"SES_REGION": region})) == []


def test_a_token_that_cannot_be_is_a_fault() -> None:
    faults = all_providers()["ses"].faults(
        Settings(KEYS | {"SES_REGION": "us-east-1", "AWS_SESSION_TOKEN": "two words"})
    )

    assert len(faults) == 1
    assert "AWS_SESSION_TOKEN" in faults[0]
