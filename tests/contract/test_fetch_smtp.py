"""SMTP transactions over real sockets: the reply that ended them, or whether the message was handed over."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mailsvc.errors import NotSent, SendError, Unanswered
from mailsvc.fetch import Fetcher
from mailsvc.wire import SmtpReply, SmtpRequest
from tests.fakes import Certificate
from tests.fakes.raw import closed_port, serving
from tests.fakes.smtp import MailSink

DATA = b"From: a@b.test\r\nTo: c@d.test\r\nSubject: Hi\r\n\r\nfirst\r\n.dotted\r\n.\r\nlast\r\n"
LOGIN = ("user", "pa ss:wörd")


def transaction(port: int, security: str = "plain", *recipients: str) -> SmtpRequest:
    return SmtpRequest("127.0.0.1", port, security, None, None, "a@b.test", recipients or ("c@d.test",), DATA)


async def submit(request: SmtpRequest, seconds: float = 5.0, certificate: Certificate | None = None) -> SmtpReply:
    cafile = str(certificate.cafile) if certificate else None
    async with Fetcher(timeout=seconds, concurrency=2, cafile=cafile) as fetch:
        reply = await fetch(request)
    assert isinstance(reply, SmtpReply)
    return reply


# The message was taken.


async def test_a_message_arrives_byte_for_byte_with_its_dots() -> None:
    async with MailSink() as sink:
        reply = await submit(transaction(sink.port))

    assert (reply.stage, reply.code, reply.text) == ("done", 250, "2.0.0 Ok: queued as SINK1")
    received = sink.mails[0]
    assert (received.sender, received.recipients, received.content) == ("a@b.test", ("c@d.test",), DATA)


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_message_goes_over_tls_with_a_login(tmp_path: Path, security: str) -> None:
    certificate = Certificate.make(tmp_path)
    async with MailSink(security=security, certificate=certificate, login=LOGIN) as sink:
        request = replace(transaction(sink.port, security), username=LOGIN[0], password=LOGIN[1])
        reply = await submit(request, certificate=certificate)

    assert reply.stage == "done"
    assert [(mail.tls, mail.login) for mail in sink.mails] == [(True, "user")]


async def test_recipients_who_are_refused_are_left_out_and_named() -> None:
    script = {"rcpt:x@d.test": "550 5.1.1 no such user", "rcpt:y@d.test": "450 4.2.1 busy"}
    async with MailSink(script) as sink:
        reply = await submit(transaction(sink.port, "plain", "x@d.test", "c@d.test", "y@d.test"))

    assert reply.stage == "done"
    assert reply.refused == {"x@d.test": (550, "5.1.1 no such user"), "y@d.test": (450, "4.2.1 busy")}
    assert sink.mails[0].recipients == ("c@d.test",)


# It was refused.


@pytest.mark.parametrize(
    ("script", "stage", "code"),
    [
        ({"connect": "421 4.3.2 too busy"}, "connect", 421),
        ({"connect": "554 5.7.1 not you"}, "connect", 554),
        ({"ehlo": "550 5.7.1 go away"}, "connect", 550),
        ({"mail": "550 5.1.0 not verified"}, "mail", 550),
        ({"mail": "451 4.7.1 slow down"}, "mail", 451),
        ({"rcpt": "550 5.1.1 unknown"}, "rcpt", 550),
        ({"data": "451 4.3.0 not now"}, "data", 451),
        ({"content": "554 5.7.1 spam"}, "data", 554),
        ({"content": "452 4.3.1 disk full"}, "data", 452),
    ],
    ids=lambda value: (
        "".join(f"{stage} {reply}" for stage, reply in value.items()) if isinstance(value, dict) else None
    ),
)
async def test_a_refusal_is_a_reply_with_its_stage(script: Mapping[str, str], stage: str, code: int) -> None:
    async with MailSink(script) as sink:
        reply = await submit(transaction(sink.port))

    assert (reply.stage, reply.code) == (stage, code)
    assert reply.text == next(iter(script.values()))[4:]
    assert sink.mails == []


async def test_when_all_recipients_are_refused_each_reply_is_there_and_no_data_is_sent() -> None:
    script = {"rcpt:x@d.test": "550 5.1.1 no", "rcpt:y@d.test": "450 4.2.1 later"}
    async with MailSink(script) as sink:
        reply = await submit(transaction(sink.port, "plain", "x@d.test", "y@d.test"))

    assert (reply.stage, reply.code) == ("rcpt", 550)
    assert reply.refused == {"x@d.test": (550, "5.1.1 no"), "y@d.test": (450, "4.2.1 later")}
    assert "data" not in sink.commands


async def test_a_message_larger_than_announced_by_the_server_is_refused_before_it_is_sent() -> None:
    async with MailSink(size_limit=10) as sink:
        reply = await submit(transaction(sink.port))

    assert (reply.stage, reply.code) == ("mail", 552)


@pytest.mark.parametrize("reply", ["535 5.7.8 bad login", "454 4.7.0 Maximum credits exceeded"])
async def test_a_refused_login_is_a_reply(reply: str) -> None:
    async with MailSink({"auth": reply}, login=LOGIN) as sink:
        answer = await submit(replace(transaction(sink.port), username="user", password="wrong"))

    assert (answer.stage, answer.code, answer.text) == ("auth", int(reply[:3]), reply[4:])
    assert "mail" not in sink.commands


async def test_a_wrong_password_is_a_reply() -> None:
    async with MailSink(login=LOGIN) as sink:
        answer = await submit(replace(transaction(sink.port), username="user", password="wrong"))

    assert (answer.stage, answer.code) == ("auth", 535)


async def test_a_login_that_is_not_offered_is_a_reply_without_code() -> None:
    async with MailSink() as sink:
        answer = await submit(replace(transaction(sink.port), username="user", password="secret"))

    assert (answer.stage, answer.code) == ("auth", None)


async def test_starttls_that_is_not_offered_is_a_reply_and_nothing_is_sent_in_clear() -> None:
    async with MailSink(login=LOGIN) as sink:
        answer = await submit(replace(transaction(sink.port, "starttls"), username="user", password="secret"))

    assert (answer.stage, answer.code) == ("starttls", None)
    assert not {"auth", "mail"} & set(sink.commands)


async def test_starttls_that_is_refused_is_a_reply(tmp_path: Path) -> None:
    script = {"starttls": "454 4.7.0 TLS not available"}
    async with MailSink(script, security="starttls", certificate=Certificate.make(tmp_path)) as sink:
        answer = await submit(transaction(sink.port, "starttls"))

    assert (answer.stage, answer.code) == ("starttls", 454)


# There is no reply.


async def test_a_refused_connection_is_not_sent() -> None:
    with closed_port() as held, pytest.raises(NotSent, match="connection refused"):
        await submit(transaction(held.getsockname()[1]))


async def test_a_host_that_does_not_exist_is_not_sent() -> None:
    with pytest.raises(NotSent, match="name not found"):
        await submit(replace(transaction(25), host="nowhere.invalid"))


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_certificate_that_nobody_signed_is_not_sent(tmp_path: Path, security: str) -> None:
    async with MailSink(security=security, certificate=Certificate.make(tmp_path)) as sink:
        with pytest.raises(NotSent, match="TLS certificate not trusted: self-signed certificate"):
            await submit(transaction(sink.port, security))

    assert sink.mails == []


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_certificate_for_another_name_is_not_sent(tmp_path: Path, security: str) -> None:
    certificate = Certificate.make(tmp_path, names=("other.test",))
    async with MailSink(security=security, certificate=certificate) as sink:
        with pytest.raises(NotSent, match="TLS certificate not trusted: "):
            await submit(transaction(sink.port, security), certificate=certificate)


@pytest.mark.parametrize("stage", ["connect", "ehlo", "mail", "rcpt", "data"])
@pytest.mark.parametrize("action", ["close", "reset"])
async def test_a_server_that_goes_before_the_message_is_not_sent(stage: str, action: str) -> None:
    async with MailSink({stage: action}) as sink:
        with pytest.raises(NotSent, match=r"closed|reset"):
            await submit(transaction(sink.port))


@pytest.mark.parametrize("stage", ["connect", "ehlo", "mail", "rcpt", "data"])
async def test_silence_before_the_message_is_not_sent(stage: str) -> None:
    began = asyncio.get_running_loop().time()
    async with MailSink({stage: "hang"}) as sink:
        with pytest.raises(NotSent, match=r"no (connection|answer) within 0\.2 s"):
            await submit(transaction(sink.port), seconds=0.2)

    assert asyncio.get_running_loop().time() - began < 5


@pytest.mark.parametrize("action", ["close", "reset"])
async def test_a_server_that_goes_after_the_message_is_unanswered(action: str) -> None:
    async with MailSink({"content": action}) as sink:
        with pytest.raises(Unanswered, match=r"closed|reset"):
            await submit(transaction(sink.port))


async def test_silence_after_the_message_is_unanswered() -> None:
    async with MailSink({"content": "hang"}) as sink:
        with pytest.raises(Unanswered, match="no answer within 2 s"):
            await submit(transaction(sink.port), seconds=2)


async def test_a_server_that_does_not_speak_smtp_is_not_sent() -> None:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(handle) as port:
        with pytest.raises(NotSent, match="not SMTP"):
            await submit(transaction(port))


async def test_an_answer_to_the_message_that_is_no_reply_is_unanswered() -> None:
    async with MailSink({"content": "what?"}) as sink:
        with pytest.raises(Unanswered, match="not SMTP"):
            await submit(transaction(sink.port))


async def test_a_dripping_server_does_not_extend_the_time() -> None:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"220-still here\r\n")
            await asyncio.sleep(0.02)

    async with serving(handle) as port:
        with pytest.raises(NotSent):
            await submit(transaction(port), seconds=0.3)


async def test_no_reason_shows_what_the_server_said() -> None:
    async with MailSink({"content": "said the password"}) as sink:
        with pytest.raises(SendError) as caught:
            await submit(transaction(sink.port))

    assert "password" not in str(caught.value)


async def test_cancellation_passes_through_and_drops_the_connection() -> None:
    async with MailSink({"content": "hang"}) as sink:
        task = asyncio.create_task(submit(transaction(sink.port)))
        while "content" not in sink.commands:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
