"""The page of the suppression list in a real browser: put an address on it, look for it, take it off."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import Visitor, serving
from tests.e2e.test_page_access import faults

pytestmark = pytest.mark.xdist_group(__name__)

KEY = "a-key-nobody-can-guess-0123456789"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("suppressions")) as url:
        yield url


def put(url: str, *addresses: str) -> None:
    """By the API."""
    lines = "\n".join(["address", *addresses]).encode()
    request = urllib.request.Request(f"{url}/suppressions", lines, {"Content-Type": "text/csv"})
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer) == {"stored": len(addresses)}


@pytest.mark.parametrize("scripts", [True, False])
def test_an_address_is_put_on_the_list_found_and_taken_off(visit: Visitor, url: str, scripts: bool) -> None:
    page = visit(url, java_script_enabled=scripts)
    page.get_by_role("link", name="Suppressed").click()
    expect(page.get_by_text("Nobody is on the list.")).to_be_visible()
    page.fill("#address", "Ann+x@Bücher.example")
    page.fill("#reason", "<b>asked</b> for it")
    page.get_by_role("button", name="Suppress").click()
    expect(page.get_by_text("ann+x@xn--bcher-kva.example")).to_be_visible()
    expect(page.get_by_text("<b>asked</b> for it")).to_be_visible()
    page.fill("#wanted", "bob@example.com")
    page.get_by_role("button", name="Look").click()
    expect(page.get_by_text("This address is not on the list.")).to_be_visible()
    page.get_by_role("link", name="Show all").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Nobody is on the list.")).to_be_visible()


def test_a_long_list_is_read_page_by_page(visit: Visitor, tmp_path: Path) -> None:
    with serving(tmp_path) as url:
        put(url, *(f"r+{number:03}@example.com" for number in range(60)))
        page = visit(f"{url}/settings/suppressions")
        expect(page.locator(".entries li")).to_have_count(50)
        page.get_by_role("link", name="Next page").click()
        expect(page.locator(".entries li")).to_have_count(10)
        expect(page.get_by_text("r+050@example.com")).to_be_visible()
        expect(page.get_by_role("link", name="Next page")).to_have_count(0)
        page.close()  # before its server ends, which it would complain of


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_axe_finds_nothing(visit: Visitor, url: str, scheme: str, width: int) -> None:
    visit.expected += ["status of 422"]
    page = visit(f"{url}/settings/suppressions", color_scheme=scheme, viewport={"width": width, "height": 900})
    found = {"empty": faults(page)}
    page.fill("#address", "<script>alert(1)</script>")
    page.get_by_role("button", name="Suppress").click()
    expect(page.locator("#address-fault")).to_be_visible()
    assert page.locator("#address").input_value() == "<script>alert(1)</script>"
    found["faults"] = faults(page)
    page.fill("#address", f"{'long' * 15}@example.com")
    page.get_by_role("button", name="Suppress").click()
    expect(page.get_by_role("button", name="Remove")).to_be_visible()
    found["listed"] = faults(page)
    overflow = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Nobody is on the list.")).to_be_visible()

    assert {state: each for state, each in found.items() if each} == {}
    assert not overflow


def test_with_a_key_the_forms_carry_the_token_of_the_session(visit: Visitor, tmp_path: Path) -> None:
    with serving(tmp_path, MAILSVC_API_KEY=KEY) as url:
        page = visit(f"{url}/settings/suppressions")
        page.fill("#key", KEY)
        page.keyboard.press("Enter")
        page.fill("#address", "ann@example.com")
        page.get_by_role("button", name="Suppress").click()
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_text("Nobody is on the list.")).to_be_visible()
        page.close()  # before its server ends, which it would complain of
