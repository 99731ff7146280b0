"""Who cannot see, cannot hold a mouse, has a small screen or no scripts, can use the page all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import Visitor, serving

pytestmark = pytest.mark.xdist_group(__name__)

KEY = "a-key-nobody-can-guess-0123456789"
AXE = (Path(__file__).parent / "vendor/axe-core/axe.min.js").read_text()
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("access"), "--demo") as url:
        yield url


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("locked"), MAILSVC_API_KEY=KEY) as url:
        yield url


def faults(page: Page) -> list[str]:
    """What axe finds, each as rule, place and reason."""
    page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate("(rules) => axe.run(document, rules)", RULES)
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def fill_the_house(page: Page, url: str) -> str:
    """A sent mail, a paused provider, one that fails; the mail's id."""
    page.request.post(f"{url}/rehearsal/providers/alpha", form={"failing": "100"})
    page.request.post(f"{url}/providers/gamma/pause")
    mail = {"to": "Ann <ann@example.com>", "subject": "Hello", "content": "# Hi\n\n[a link](https://example.com)"}
    mail_id = page.request.post(f"{url}/email", form=mail).json()["id"]
    page.request.get(f"{url}/email/{mail_id}?wait=settled")
    return str(mail_id)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_axe_finds_nothing(visit: Visitor, demo: str, scheme: str, width: int) -> None:
    visit.expected += ["status of 404", "status of 422"]
    page = visit(demo, color_scheme=scheme, viewport={"width": width, "height": 900}, reduced_motion="reduce")
    mail_id = fill_the_house(page, demo)
    found: dict[str, list[str]] = {}
    for path in ("/", f"/mail/{mail_id}?view=headers", "/inbox", "/nowhere"):
        page.goto(demo + path)
        for summary in page.locator("summary").all():
            summary.click()
        found[path] = faults(page)
    page.goto(demo)
    page.fill("#to", "nonsense")
    page.click("#send-button")
    expect(page.locator("#to-fault")).to_be_visible()
    found["faults"] = faults(page)

    assert {path: each for path, each in found.items() if each} == {}
    assert len(found) == 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_at_the_login(visit: Visitor, locked: str, scheme: str) -> None:
    visit.expected.append("status of 401")
    page = visit(f"{locked}/login", color_scheme=scheme, viewport={"width": 375, "height": 700})
    page.fill("#key", "wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-fault")).to_be_visible()

    assert faults(page) == []


@pytest.mark.parametrize("path", ["/", "/inbox", "/mail", "/nowhere"])
def test_nothing_is_wider_than_a_small_screen(visit: Visitor, demo: str, path: str) -> None:
    visit.expected.append("status of 404")
    page = visit(demo, viewport={"width": 320, "height": 640})
    mail_id = fill_the_house(page, demo)
    page.goto(demo + (f"/mail/{mail_id}" if path == "/mail" else path))
    for summary in page.locator("summary").all():
        summary.click()

    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_every_target_is_large_enough(visit: Visitor, demo: str) -> None:
    page = visit(demo, viewport={"width": 375, "height": 900})
    fill_the_house(page, demo)
    page.reload()
    small = page.evaluate(
        """() => [...document.querySelectorAll('button, summary, select, nav a, .mails a, input:not([type=hidden])')]
        .filter((each) => each.offsetParent && !each.closest('.tabs') && getComputedStyle(each).opacity !== '0')
        .map((each) => [each.outerHTML.slice(0, 80), each.getBoundingClientRect().height])
        .filter(([, height]) => height < 24)"""
    )

    assert [each for each in small if "checkbox" not in each[0]] == []


def test_the_keyboard_is_enough(visit: Visitor, demo: str) -> None:
    page = visit(demo)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#to")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("keys@example.com")
    page.locator("#subject").focus()
    page.keyboard.press("Enter")

    expect(page.locator("#timeline-body")).to_contain_text("Accepted")
    expect(page.locator("#mails-body")).to_contain_text("to Ann Lee")
    ring = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert ring == "2px"


def test_without_scripts_the_form_leads_to_the_mail(visit: Visitor, demo: str) -> None:
    page = visit(demo, java_script_enabled=False)
    page.fill("#subject", "By hand")
    page.click("#send-button")

    expect(page.locator("h1")).to_have_text("By hand")
    page.reload()
    expect(page.locator(".timeline")).to_contain_text("Accepted")
    expect(page.frame_locator("iframe.paper").locator("strong")).to_have_text("Ann")
    source = page.request.get(page.url + "?view=source").text()
    assert "Hello **Ann**,\n\nyour order" in source


def test_without_scripts_faults_come_back_beside_their_fields(visit: Visitor, demo: str) -> None:
    visit.expected.append("status of 422")
    page = visit(demo, java_script_enabled=False)
    page.fill("#to", "ann@example.com, bob@example.com")
    page.fill("#content", "")
    page.fill("#subject", "Kept as it was")
    page.click("#send-button")

    expect(page.locator("#to-fault")).to_contain_text("must hold one address")
    expect(page.locator("#content-fault")).to_contain_text("is required, or html, or text")
    expect(page.locator("#to")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#to")).to_be_focused()
    assert page.locator("#subject").input_value() == "Kept as it was"
    assert page.url == f"{demo}/email"


def test_a_form_sent_twice_by_a_double_click_makes_one_mail(visit: Visitor, demo: str) -> None:
    page = visit(demo, java_script_enabled=False)
    once = page.locator("[name=_once]").get_attribute("value")
    form = {"to": "ann@example.com", "subject": "Once", "content": "x", "_once": str(once)}
    headers = {"Accept": "text/html"}
    places = [
        page.request.post(f"{demo}/email", form=form, headers=headers, max_redirects=0).headers["location"]
        for _ in range(2)
    ]
    changed = page.request.post(
        f"{demo}/email", form=form | {"subject": "Changed"}, headers=headers, max_redirects=0
    ).headers["location"]

    assert places[0] == places[1] != changed
