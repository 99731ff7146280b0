"""Whether a provider can be reached, over real sockets: a connection, TLS included, and nothing handed over."""

from pathlib import Path

import pytest

from mailsvc.errors import NotSent
from mailsvc.fetch import Fetcher
from mailsvc.wire import Keep, Request, SmtpRequest
from tests.contract.posting import post
from tests.fakes import Certificate, FakeProvider
from tests.fakes.raw import closed_port
from tests.fakes.smtp import MailSink


def transaction(port: int, security: str) -> SmtpRequest:
    return SmtpRequest("127.0.0.1", port, security, "user", "secret", "a@b.test", ("c@d.test",), b"Subject: x\r\n\r\nx")


async def reach(request: Request, certificate: Certificate | None = None) -> None:
    cafile = str(certificate.cafile) if certificate else None
    async with Fetcher(timeout=5.0, concurrency=2, cafile=cafile) as fetch:
        await fetch.reach(request)


async def test_a_provider_is_reached_and_asked_for_nothing(tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    async with FakeProvider() as plain, FakeProvider(certificate=certificate) as encrypted:
        await reach(post(f"{plain.url}/v3/mail/send"))
        await reach(post(f"{encrypted.url}/v3/mail/send"), certificate)
        asked = plain.ledger + encrypted.ledger

    assert asked == []


@pytest.mark.parametrize("security", ["plain", "tls", "starttls"])
async def test_a_mail_server_is_greeted_and_given_nothing(tmp_path: Path, security: str) -> None:
    certificate = Certificate.make(tmp_path)
    sink = MailSink(security=security, certificate=None if security == "plain" else certificate)
    async with sink:
        await reach(transaction(sink.port, security), certificate)

    assert sink.mails == []


async def test_capture_is_always_there() -> None:
    await reach(Keep())


async def test_a_refused_connection_says_so() -> None:
    with closed_port() as held, pytest.raises(NotSent, match="connection refused"):
        await reach(post(f"http://127.0.0.1:{held.getsockname()[1]}"))


async def test_a_name_that_is_not_found_says_so() -> None:
    with pytest.raises(NotSent, match="name not found"):
        await reach(post("https://nowhere.invalid"))


async def test_a_certificate_that_is_not_trusted_says_so(tmp_path: Path) -> None:
    async with FakeProvider(certificate=Certificate.make(tmp_path)) as fake:
        with pytest.raises(NotSent, match="TLS certificate not trusted: self-signed"):
            await reach(post(fake.url))


async def test_a_mail_server_without_starttls_says_so() -> None:
    async with MailSink() as sink:
        with pytest.raises(NotSent, match="offers no STARTTLS"):
            await reach(transaction(sink.port, "starttls"))
