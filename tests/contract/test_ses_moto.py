"""Amazon SES as moto imitates it, on a real socket: who signs wrongly is refused, and so is what AWS does not allow."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("moto")
import boto3
from moto.server import ThreadedMotoServer

from mailsvc.address import Mailbox
from mailsvc.fetch import Fetcher
from mailsvc.model import Message, Outcome
from mailsvc.providers.base import Result
from mailsvc.wire import HttpRequest
from tests.providers.cases import provider
from tests.providers.whole import WHOLE

ALLOWED = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ses:*", "Resource": "*"}]}
ORIGIN = "https://email.us-east-1.amazonaws.com"


class Moto:
    """`key` and `secret` are of a user who may send; the address of the mail's sender is verified."""

    def __init__(self, url: str) -> None:
        self.url = url
        anybody = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
        options = {"endpoint_url": url, "region_name": "us-east-1", **anybody}
        boto3.client("sesv2", **options).create_email_identity(EmailIdentity=WHOLE.sender.address)
        iam = boto3.client("iam", **options)
        iam.create_user(UserName="mailsvc")
        iam.put_user_policy(UserName="mailsvc", PolicyName="send", PolicyDocument=json.dumps(ALLOWED))
        made = iam.create_access_key(UserName="mailsvc")["AccessKey"]
        self.key, self.secret = made["AccessKeyId"], made["SecretAccessKey"]
        # From now on every signature is checked.
        self._ask("/moto-api/reset-auth", b"0")

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        asked = Request(self.url + path, body, {"Content-Type": "text/plain"})
        with urlopen(asked, timeout=10) as answer:
            return bytes(answer.read())

    def stored(self) -> str:
        """All that it keeps."""
        return self._ask("/moto-api/data.json").decode()


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Moto(f"http://{host}:{port}")
    finally:
        server.stop()


async def send(moto: Moto, message: Message = WHOLE, **values: str) -> Result:
    """Signed for the real host and sent to the imitation."""
    keys = {"AWS_ACCESS_KEY_ID": moto.key, "AWS_SECRET_ACCESS_KEY": moto.secret, "SES_REGION": "us-east-1"}
    found = provider("ses", ORIGIN, **(keys | values))
    request = found.request(message)
    assert isinstance(request, HttpRequest)
    now = time.time()
    rerouted = HttpRequest(request.url.replace(ORIGIN, moto.url), request.headers_at(now), request.body)
    async with Fetcher(timeout=20, concurrency=1) as fetch:
        return found.read(await fetch(rerouted), message)


async def test_a_mail_with_everything_is_accepted_with_an_id_that_moto_knows(moto: Moto) -> None:
    result = await send(moto)

    assert result.outcome is Outcome.ACCEPTED, result.detail
    assert result.provider_message_id
    assert result.provider_message_id in moto.stored()


async def test_a_mail_as_bytes_is_accepted(moto: Moto) -> None:
    result = await send(moto, replace(WHOLE, headers={"X-Name": "Grüße"}))

    assert result.outcome is Outcome.ACCEPTED, result.detail


async def test_a_wrong_secret_and_an_unknown_key_are_unauthorized(moto: Moto) -> None:
    wrong = await send(moto, AWS_SECRET_ACCESS_KEY="another")
    unknown = await send(moto, AWS_ACCESS_KEY_ID="AKIAAAAAAAAAAAAAAAAA")

    assert (wrong.outcome, unknown.outcome) == (Outcome.UNAUTHORIZED, Outcome.UNAUTHORIZED)
    assert "SignatureDoesNotMatch" in wrong.detail


async def test_a_sender_who_is_not_verified_is_refused_as_such(moto: Moto) -> None:
    result = await send(moto, replace(WHOLE, sender=Mailbox("nobody@elsewhere.example")))

    assert result.outcome is Outcome.SENDER_REFUSED
    assert "verified in us-east-1" in result.detail


async def test_more_recipients_than_the_ability_says_are_refused(moto: Moto) -> None:
    result = await send(moto, replace(WHOLE, to=tuple(Mailbox(f"r{n}@example.com") for n in range(47))))

    assert result.outcome is Outcome.REFUSED
