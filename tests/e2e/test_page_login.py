"""Logging in to the page: the cookie, the token of forms, and what each of them is not enough for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import unquote

import pytest
from playwright.sync_api import TimeoutError as TooLate
from playwright.sync_api import expect

from tests.e2e.browser import Visitor, serving

pytestmark = pytest.mark.xdist_group(__name__)

KEY = "a-key-nobody-can-guess-0123456789"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("login"), MAILSVC_API_KEY=KEY) as url:
        yield url


def test_a_person_logs_in_sends_a_mail_and_logs_out(visit: Visitor, url: str) -> None:
    visit.expected.append("status of 401")
    page = visit(f"{url}/inbox")
    assert unquote(page.url) == f"{url}/login?next=/inbox"
    page.fill("#key", "not the key")
    page.keyboard.press("Enter")
    expect(page.locator("#key-fault")).to_have_text("This is not the key.")
    expect(page.locator("#key")).to_be_focused()
    page.fill("#key", KEY)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Sandbox inbox")

    page.click("text=Overview")
    page.click("#send-button")
    expect(page.locator("#timeline-body .step.last")).to_contain_text("Sent")
    page.locator("#provider-capture button").click()
    expect(page.locator("#provider-capture .state")).to_have_text("paused")
    page.locator("#provider-capture button").click()
    expect(page.locator("#provider-capture .state")).to_have_text("open")
    page.click("label[for=pane-preview]")
    expect(page.frame_locator("iframe[name=preview-frame]").locator("strong")).to_have_text("Ann")

    kept = page.context.cookies()
    page.click("text=Log out")
    expect(page.locator("h1")).to_have_text("Log in")
    assert page.context.cookies() == []
    page.context.add_cookies(kept)
    page.goto(url)
    expect(page.locator("h1")).to_have_text("Log in")


def test_the_form_works_with_a_login_and_without_scripts(visit: Visitor, url: str) -> None:
    page = visit(url, java_script_enabled=False)
    page.fill("#key", KEY)
    page.keyboard.press("Enter")
    page.click("#send-button")

    expect(page.locator("h1")).to_have_text("Your order has shipped")
    assert re.fullmatch(rf"{url}/mail/[0-9a-f-]{{36}}", page.url)


def test_a_page_that_was_open_when_the_session_ended_leads_to_the_login(visit: Visitor, url: str) -> None:
    visit.expected.append("status of 401")
    page = visit(url)
    page.fill("#key", KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#send-button")).to_be_visible()
    page.context.clear_cookies()
    with suppress(TooLate):  # one of the page's own requests may find out first, and then there is no button
        page.click("#send-button", timeout=5000)

    expect(page.locator("h1")).to_have_text("Log in")
