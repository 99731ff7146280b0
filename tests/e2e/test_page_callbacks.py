"""The page of callbacks in a real browser: add one, see its secret once, test it, look at its log; scripts or none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import Visitor, serving
from tests.e2e.test_page_access import faults

pytestmark = pytest.mark.xdist_group(__name__)

KEY = "a-key-nobody-can-guess-0123456789"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("callbacks"), MAILSVC_CALLBACK_ALLOW="127.0.0.1") as url:
        yield url


@pytest.fixture(scope="module")
def application() -> Iterator[tuple[str, list[str]]]:
    """Takes everything: its URL, and the types of the events that came."""
    came: list[str] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["type"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hooks", came
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_callback_is_added_tested_and_removed(
    visit: Visitor, url: str, application: tuple[str, list[str]], scripts: bool
) -> None:
    where, came = application
    came.clear()
    page = visit(url, java_script_enabled=scripts)
    page.get_by_role("link", name="Callbacks").click()
    page.fill("#url", where)
    page.fill("#description", "The shop")
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#secret")).to_contain_text("whsec_")
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("callback.test")).to_be_visible()
    expect(page.get_by_text("taken")).to_be_visible()
    expect(page.locator("#secret")).to_have_count(0)
    with page.expect_navigation():
        page.get_by_role("button", name="Tell again").first.click()
    page.get_by_role("button", name="Switch off").click()
    expect(page.get_by_text("off since")).to_be_visible()
    page.get_by_role("button", name="Switch on").click()
    expect(page.get_by_role("button", name="Switch off")).to_be_visible()
    page.get_by_role("link", name="All callbacks").click()
    expect(page.get_by_text("The shop")).to_be_visible()
    page.get_by_role("link", name=where).click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("There is no callback yet.")).to_be_visible()

    assert came[0] == "callback.test"


def test_a_url_that_may_not_be_is_told_beside_its_field_and_stays_in_it(visit: Visitor, url: str) -> None:
    visit.expected += ["status of 422"]
    page = visit(f"{url}/settings/callbacks")
    page.fill("#url", "https://10.0.0.1/<script>alert(1)</script>")
    page.get_by_role("button", name="Add").click()

    expect(page.locator("#url-fault")).to_contain_text("must")
    assert page.locator("#url").input_value() == "https://10.0.0.1/<script>alert(1)</script>"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_axe_finds_nothing(
    visit: Visitor, url: str, application: tuple[str, list[str]], scheme: str, width: int
) -> None:
    visit.expected += ["status of 422"]
    page = visit(f"{url}/settings/callbacks", color_scheme=scheme, viewport={"width": width, "height": 900})
    found = {"empty": faults(page)}
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#url-fault")).to_be_visible()
    found["faults"] = faults(page)
    page.fill("#url", application[0])
    page.get_by_role("button", name="Add").click()
    expect(page.locator("#secret")).to_be_visible()
    found["made"] = faults(page)
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("callback.test")).to_be_visible()
    found["tested"] = faults(page)
    page.goto(f"{url}/settings/callbacks")
    found["listed"] = faults(page)
    overflow = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    page.get_by_role("link", name=application[0]).click()
    with page.expect_navigation():  # a browser does not like to be closed in the middle of one
        page.get_by_role("button", name="Remove").click()

    assert {state: each for state, each in found.items() if each} == {}
    assert not overflow


def test_with_a_key_the_forms_carry_the_token_of_the_session(visit: Visitor, tmp_path: Path) -> None:
    with serving(tmp_path, MAILSVC_API_KEY=KEY) as url:
        page = visit(f"{url}/settings/callbacks")
        page.fill("#key", KEY)
        page.keyboard.press("Enter")
        page.fill("#url", "https://example.com/hooks")
        page.get_by_role("button", name="Add").click()
        expect(page.locator("#secret")).to_contain_text("whsec_")
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_text("There is no callback yet.")).to_be_visible()
        page.close()  # before its server ends, which it would complain of
