"""The description of the API in a real browser, with the strict policy of all pages, and tried out there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import Visitor, serving
from tests.e2e.test_keys import FIRST

pytestmark = pytest.mark.xdist_group(__name__)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("docs"), MAILSVC_API_KEY=FIRST) as url:
        yield url


def test_every_route_is_shown_without_anybody_elses_host(visit: Visitor, url: str) -> None:
    page = visit(f"{url}/docs")

    for path in ("/email", "/email/{id}", "/providers", "/keys"):
        expect(page.locator(f'[data-path="{path}"]').first).to_be_visible()
    paths = [text.replace("\u200b", "") for text in page.locator(".opblock-summary-path").all_text_contents()]
    assert {"/email", "/email/{id}", "/providers", "/keys"} <= set(paths)


def test_a_mail_can_be_sent_from_there_with_a_key(visit: Visitor, url: str) -> None:
    page = visit(f"{url}/docs")
    page.click(".btn.authorize")
    page.fill(".auth-container input", FIRST)
    page.click(".auth-btn-wrapper .authorize")
    page.click(".auth-btn-wrapper .btn-done")
    block = page.locator(".opblock-post", has=page.locator('[data-path="/email"]')).first
    block.locator(".opblock-summary-control").click()
    block.locator(".try-out__btn").click()
    block.locator(".body-param__text").fill('{"to": "ann@example.com", "subject": "Hi", "text": "hi"}')
    block.locator(".execute").click()

    expect(block.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("202")
    expect(block.locator(".live-responses-table")).to_contain_text("queued")
