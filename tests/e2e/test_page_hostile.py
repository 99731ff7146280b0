"""What strangers write is text on every page: subjects, names, bodies, and what providers say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import Visitor, faking, serving

pytestmark = pytest.mark.xdist_group(__name__)

IMAGE = "<img src=x onerror=window.hit=1>"
HOSTILE = f"\"'></title></textarea>{IMAGE}<script>window.hit=2</script>{{{{7777*7}}}}{{% raw %}} \u202egnp.exe"
NAME = f"Eve {IMAGE}"
CONTENT = f"{HOSTILE}\n\n[link](javascript:window.hit=3) <svg onload=window.hit=4> [data](data:text/html,x)\n"
HTML = """<h1 onclick="window.hit=5">Hi</h1><script>parent.window.hit=6</script><img src=x onerror=parent.hit=7>
<iframe src="javascript:parent.hit=8"></iframe><form action="https://example.org/"><input name=a></form>
<meta http-equiv=refresh content="0;url=https://example.org/"><link rel=stylesheet href="https://example.org/a.css">
<p style="color: red">Styled</p>"""
WORDS = f"no {IMAGE}<b>{{{{7777*7}}}}</b>"
SAID = f'{{"errors":[{{"message":"{WORDS}"}}]}}'


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("hostile")
    settings = {
        "MAILSVC_FROM": f'"{IMAGE}" <shop@example.com>',
        "SENDGRID_API_KEY": "SG.abc",
        "MANDRILL_API_KEY": "abc",
    }
    with (
        faking(folder) as fake,
        serving(folder, SENDGRID_URL=fake, MANDRILL_URL=fake, MAILSVC_CONCURENCY="1", **settings) as url,
    ):
        yield url, fake


def send(page: Page, url: str, **changes: Any) -> str:
    mail = {"to": f'"{NAME}" <eve@example.com>', "subject": HOSTILE, "content": CONTENT} | changes
    answer = page.request.post(f"{url}/email", data={name: value for name, value in mail.items() if value})
    assert answer.status == 202, answer.text()
    found = page.request.get(f"{url}/email/{answer.json()['id']}?wait=settled").json()
    return str(found["id"])


def nothing_ran(page: Page) -> None:
    assert page.evaluate("window.hit") is None
    assert page.locator("img").count() == 0
    assert page.locator("script:not([src])").count() == 0
    assert page.locator("[onerror], [onload], [onclick], [style]:not(#chart *)").count() == 0
    assert "54439" not in page.content()


def test_hostile_words_are_text_on_every_page(visit: Visitor, servers: tuple[str, str]) -> None:
    url, fake = servers
    page = visit(f"{url}/openapi.json")
    fault = {"kind": "answer", "status": 400, "provider": "sendgrid", "body": SAID}
    assert page.request.post(f"{fake}/_fault", data=fault).ok
    mail_id = send(page, url)
    for path in ("/", f"/mail/{mail_id}", f"/mail/{mail_id}?view=text", f"/mail/{mail_id}?view=headers"):
        page.goto(url + path)
        expect(page.locator("bdi", has_text="gnp.exe").first).to_have_text(HOSTILE)
        if path == "/":
            expect(page.locator("#mails-body .whom bdi").first).to_have_text(NAME)
            expect(page.locator("#provider-sendgrid [data-field=last_error]")).to_contain_text(IMAGE)
            expect(page.locator(".actions bdi")).to_contain_text(IMAGE)
        expect(page.locator("#timeline-body")).to_contain_text(f"400: {WORDS}")
        nothing_ran(page)
    page.goto(f"{url}/mail/{mail_id}?view=source")
    assert page.locator("pre.paper").text_content() == CONTENT
    nothing_ran(page)


def test_hostile_words_come_back_in_the_form_as_text(visit: Visitor, servers: tuple[str, str]) -> None:
    visit.expected.append("status of 422")
    url, _ = servers
    page = visit(url, java_script_enabled=False)
    for name in ("to", "to_name", "subject", "content"):
        page.locator(f"#{name}").fill(HOSTILE)
    page.click("#send-button")

    expect(page.locator("#to-fault")).to_be_visible()
    assert page.locator("#subject").input_value() == HOSTILE
    assert page.locator("#content").input_value() == HOSTILE
    assert page.locator("img").count() == 0
    assert page.locator("#code-1").text_content().count("<script>") >= 2


def test_the_live_page_shows_hostile_words_as_text(visit: Visitor, servers: tuple[str, str]) -> None:
    url, _ = servers
    page = visit(url)
    send(page, url, subject=f"live {HOSTILE}")

    expect(page.locator("#mails-body .subject").first).to_have_text(f"live {HOSTILE}")
    nothing_ran(page)


def test_a_mails_own_html_runs_nothing_and_calls_nobody(visit: Visitor, servers: tuple[str, str]) -> None:
    visit.expected += ["POLICY", "Content Security Policy", "sandboxed", "Blocked script execution"]
    url, _ = servers
    page = visit(f"{url}/openapi.json")
    mail_id = send(page, url, content=None, html=HTML)
    page.goto(f"{url}/mail/{mail_id}")
    frame = page.frame_locator("iframe.paper")

    expect(frame.locator("p")).to_have_css("color", "rgb(255, 0, 0)")
    frame.locator("h1").click()
    nothing_ran(page)
    assert visit.strangers == []
    assert all(frame.url.startswith(url) or frame.url in ("", "about:blank") for frame in page.frames)


def test_the_frames_of_mails_have_a_policy_of_their_own(visit: Visitor, servers: tuple[str, str]) -> None:
    url, _ = servers
    page = visit(f"{url}/openapi.json")
    mail_id = send(page, url)
    headers = page.request.get(f"{url}/mail/{mail_id}/html").headers
    preview = page.request.post(f"{url}/preview", form={"content": "*x*"})

    for policy in (headers["content-security-policy"], preview.headers["content-security-policy"]):
        assert policy.startswith("sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline';")
        assert "frame-ancestors 'self'" in policy
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert "<em>x</em>" in preview.text()


def test_a_misspelt_setting_is_named_on_the_page(visit: Visitor, servers: tuple[str, str]) -> None:
    page = visit(servers[0])
    page.click(".strip summary")

    expect(page.locator(".strip")).to_contain_text("MAILSVC_CONCURENCY is not a setting of mailsvc")
    expect(page.locator(".strip")).to_contain_text("No API key.")
