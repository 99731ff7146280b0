"""Mail comes in by SMTP into the real process: with a key, durable before the 250, and refused with the right code."""

from __future__ import annotations

import asyncio
import re
import shutil
import smtplib
import socket
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import Mailsvc, run
from tests.e2e.test_keys import FIRST, bearer, made
from tests.fakes.tls import Certificate
from tests.postgres import PostgresServer

SMTP_SOURCE = shutil.which("smtp-source") or "/usr/sbin/smtp-source"


class Smtp(Mailsvc):
    """The process with a port for SMTP."""

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__(folder, **{"MAILSVC_SMTP": "0", "MAILSVC_CAPTURE": "1"} | settings)

    @property
    def port(self) -> int:
        """Where it listens for SMTP."""
        (line,) = (line for line in self.out if line.startswith("  smtp "))
        return int(line.rpartition(":")[2])


def message(**headers: str) -> EmailMessage:
    found = EmailMessage()
    for name, value in ({"From": "shop@example.com", "To": "ann@example.com", "Subject": "Hi"} | headers).items():
        found[name.replace("_", "-")] = value
    found.set_content("Hi\n")
    return found


async def within(service: Smtp, act: Callable[[smtplib.SMTP], Any]) -> Any:
    """Do something with a client that is connected."""

    def whole() -> Any:
        with smtplib.SMTP("127.0.0.1", service.port, timeout=20) as client:
            return act(client)

    return await asyncio.to_thread(whole)


def raw_send(client: smtplib.SMTP, mail: EmailMessage, *to: str) -> tuple[int, str]:
    """The answer to the message."""
    client.ehlo_or_helo_if_needed()
    client.mail("shop@example.com")
    for each in to or ("ann@example.com",):
        client.rcpt(each)
    code, words = client.data(mail.as_bytes())
    return code, words.decode()


def ids(words: str) -> list[str]:
    return re.findall(r"[0-9a-f-]{36}", words)


async def test_a_mail_is_queued_under_the_id_that_the_answer_names(tmp_path: Path) -> None:
    async with Smtp(tmp_path) as service:
        code, words = await within(service, lambda c: raw_send(c, message(), "ann@example.com", "unseen@example.com"))
        (mail_id,) = ids(words)
        mail = await service.settled(mail_id)

    assert (code, mail["status"], mail["subject"]) == (250, "sent", "Hi")
    assert [(each["address"], each["role"]) for each in mail["recipients"]] == [
        ("ann@example.com", "to"),
        ("unseen@example.com", "bcc"),
    ]
    assert not any("@example.com" in line for line in service.log)


async def test_the_answer_is_true_after_a_kill_and_on_postgresql(tmp_path: Path, postgres: PostgresServer) -> None:
    for settings in ({}, {"DATABASE_URL": postgres.create()}):
        async with Smtp(tmp_path, **settings) as service:
            answers = [await within(service, lambda c: raw_send(c, message())) for _ in range(3)]
            await service.kill()
            await service.start()
            for _, words in answers:
                (mail_id,) = ids(words)
                assert (await service.mail(mail_id))["subject"] == "Hi"


async def test_a_key_is_the_password_and_needs_the_scope_to_send(tmp_path: Path) -> None:
    def login(key: str) -> Callable[[smtplib.SMTP], Any]:
        def act(client: smtplib.SMTP) -> Any:
            try:
                client.login("anybody", key)
            except smtplib.SMTPAuthenticationError as error:
                return error.smtp_code
            return raw_send(client, message())

        return act

    def plain_and_login(client: smtplib.SMTP) -> Any:
        client.ehlo()
        client.user, client.password = "x", FIRST
        return [client.auth("LOGIN", client.auth_login)[0], raw_send(client, message())[0]]

    async with Smtp(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        read_only, _ = await made(service, scopes=["read"])
        shop, shop_id = await made(service, scopes=["send", "read"])
        code, words = await within(service, login(shop))
        assert code == 250
        status, _, _ = await service.call("GET", f"/email/{ids(words)[0]}", headers=bearer(shop))
        assert status == 200
        assert await within(service, plain_and_login) == [235, 250]
        assert await within(service, login("wrong")) == 535
        assert await within(service, login(read_only)) == 535
        assert (await within(service, lambda c: (c.ehlo(), c.mail("a@example.com"))[1]))[0] == 530

        def revoked(client: smtplib.SMTP) -> Any:
            client.login("x", shop)
            asyncio.run_coroutine_threadsafe(
                service.call("DELETE", f"/keys/{shop_id}", headers=bearer(FIRST)), loop
            ).result(20)
            return raw_send(client, message())

        loop = asyncio.get_running_loop()
        code, words = await within(service, revoked)
        assert (code, "key" in words) == (550, True)

        codes = [await within(service, login(f"wrong{n}")) for n in range(40)]

    assert set(codes) == {535, 454}  # a guess is free again every two seconds


async def test_a_key_goes_over_tls_alone_unless_the_client_is_on_this_machine(tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    tls = {"MAILSVC_SMTP_CERT": str(certificate.cafile), "MAILSVC_SMTP_KEY": str(certificate.key)}

    def with_tls(client: smtplib.SMTP) -> Any:
        client.ehlo()
        client.starttls(context=ssl.create_default_context(cafile=str(certificate.cafile)))
        client.login("x", FIRST)
        return raw_send(client, message())[0]

    async with Smtp(tmp_path, MAILSVC_API_KEY=FIRST, **tls) as service:
        assert await within(service, with_tls) == 250
    code, _, errors = await run(
        tmp_path, "serve", "--smtp", "0", HOST="0.0.0.0", MAILSVC_API_KEY=FIRST, MAILSVC_CAPTURE="1"
    )

    assert (code, "MAILSVC_SMTP_CERT" in errors) == (78, True)


async def test_from_outside_no_key_is_taken_before_tls(tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    tls = {"MAILSVC_SMTP_CERT": str(certificate.cafile), "MAILSVC_SMTP_KEY": str(certificate.key)}
    outside = _own_address()
    if outside is None:
        pytest.skip("this machine has no address but loopback")

    def early(client: smtplib.SMTP) -> Any:
        client.ehlo()
        return client.has_extn("auth"), client.docmd("AUTH", "PLAIN AAA=")[0], client.mail("a@example.com")[0]

    def whole() -> Any:
        with smtplib.SMTP(outside, service.port, timeout=20) as client:
            return early(client)

    async with Smtp(tmp_path, HOST="0.0.0.0", MAILSVC_API_KEY=FIRST, **tls) as service:
        assert await asyncio.to_thread(whole) == (False, 538, 530)


def _own_address() -> str | None:
    """An address of this machine that is not loopback; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        found = str(probe.getsockname()[0])
    return None if found.startswith("127.") else found


async def test_what_is_wrong_has_a_5xx_and_what_must_wait_a_4xx(tmp_path: Path) -> None:
    async with Smtp(tmp_path, MAILSVC_MAX_BODY="20000", MAILSVC_MAX_QUEUED="3") as service:
        await service.call("POST", "/providers/capture/pause")
        large = message()
        large.set_content("x" * 60 + "\n" + ("y" * 70 + "\n") * 500)
        assert (await within(service, lambda c: raw_send(c, large)))[0] == 552
        size = await within(service, lambda c: (c.ehlo(), c.docmd("MAIL", "FROM:<a@example.com> SIZE=30000"))[1])
        assert size[0] == 552
        code, words = await within(service, lambda c: raw_send(c, message(From="nobody")))
        assert (code, words[:10]) == (550, "5.6.0 From")
        bad_recipient = await within(service, lambda c: raw_send(c, message(), "ann@nowhere"))
        assert bad_recipient[0] == 550
        taken = [(await within(service, lambda c: raw_send(c, message())))[0] for _ in range(3)]
        code, words = await within(service, lambda c: raw_send(c, message()))

    assert taken == [250, 250, 250]
    assert (code, words[:5]) == (451, "4.3.0")


async def test_the_same_idempotency_key_is_the_same_mail(tmp_path: Path) -> None:
    first, other = (message(X_Mailsvc_Idempotency_Key="k", Subject=subject) for subject in ("Hi", "Other"))
    async with Smtp(tmp_path) as service:
        answers = [await within(service, lambda c: raw_send(c, first)) for _ in range(2)]
        code, _ = await within(service, lambda c: raw_send(c, other))

    assert answers[0] == answers[1]
    assert code == 554


async def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    async with Smtp(tmp_path) as service:
        held = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(100)]
        for reader, _ in held:
            assert (await reader.readline()).startswith(b"220")
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        assert (await reader.read()).startswith(b"421 4.3.2")
        writer.close()
        held.pop()[1].close()
        code = 421
        while code == 421:  # until the service has heard that one has gone
            try:
                code, _ = await within(service, lambda c: raw_send(c, message()))
            except smtplib.SMTPConnectError as error:
                code = error.smtp_code
        assert code == 250
        for _, writer in held:
            writer.close()


async def test_a_client_that_says_nothing_is_sent_away(tmp_path: Path) -> None:
    async with Smtp(tmp_path, MAILSVC_CLIENT_TIMEOUT="0.1") as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        assert (await reader.readline()).startswith(b"220")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_a_load_of_postfix_is_taken_whole(tmp_path: Path) -> None:
    assert shutil.which(SMTP_SOURCE), "smtp-source is needed: make system"
    async with Smtp(tmp_path) as service:
        process = await asyncio.create_subprocess_exec(
            SMTP_SOURCE, "-s", "10", "-m", "200", "-l", "5000", "-f", "shop@example.com", "-t", "ann@example.com",
            "-S", "Load", f"127.0.0.1:{service.port}",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        _, _, metrics = await service.call("GET", "/metrics")

    assert (process.returncode, out) == (0, b"")
    assert re.search(r"^mailsvc_accepted_mails_total(\{.*\})? 200\.0$", metrics, re.MULTILINE)


async def test_a_stop_ends_what_is_idle_and_finishes_what_is_not(tmp_path: Path) -> None:
    async with Smtp(tmp_path) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        assert (await reader.readline()).startswith(b"220")
        service.terminate()
        assert await asyncio.wait_for(service.ended(), 20) == 0
        assert await reader.read() == b""
        writer.close()
    assert not any('"level":"error"' in line for line in service.log)


async def test_several_processes_listen_on_one_port(tmp_path: Path, postgres: PostgresServer) -> None:
    with socket.socket() as held:  # so that no other program gets the port: it shares it, and does not listen
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        settings = {"DATABASE_URL": postgres.create(), "WEB_CONCURRENCY": "2", "MAILSVC_SMTP": str(port)}
        async with Mailsvc(tmp_path, MAILSVC_CAPTURE="1", **settings) as service:

            def whole() -> list[str]:
                answers = []
                for _ in range(10):
                    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                        answers += ids(raw_send(client, message())[1])
                return answers

            taken = await asyncio.to_thread(whole)
            _, _, listed = await service.call("GET", "/email")

    assert len(taken) == 10
    assert {each["id"] for each in listed["data"]} == set(taken)


async def test_more_mail_than_there_is_room_for_is_put_off_and_the_room_is_free_again(tmp_path: Path) -> None:
    line = b"x" * 60_000 + b"\r\n"

    async def begun(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for command in (b"", b"HELO me\r\n", b"MAIL FROM:<a@b.co>\r\n", b"RCPT TO:<ann@example.com>\r\n", b"DATA\r\n"):
            writer.write(command)
            assert (await reader.readline())[:1] in b"23"
        writer.write(b"From: a@b.co\r\nTo: ann@example.com\r\nSubject: Large\r\n\r\n")
        return reader, writer

    async with Smtp(tmp_path) as service:
        pairs = [await begun(service.port) for _ in range(4)]
        for _ in range(350):  # 21 MB each
            for _, writer in pairs:
                writer.write(line)
                await writer.drain()
        answers = []
        for reader, writer in pairs:
            writer.write(b".\r\n")
            answers.append((await asyncio.wait_for(reader.readline(), 30))[:3])
            writer.close()
        small = await within(service, lambda c: raw_send(c, message()))

    assert set(answers) <= {b"250", b"550", b"451"}
    assert b"451" in answers
    assert small[0] == 250
