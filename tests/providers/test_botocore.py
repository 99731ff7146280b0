"""Amazon SES against botocore: the shape of a request by the model of the service, the signature by its own signer."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("botocore")
import botocore.auth
import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.validate import ParamValidator

from mailsvc.address import Mailbox
from mailsvc.model import Attachment, Message
from mailsvc.wire import HttpRequest
from tests.providers.cases import AT, MESSAGE, provider
from tests.providers.whole import WHOLE

MODEL = botocore.session.get_session().get_service_model("sesv2")
SEND = MODEL.operation_model("SendEmail")
MANY = tuple(Mailbox(f"r{n}@example.com") for n in range(25))
MESSAGES = {
    "usual": MESSAGE,
    "everything": WHOLE,
    "as bytes": replace(WHOLE, headers={"X-Name": "Grüße"}),
    "as much as Simple takes": replace(
        WHOLE,
        headers={f"X-{n}": "v" * 995 for n in range(15)},
        attachments=(Attachment("ä" * 255, "a/" + "b" * 76, "c" * 78, 1, b"x"),),
    ),
    "many recipients": replace(WHOLE, to=MANY, cc=MANY[:12], bcc=MANY[12:]),
}


def request(message: Message, **values: str) -> HttpRequest:
    found = provider("ses", **values).request(message)
    assert isinstance(found, HttpRequest)
    return found


def faults(shape: Any, value: Any, path: str = "") -> list[str]:
    """What the limits of the model have against a value: lengths, patterns, words. botocore leaves these to AWS."""
    if shape.type_name == "structure":
        return [fault for name, each in value.items() for fault in faults(shape.members[name], each, f"{path}.{name}")]
    if shape.type_name == "list":
        return [fault for n, each in enumerate(value) for fault in faults(shape.member, each, f"{path}[{n}]")]
    if shape.type_name != "string":
        return []
    found, limits = [], shape.metadata
    if ("max" in limits and len(value) > limits["max"]) or len(value) < limits.get("min", 0):
        found.append(f"{path}: length {len(value)}")
    if "pattern" in limits and not re.fullmatch(limits["pattern"], value):
        found.append(f"{path}: {limits['pattern']}")
    if "enum" in limits and value not in limits["enum"]:
        found.append(f"{path}: {value}")
    return found


@pytest.mark.parametrize("name", MESSAGES)
def test_the_body_is_what_the_model_of_the_service_describes(name: str) -> None:
    body = json.loads(request(MESSAGES[name]).body)
    plain = json.loads(json.dumps(body))
    for file in plain["Content"].get("Simple", {}).get("Attachments", []):
        file["RawContent"] = file["RawContent"].encode()  # a blob in the model, base64 in JSON
    if "Raw" in plain["Content"]:
        plain["Content"]["Raw"]["Data"] = plain["Content"]["Raw"]["Data"].encode()
    report = ParamValidator().validate(plain, SEND.input_shape)

    assert not report.has_errors(), report.generate_report()
    assert faults(SEND.input_shape, plain) == []


def test_the_model_notices_faults() -> None:
    body = json.loads(request(WHOLE).body)
    body["Content"]["Simple"]["Headers"][0]["Value"] = "ä"
    body["Content"]["Simple"]["Attachments"][0]["ContentDisposition"] = "attachment"

    assert len(faults(SEND.input_shape, body)) == 2
    assert ParamValidator().validate({"Content": {"Simple": {"Subjekt": 1}}}, SEND.input_shape).has_errors()


def test_the_request_goes_where_the_model_says() -> None:
    found = request(WHOLE)

    assert (found.method, found.url.partition(".com")[2]) == (SEND.http["method"], SEND.http["requestUri"])


@pytest.mark.parametrize("token", [None, "TOK/+=="])
@pytest.mark.parametrize("region", ["eu-central-1", "us-gov-west-1", "cn-north-1"])
def test_the_signature_is_that_of_botocore(monkeypatch: pytest.MonkeyPatch, token: str | None, region: str) -> None:
    now = datetime.fromtimestamp(AT, UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: now)
    keys = {"SES_REGION": region, "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s/+"}
    found = request(WHOLE, **keys, **({"AWS_SESSION_TOKEN": token} if token else {}))
    ours = found.headers_at(AT)
    theirs = AWSRequest("POST", found.url, {"Content-Type": "application/json", "Host": ours["Host"]}, found.body)
    botocore.auth.SigV4Auth(Credentials("AKIDEXAMPLE", "s/+", token), "ses", region).add_auth(theirs)

    assert ours["Authorization"] == theirs.headers["Authorization"]
    assert "Signature=" in ours["Authorization"]


def test_every_error_of_the_operation_that_the_model_knows_is_told_apart() -> None:
    rows = {case.answer.headers.get("x-amzn-errortype", "").partition(":")[0] for case in _cases()}

    assert {shape.name for shape in SEND.error_shapes} <= rows


def _cases() -> list[Any]:
    from tests.providers.test_ses import CASES  # noqa: PLC0415

    return [case for case in CASES if hasattr(case.answer, "headers")]
