"""Both files for nginx, run by a real one before the real process on PostgreSQL: TLS, event stream, static files."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.deploy.programs import DEPLOY, ROOT, procfile, system_program
from tests.deploy.test_platforms import accepting
from tests.e2e.process import FORM
from tests.fakes import Certificate
from tests.postgres import PostgresServer

KEY = "k" * 32
JSON = {"Content-Type": "application/json"}
LARGE = json.dumps(FORM | {"content": "x" * 27_000_000}).encode()
MACHINE, COMPOSE = "nginx.conf", "compose.nginx.conf"
AROUND = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""


@dataclass
class Front:
    """A running nginx: what it is reached by, and the port that speaks no TLS."""

    url: str
    plain_port: int


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def adapted(text: str, *changes: tuple[str, str]) -> str:
    """The file with this machine's ports and paths; each change must meet something."""
    for pattern, new in changes:
        text, met = re.subn(pattern, new, text)
        assert met, pattern
    return text


def site(name: str, upstream: int, port: int, plain: int, certificate: Certificate) -> str:
    """One of the files in deploy/, for these ports."""
    text = (DEPLOY / name).read_text()
    if name == COMPOSE:
        return adapted(text, (r"listen 80;", f"listen 127.0.0.1:{port};"), (r"mailsvc:8080", f"127.0.0.1:{upstream}"))
    return adapted(
        text,
        (r"server 127\.0\.0\.1:8080;", f"server 127.0.0.1:{upstream};"),
        (r" *listen \[::\]:.*\n", ""),
        (r"listen 80;", f"listen 127.0.0.1:{plain};"),
        (r"listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        (r"ssl_certificate \S+;", f"ssl_certificate {certificate.cafile};"),
        (r"ssl_certificate_key \S+;", f"ssl_certificate_key {certificate.key};"),
        (r"/opt/mailsvc/static/", f"{ROOT}/static/"),
        (r"mail\.example\.com", "localhost"),
    )


def written(folder: Path, name: str, upstream: int, certificate: Certificate) -> tuple[Path, Front]:
    """The whole configuration of an nginx, in a folder."""
    port, plain = free_port(), free_port()
    path = folder / "whole.conf"
    path.write_text(AROUND.format(folder=folder, site=site(name, upstream, port, plain, certificate)))
    return path, Front(f"{'http' if name == COMPOSE else 'https'}://localhost:{port}", plain)


@asynccontextmanager
async def nginx(folder: Path, name: str, upstream: int, certificate: Certificate) -> AsyncIterator[Front]:
    """A real nginx with one of the files."""
    process, front = await _begun(folder, name, upstream, certificate)
    try:
        yield front
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _begun(
    folder: Path, name: str, upstream: int, certificate: Certificate
) -> tuple[asyncio.subprocess.Process, Front]:
    """An nginx that listens. It cannot be told to choose its ports itself: if somebody was quicker, it gets others."""
    for _ in range(5):
        path, front = written(folder, name, upstream, certificate)
        process = await asyncio.create_subprocess_exec(
            system_program("nginx", "nginx-light"),
            *("-c", path, "-e", folder / "start.log"),
            stderr=asyncio.subprocess.PIPE,
        )
        while process.returncode is None:
            if (folder / "nginx.pid").exists():
                return process, front
            await asyncio.sleep(0.02)
        _, words = await process.communicate()
        assert b"Address already in use" in words, words
    raise AssertionError(words)


@asynccontextmanager
async def caller(certificate: Certificate) -> AsyncIterator[aiohttp.ClientSession]:
    """Somebody who trusts this certificate and no other, and has the key."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=certificate.cafile))
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
        yield http


@pytest.mark.parametrize("name", [MACHINE, COMPOSE])
async def test_mail_goes_in_through_nginx_and_its_story_comes_out_as_it_happens(
    tmp_path: Path, name: str, postgres: PostgresServer
) -> None:
    certificate = Certificate.make(tmp_path)
    settings = {"DATABASE_URL": postgres.create(), "MAILSVC_API_KEY": KEY, "MAILSVC_CAPTURE": "1"}
    async with procfile(**settings) as served, nginx(tmp_path, name, served.port, certificate) as front:
        async with caller(certificate) as http, http.get(f"{front.url}/events") as stream:
            kind = stream.headers["Content-Type"]
            async with http.post(f"{front.url}/email", json=FORM) as answer:
                accepted = answer.status, (await answer.json())["id"]
            heard = b""
            while b'"status":"sent"' not in heard:
                heard += await asyncio.wait_for(stream.content.readany(), 40)
            async with http.post(f"{front.url}/email", data=BytesIO(LARGE), headers=JSON) as answer:
                too_large = answer.status, (await answer.json())["code"]
            async with http.get(f"{front.url}/metrics") as answer:
                metrics = answer.status

    assert accepted[0] == 202
    assert kind.startswith("text/event-stream")
    assert accepted[1].encode() in heard
    assert too_large == (413, "too_large")
    assert metrics == 200


async def test_over_tls_one_stream_tells_of_the_mails_of_all_processes(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    certificate = Certificate.make(tmp_path)
    settings = {"DATABASE_URL": postgres.create(), "MAILSVC_API_KEY": KEY, "MAILSVC_CAPTURE": "1"}
    async with (
        procfile(**settings, WEB_CONCURRENCY="2") as served,
        nginx(tmp_path, MACHINE, served.port, certificate) as front,
        caller(certificate) as http,
        http.get(f"{front.url}/events") as stream,
    ):
        heard, ids, by = bytearray(), set[str](), set[str]()
        listening = asyncio.create_task(listen(stream, heard))  # all the time, so as not to fall behind
        while len(by) < 2:
            # At once, over more connections than nginx keeps: some are new each time, and either process may get one.
            sent = [http.post(f"{front.url}/email", json=FORM) for _ in range(40)]
            ids |= {(await answer.json())["id"] for answer in await asyncio.gather(*sent)}
            async with http.get(f"{front.url}/metrics") as answer:
                by = accepting(await answer.text())
        while not all(told(heard, mail_id) for mail_id in ids):
            await asyncio.sleep(0.1)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    assert len(ids) >= 40


async def listen(stream: aiohttp.ClientResponse, heard: bytearray) -> None:
    """Keep all that the stream says."""
    async for piece in stream.content.iter_any():
        heard += piece


def told(heard: bytearray, mail_id: str) -> bool:
    """Whether the stream has said that a mail was sent."""
    return re.search(rb'"id":"%b"[^\n]*"status":"sent"' % mail_id.encode(), heard) is not None


async def test_the_pages_files_come_from_nginx_and_everything_over_tls(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    certificate = Certificate.make(tmp_path)
    settings = {"DATABASE_URL": postgres.create(), "MAILSVC_API_KEY": KEY, "MAILSVC_CAPTURE": "1"}
    async with procfile(**settings) as served, nginx(tmp_path, MACHINE, served.port, certificate) as front:
        async with caller(certificate) as http:
            async with http.get(f"{front.url}/login", headers={"Accept": "text/html"}) as answer:
                page, secure = await answer.text(), answer.headers["Strict-Transport-Security"]
            style = re.search(r'href="(/static/[0-9a-f]+/[^"]+\.css)"', page)
            assert style
            async with http.get(f"{front.url}{style[1]}") as answer:
                from_nginx, css = answer.headers, await answer.text()
            async with http.get(f"http://127.0.0.1:{served.port}{style[1]}") as answer:
                from_mailsvc = await answer.text()
            async with http.get(URL(f"{front.url}/static/0/%2e%2e/%2e%2e/requirements.txt", encoded=True)) as answer:
                outside = answer.status
            plain = f"http://localhost:{front.plain_port}/email"
            async with http.post(plain, json=FORM, allow_redirects=False) as answer:
                sent_on = answer.status, answer.headers["Location"]

    assert secure.startswith("max-age=")
    assert css == from_mailsvc
    assert "X-Request-Id" not in from_nginx
    assert from_nginx["Content-Type"] == "text/css"
    assert "immutable" in from_nginx["Cache-Control"]
    assert outside in (400, 401, 404)
    assert sent_on == (308, "https://localhost/email")


@pytest.mark.parametrize("name", [MACHINE, COMPOSE])
def test_nginx_finds_no_fault_and_no_warning(tmp_path: Path, name: str) -> None:
    path, _ = written(tmp_path, name, 8080, Certificate.make(tmp_path))
    done = subprocess.run(
        [system_program("nginx", "nginx-light"), "-t", "-q", "-c", path, "-e", tmp_path / "start.log"],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert (done.returncode, done.stderr) == (0, "")
