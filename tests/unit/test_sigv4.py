"""Signatures of AWS against answers that botocore gave to the same questions."""

from datetime import UTC, datetime

import pytest

from mailsvc.sigv4 import Signer

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
URL = "https://email.us-east-1.amazonaws.com/v2/email/outbound-emails"
HEADERS = {"Content-Type": "application/json"}
BODY = b'{"Content": {"Simple": {"Subject": {"Data": "h"}, "Body": {"Text": {"Data": "x"}}}}}'
SCOPE = "AKIDEXAMPLE/20260102/us-east-1/ses/aws4_request"


def signer(token: str | None = None) -> Signer:
    return Signer("AKIDEXAMPLE", "secret", "us-east-1", "ses", token)


@pytest.mark.parametrize(
    ("token", "names", "signature"),
    [
        (
            None,
            "content-type;host;x-amz-date",
            "0efae242f0008d9287d928545bfce77f251fe5bace2bcd8b103378b78b75accd",
        ),
        (
            "TOK/+=",
            "content-type;host;x-amz-date;x-amz-security-token",
            "05ad0cd5b524bc7e42f357de32adb4bf281aa5d39afa7fe15f07e98083c0f6e9",
        ),
    ],
    ids=["key", "key and token"],
)
def test_a_request_is_signed_as_botocore_signs_it(token: str | None, names: str, signature: str) -> None:
    added = signer(token)("POST", URL, HEADERS, BODY, NOW)

    assert added == {
        "Host": "email.us-east-1.amazonaws.com",
        "X-Amz-Date": "20260102T030405Z",
        **({"X-Amz-Security-Token": token} if token else {}),
        "Authorization": f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders={names}, Signature={signature}",
    }


@pytest.mark.parametrize(
    ("method", "url", "headers", "body", "now"),
    [
        ("PUT", URL, HEADERS, BODY, NOW),
        ("POST", URL + "/more", HEADERS, BODY, NOW),
        ("POST", URL.replace("amazonaws.com", "amazonaws.com:8443"), HEADERS, BODY, NOW),
        ("POST", URL, {"Content-Type": "text/plain"}, BODY, NOW),
        ("POST", URL, HEADERS, BODY + b" ", NOW),
        ("POST", URL, HEADERS, BODY, NOW + 1),
    ],
    ids=["method", "path", "host", "content type", "body", "time"],
)
def test_everything_that_matters_is_signed(
    method: str, url: str, headers: dict[str, str], body: bytes, now: float
) -> None:
    signed = signer()(method, url, headers, body, now)

    assert signed["Authorization"] != signer()("POST", URL, HEADERS, BODY, NOW)["Authorization"]


def test_two_signers_with_the_same_keys_are_the_same_and_show_no_key() -> None:
    assert signer("token") == signer("token")
    assert not [word for word in ("AKIDEXAMPLE", "secret", "token") if word in repr(signer("token"))]
