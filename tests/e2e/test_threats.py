"""Attacks over HTTP that no other file is about. docs/security.md says which test is about which threat."""

from __future__ import annotations

import asyncio
import json
from html import escape
from pathlib import Path

import pytest

from tests.e2e.process import FORM, Mailsvc
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider

KEY = "canary-first-key-0123456789abcdef"
EVIL = "evil.example"
NAME = "mail.example.com"
FRAMING = {
    "no Host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "length and chunks": b"POST /email HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"
    b"\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /email HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a signed length": b"POST /email HTTP/1.1\r\nHost: localhost\r\nContent-Length: +2\r\n\r\nab",
    "a negative length": b"POST /email HTTP/1.1\r\nHost: localhost\r\nContent-Length: -2\r\n\r\n",
    "a huge length": b"POST /email HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "a bad chunk": b"POST /email HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
    "an unknown coding": b"POST /email HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\nab",
    "a folded header": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n\tc\r\nX-B\x00: d\r\n\r\n",
    "a space before the colon": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length : 5\r\n\r\n",
    "a bare CR": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: b\rX-B: c\r\n\r\n",
    "a long head": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n",
    "a long path": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "another version": b"GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


async def raw(service: Mailsvc, request: bytes) -> bytes:
    """What is answered to these bytes, up to the end of the connection."""
    reader, writer = await asyncio.open_connection(*service.address)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 30)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_requests_that_break_the_rules_of_http_are_refused_and_smuggle_nothing(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_CLIENT_TIMEOUT="2") as service:
        answers = {name: await raw(service, request) for name, request in FRAMING.items()}
        _, _, mails = await service.call("GET", "/email")
        alive = await service.post()

    wrong = {
        name: answer[:60]
        for name, answer in answers.items()
        if answer.count(b"HTTP/1.1 ") > 1 or (answer and not answer.startswith(b"HTTP/1.1 4"))
    }
    assert wrong == {}
    assert mails["data"] == []
    assert alive
    assert not any('"level":"error"' in line for line in service.log)


async def test_every_answer_says_that_it_may_not_be_framed_sniffed_or_kept(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        headers = {"Authorization": f"Bearer {KEY}"}
        answers = [
            await service.call("GET", "/email", headers=headers),
            await service.call("GET", "/email"),
            await service.call("POST", "/email", headers=headers, data=b"x"),
            await service.call("DELETE", "/email", headers=headers),
            await service.call("GET", "/nowhere", headers=headers),
            await service.call("GET", "/", headers=headers),
            await service.call("GET", "/login"),
            await service.call("GET", "/healthz"),
            await service.call("GET", "/openapi.json"),
        ]

    for status, found, _ in answers:
        assert found["X-Content-Type-Options"] == "nosniff", status
        assert found["Cache-Control"] == "no-store"
        assert found["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in found["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in found["Content-Security-Policy"]
        assert found["Referrer-Policy"] in ("no-referrer", "same-origin")
        assert found["Server"] == "mailsvc"
        assert not any(name.lower().startswith("access-control-") for name in found)


async def test_pages_of_other_sites_get_no_leave_to_ask(tmp_path: Path) -> None:
    preflight = {
        "Origin": f"https://{EVIL}",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        answers = [await service.call("OPTIONS", path, headers=preflight) for path in ("/email", "/providers", "/keys")]

    assert [answer[0] for answer in answers] == [405] * 3
    assert not any(name.lower().startswith("access-control-") for answer in answers for name in answer[1])


async def test_a_server_that_knows_its_names_answers_to_no_other(tmp_path: Path) -> None:
    settings = {"MAILSVC_PUBLIC_URL": f"https://{NAME}", "MAILSVC_HOSTS": "mailsvc,10.0.0.7"}
    good = (NAME, f"{NAME}:443", NAME.upper(), "mailsvc:8080", "10.0.0.7", "localhost:1", "127.0.0.1", "[::1]:80")
    good += ("localhost.", "[0:0:0:0:0:0:0:1]:80")
    bad = (EVIL, f"{NAME}.{EVIL}", f"x.{NAME}", "10.0.0.8", "[::2]", "localhost..")
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY, **settings) as service:

        async def asked(host: str, path: str = "/email", **more: str) -> int:
            headers = {"Host": host, **more}
            return (await service.call("GET", path, headers=headers, allow_redirects=False))[0]

        found = {host: await asked(host) for host in (*good, *bad)}
        by_key = [await asked(host, "/metrics", Authorization=f"Bearer {KEY}") for host in (*good, *bad)]
        login = await asked(EVIL, "/login")
        probe = await asked("10.9.9.9:8080", "/readyz")  # how a platform asks, by an address that nobody was told
        _, _, page = await service.call("GET", "/", headers={"Host": NAME, "Authorization": f"Bearer {KEY}"})

    assert found == dict.fromkeys(good, 401) | dict.fromkeys(bad, 421)
    assert set(by_key) == {200}  # no foreign page can make a browser send a key
    assert (login, probe) == (421, 200)
    assert f"https://{NAME}/email" in page  # links are made from the setting


@pytest.mark.parametrize("header", ["Host", "Origin"])
async def test_hosts_and_origins_that_are_none_are_refused(tmp_path: Path, header: str) -> None:
    values = ("[", "[::1", "a b", "http://[", "://", "@", "%00", "http://evil.example@127.0.0.1", "é")
    async with Mailsvc(tmp_path) as service:
        found = {
            value: await raw(
                service,
                b"GET /email HTTP/1.1\r\n"
                + (b"" if header == "Host" else b"Host: localhost\r\n")
                + f"{header}: {value}\r\nConnection: close\r\n\r\n".encode(),
            )
            for value in values
        }

    assert {answer[9:12] for answer in found.values()} <= {b"400", b"403"}


async def test_forwarded_headers_count_from_trusted_proxies_alone(tmp_path: Path) -> None:
    """Each client has its own bound of wrong keys: whoever can say who it is can have as many as it likes."""
    (tmp_path / "behind").mkdir()
    (tmp_path / "open").mkdir()
    found = {}
    for name, settings in (("behind", {"MAILSVC_TRUSTED_PROXIES": "127.0.0.0/8,10.0.0.0/8"}), ("open", {})):
        async with Mailsvc(tmp_path / name, MAILSVC_API_KEY=KEY, **settings) as service:
            statuses = [
                (
                    await service.call(
                        "GET",
                        "/email",
                        headers={
                            "Authorization": "Bearer wrong",
                            "X-Forwarded-For": f"6.6.6.6, 192.0.2.{number}, 10.0.0.9",
                        },
                    )
                )[0]
                for number in range(60)
            ]
            found[name] = statuses
            same = [
                (await service.call("GET", "/email", headers={"Authorization": "Bearer w", "X-Forwarded-For": chain}))[
                    0
                ]
                for chain in [f"6.6.6.{number}, 198.51.100.7" for number in range(60)]
            ]
            found[f"{name}, one client"] = same

    assert set(found["behind"]) == {401}  # sixty clients
    assert 429 in found["behind, one client"]  # what a client says of itself in front of the proxy's word is nothing
    assert 429 in found["open"]  # no proxy is trusted, so this is one client that lies


async def test_what_looks_like_a_template_or_an_encoded_word_leaves_as_it_came(tmp_path: Path) -> None:
    words = "{{ config }} {{''.__class__}} {% include '/etc/passwd' %} ${7*7} #{7*7} <%= 7*7 %>"
    encoded = "=?utf-8?q?a=0D=0ABcc:_evil@evil.example?="
    async with FakeProvider() as mandrill:
        settings = {
            "MAILSVC_FROM": "shop@example.com",
            "MANDRILL_API_KEY": "key-of-mandrill",
            "MANDRILL_URL": mandrill.url,
        }
        async with Mailsvc(tmp_path, **settings) as service:
            mail_id = await service.post(subject=encoded, text=words, html=f"<p>{words}</p>", content="")
            sent = await service.settled(mail_id)
            page = await service.call("GET", f"/mail/{mail_id}?view=text")

    assert (sent["status"], sent["subject"]) == ("sent", encoded)
    assert mandrill.accepted(mail_id) == 1
    assert escape(words, quote=False).replace("'", "&#39;") in page[2]


async def test_eight_secrets_are_found_nowhere(tmp_path: Path) -> None:
    secrets = {
        "MAILSVC_API_KEY": KEY,
        "SENDGRID_API_KEY": "canary-sendgrid-0001",
        "MANDRILL_API_KEY": "canary-mandrill-0002",
        "SMTP_URL": "smtp://canary-user-0003:canary-password-0004@127.0.0.1:9",
    }
    canaries = [KEY, "canary-sendgrid-0001", "canary-mandrill-0002", "canary-user-0003", "canary-password-0004"]
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        for fake, canary in ((sendgrid, canaries[1]), (mandrill, canaries[2])):
            fake.fault("answer", status=401, body=json.dumps({"message": f"bad key {canary}", "errors": [canary]}))
        settings = live(sendgrid, mandrill) | secrets | {"MAILSVC_LOG": "debug", "MAILSVC_RETRY": "0.1"}
        async with Mailsvc(tmp_path, **settings) as service:
            headers = {"Authorization": f"Bearer {KEY}"}
            _, _, made = await service.call("POST", "/keys", json={"name": "x"}, headers=headers)
            _, answered, _ = await service.call("POST", "/login", data={"key": KEY}, allow_redirects=False)
            cookie = answered["Set-Cookie"].partition(";")[0]
            secret_of_key = made["key"].removeprefix(made["id"])
            canaries += [secret_of_key, cookie.partition("=")[2], cookie.rpartition(".")[2]]
            _, _, mail = await service.call("POST", "/email", json=FORM, headers=headers)
            for _ in range(600):
                _, _, record = await service.call("GET", f"/email/{mail['id']}", headers=headers)
                if len(record["attempts"]) >= 3:
                    break
                await asyncio.sleep(0.05)
            paths = ["/", "/inbox", "/email", f"/email/{mail['id']}", f"/mail/{mail['id']}", "/providers", "/keys"]
            paths += [
                "/metrics",
                "/openapi.json",
                "/parts/health",
                "/login",
                "/nowhere",
                "/providers/scores",
                "/healthz",
            ]
            shown = [str((await service.call("GET", path, headers=headers))[1:]) for path in paths]
            shown += [str((await service.call("GET", path, headers={"Cookie": cookie}))[2]) for path in paths]
            wrong = await service.call("GET", "/email", headers={"Authorization": f"Bearer {KEY}x"})
            broken = await service.call(
                "POST", "/email", data=KEY.encode(), headers=headers | {"Content-Type": "text/plain"}
            )
            service.terminate()
            await service.ended()

    said = [*service.log, *service.out, *shown, str(wrong), str(broken)]
    kept = content(tmp_path)
    assert len(record["attempts"]) >= 3
    assert [canary for canary in canaries if any(canary in text for text in said)] == []
    assert [canary for canary in canaries if canary.encode() in kept] == []


def content(folder: Path) -> bytes:
    """What is in all files of a folder."""
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
