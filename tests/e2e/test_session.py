"""Sessions over HTTP: what the cookie is, what a form must bring, and what neither of them allows."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.process import FORM, Mailsvc

KEY = "a-key-nobody-can-guess-0123456789"
HTML = {"Accept": "text/html"}


async def logged_in(service: Mailsvc, **headers: str) -> tuple[str, str, str]:
    """The cookie as it is sent back, the token of its forms, and how the cookie was set."""
    status, answered, _ = await service.call(
        "POST", "/login", data={"key": KEY, "next": "/"}, headers=headers, allow_redirects=False
    )
    assert (status, answered["Location"]) == (303, "/")
    cookie = answered["Set-Cookie"].partition(";")[0]
    _, _, page = await service.call("GET", "/", headers=HTML | {"Cookie": cookie})
    token = re.search(r'name="_xsrf" value="([0-9a-f]{64})"', page)
    assert token
    return cookie, token[1], answered["Set-Cookie"]


async def test_the_cookie_is_out_of_reach_and_holds_no_key(tmp_path: Path) -> None:
    https = {"X-Forwarded-Proto": "https"}
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY, MAILSVC_TRUSTED_PROXIES="127.0.0.1") as service:
        cookie, _, plain = await logged_in(service)
        _, _, secure = await logged_in(service, **https)

    assert KEY not in cookie
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} <= set(plain.split("; "))
    assert "Secure" not in plain.split("; ")
    assert "Secure" in secure.split("; ")


async def test_with_an_https_address_the_cookie_is_always_secure(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY, MAILSVC_PUBLIC_URL="https://mail.example.com") as service:
        _, _, cookie = await logged_in(service)

    assert "Secure" in cookie.split("; ")


async def test_what_the_cookie_changes_needs_the_token_of_a_form(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        cookie, token, _ = await logged_in(service)
        session = {"Cookie": cookie}

        async def post(path: str = "/email", **how: object) -> int:
            status, _, _ = await service.call("POST", path, allow_redirects=False, **how)
            return status

        assert await post(json=FORM, headers=session) == 403
        assert await post(data=FORM, headers=session) == 403
        assert await post(data=FORM, headers=session | HTML) == 403
        assert await post(data=FORM | {"_xsrf": "0" * 64}, headers=session | HTML) == 403
        assert await post("/providers/capture/pause", headers=session) == 403
        assert await post("/logout", headers=session) == 403
        assert (await service.call("GET", "/email", headers=session))[2]["data"] == []

        assert await post(json=FORM, headers=session | {"X-XSRF-Token": token}) == 202
        assert await post(data=FORM | {"_xsrf": token}, headers=session | HTML) == 303
        assert await post("/providers/capture/pause", headers=session | {"X-XSRF-Token": token}) == 200
        foreign = {"X-XSRF-Token": token, "Origin": "https://evil.example"}
        assert await post(json=FORM, headers=session | foreign) == 403
        other, _, _ = await logged_in(service)
        assert await post(json=FORM, headers={"Cookie": other, "X-XSRF-Token": token}) == 403


async def test_a_key_in_the_header_needs_no_token_and_goes_before_the_cookie(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        cookie, token, _ = await logged_in(service)
        bearer = {"Authorization": f"Bearer {KEY}"}
        with_key, _, _ = await service.call("POST", "/email", json=FORM, headers=bearer)
        wrong, _, _ = await service.call(
            "POST",
            "/email",
            json=FORM,
            headers={"Authorization": "Bearer wrong", "Cookie": cookie, "X-XSRF-Token": token},
        )

    assert (with_key, wrong) == (202, 401)


@pytest.mark.parametrize("change", ["expiry", "signature", "nothing", "key"])
async def test_a_cookie_that_was_not_made_here_is_none(tmp_path: Path, change: str) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        cookie, _, _ = await logged_in(service)
        name, value = cookie.split("=", 1)
        expiry, rest = value.split(".", 1)
        forged = {
            "expiry": f"{int(expiry, 16) + 1:x}.{rest}",
            "signature": value[:-1] + ("0" if value[-1] != "0" else "1"),
            "nothing": "",
            "key": KEY,
        }[change]
        api, headers, _ = await service.call("GET", "/email", headers={"Cookie": f"{name}={forged}"})
        page, where, _ = await service.call(
            "GET", "/", headers=HTML | {"Cookie": f"{name}={forged}"}, allow_redirects=False
        )

    assert (api, page, where["Location"]) == (401, 303, "/login?next=%2F")
    assert headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_session_outlives_a_restart_but_not_another_key(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        cookie, _, _ = await logged_in(service)
        service.terminate()
        await service.ended()
        await service.start()
        same, _, _ = await service.call("GET", "/email", headers={"Cookie": cookie})
        service.terminate()
        await service.ended()
        service.settings["MAILSVC_API_KEY"] = KEY + "2"
        await service.start()
        other, _, _ = await service.call("GET", "/email", headers={"Cookie": cookie})

    assert (same, other) == (200, 401)


async def test_guesses_are_bounded(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        statuses = [(await service.call("POST", "/login", data={"key": f"guess {number}"}))[0] for number in range(11)]
        status, headers, page = await service.call("POST", "/login", data={"key": KEY}, allow_redirects=False)
        api, _, _ = await service.call("GET", "/email", headers={"Authorization": f"Bearer {KEY}"})

    assert statuses == [401] * 10 + [429]
    assert status == 429
    assert 1 <= int(headers["Retry-After"]) <= 60
    assert "too many wrong keys" in page
    assert api == 200


@pytest.mark.parametrize("target", ["//evil.example/x", "https://evil.example", "/\\evil.example", "evil", "/a\nb"])
async def test_a_login_leads_nowhere_else(tmp_path: Path, target: str) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        _, _, page = await service.call("GET", f"/login?next={quote(target)}")
        _, headers, _ = await service.call("POST", "/login", data={"key": KEY, "next": target}, allow_redirects=False)

    assert headers["Location"] == "/"
    assert "evil" not in page


async def test_a_login_from_another_sites_page_is_refused(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        status, headers, _ = await service.call(
            "POST", "/login", data={"key": KEY}, headers={"Origin": "https://evil.example"}, allow_redirects=False
        )

    assert status == 403
    assert "Set-Cookie" not in headers


async def test_every_page_wants_a_login_and_every_program_a_key(tmp_path: Path) -> None:
    paths = ["/", "/inbox", "/events", "/providers/scores", "/parts/mails", "/parts/health", "/parts/scores"]
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        found = [(await service.call("GET", path, allow_redirects=False))[0] for path in paths]
        preview, _, _ = await service.call("POST", "/preview", data={"content": "x"})
        login, _, _ = await service.call("GET", "/login")

    assert found == [401] * len(paths)
    assert (preview, login) == (401, 200)


async def test_an_open_server_has_no_login_and_no_token(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        status, headers, _ = await service.call("GET", "/login", allow_redirects=False)
        _, _, page = await service.call("GET", "/")
        foreign, _, _ = await service.call(
            "POST", "/email", data=FORM, headers=HTML | {"Origin": "null"}, allow_redirects=False
        )

    assert (status, headers["Location"]) == (303, "/")
    assert "_xsrf" not in page
    assert foreign == 403
