"""The page over HTTP: its headers, its files and how long they are kept, and what happens without them."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.e2e.process import FORM, ROOT, Mailsvc, environment

HTML = {"Accept": "text/html"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


async def test_every_page_guards_itself(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        mail_id = await service.post()
        paths = [
            "/",
            "/inbox",
            f"/mail/{mail_id}",
            "/nowhere",
            "/parts/mails",
            f"/mail/{'0' * 8}-0000-7000-8000-{'0' * 12}",
        ]
        answers = [await service.call("GET", path, headers=HTML) for path in paths]
        faulty = await service.call("POST", "/email", data={"to": "x"}, headers=HTML)

    assert [status for status, _, _ in answers] == [200, 200, 200, 404, 200, 404]
    assert faulty[0] == 422
    for _, headers, body in [*answers, faulty]:
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert not [name for name in headers if name.startswith("Access-Control")]
        assert "<script>" not in body


async def test_files_are_kept_for_as_long_as_their_url_is_the_same(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        _, _, page = await service.call("GET", "/")
        named = sorted(set(re.findall(r"/static/[0-9a-f]{12}/[\w./-]+", page)))
        found = [await service.call("GET", path) for path in named]
        other = await service.call("GET", re.sub(r"/[0-9a-f]{12}/", "/0123456789ab/", named[0]))
        missing = await service.call("GET", "/static/0123456789ab/../../pyproject.toml")
        encoded = await service.call("GET", "/static/0123456789ab/%2e%2e/%2e%2e/pyproject.toml")
        _, plain, _ = await service.call("GET", named[-1], headers={"Accept-Encoding": "identity"})
        icon = await service.call("GET", "/favicon.ico", headers={"Accept": "image/*"})

    assert len(named) >= 6
    assert {(status, headers["Cache-Control"]) for status, headers, _ in found} == {
        (200, "public, max-age=31536000, immutable")
    }
    assert all(headers["Vary"] == "Accept-Encoding" for _, headers, _ in found)
    assert (other[0], other[1]["Cache-Control"], other[2]) == (200, "no-store", found[0][2])
    assert (missing[0], encoded[0], encoded[2]["code"]) == (404, 404, "not_found")
    assert "Content-Encoding" not in plain
    assert (icon[0], icon[1]["Content-Type"]) == (200, "image/svg+xml")


async def test_a_browsers_form_is_answered_with_pages_and_a_programs_with_json(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_MAX_BODY="2048") as service:
        accepted = await service.call("POST", "/email", data=FORM, headers=HTML, allow_redirects=False)
        faulty = await service.call("POST", "/email", data=FORM | {"to": "x", "from": "y"}, headers=HTML)
        large = await service.call("POST", "/email", data=FORM | {"content": "x" * 3000}, headers=HTML)
        program = await service.call("POST", "/email", data=FORM | {"to": "x"})
        wrong = await service.call("POST", "/email", data='{"to": 1}', headers=HTML | {"Content-Type": "text/plain"})

    assert accepted[0] == 303
    assert re.fullmatch(r"/mail/[0-9a-f-]{36}", accepted[1]["Location"])
    assert (faulty[0], program[0], large[0], wrong[0]) == (422, 422, 413, 415)
    assert "must be an address such as ann@example.com" in faulty[2]
    assert "from must be an address such as ann@example.com" in faulty[2]
    assert "The body has more than 2048 bytes" in large[2]
    assert program[2]["errors"][0]["field"] == "to"


async def test_a_wrong_path_does_not_cost_the_connection(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        statuses = [
            (await service.call(method, "/nowhere", data=b"x"))[0] for method in ("POST", "PUT", "DELETE", "GET")
        ]
        status, headers, body = await service.call("HEAD", "/")

    assert statuses == [404] * 4
    assert (status, headers["Content-Type"], body) == (200, "text/html; charset=utf-8", "")


@pytest.mark.parametrize("folder", ["static", "templates"])
async def test_without_the_files_of_the_page_it_says_so_and_does_not_start(tmp_path: Path, folder: str) -> None:
    shutil.copytree(ROOT / "mailsvc", tmp_path / "mailsvc", ignore=shutil.ignore_patterns("__pycache__"))
    for name in {"static", "templates"} - {folder}:
        (tmp_path / name).mkdir()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mailsvc",
        "serve",
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == 78
    assert f"the folder {folder} is missing" in errors.decode()
