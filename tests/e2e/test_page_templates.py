"""The page of the templates in a real browser: what there is, what each says, and what it makes of variables."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.browser import Visitor, serving
from tests.e2e.test_page_access import faults

pytestmark = pytest.mark.xdist_group(__name__)

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> {{ name }}"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("templates")) as url:
        for name, parts in {
            "welcome": {"subject": "Hi {{ name }}", "content": "Hello **{{ name }}**"},
            "hostile": {"subject": HOSTILE, "html": HOSTILE, "text": HOSTILE},
        }.items():
            headers = {"Content-Type": "application/json"}
            put = urllib.request.Request(f"{url}/templates/{name}", json.dumps(parts).encode(), headers, method="PUT")
            with urllib.request.urlopen(put) as answer:
                assert answer.status == 200
        yield url


@pytest.mark.parametrize("scripts", [True, False])
def test_a_template_is_looked_at_and_tried_out(visit: Visitor, url: str, scripts: bool) -> None:
    page = visit(url, java_script_enabled=scripts)
    page.get_by_role("link", name="Templates").click()
    page.get_by_role("link", name="welcome").click()
    expect(page.get_by_label("The content of the template")).to_have_text("Hello **{{ name }}**")
    expect(page.get_by_label("Variables")).to_have_value('{\n  "name": "name"\n}')
    shown = page.frame_locator("iframe[name=template-frame]")
    page.get_by_label("Variables").fill('{"name": "<b>Ann"}')
    page.get_by_role("button", name="HTML").click()
    expect(shown.locator("strong")).to_have_text("<b>Ann")
    page.get_by_role("button", name="Subject and text").click()
    expect(shown.locator("pre")).to_have_text("Hi <b>Ann\n\nHello **<b>Ann**")
    for given, words in {"{}": "variables.name is needed", "x": "must be an object of JSON"}.items():
        page.get_by_label("Variables").fill(given)
        page.get_by_role("button", name="HTML").click()
        expect(shown.get_by_text(words)).to_be_visible()


@pytest.mark.parametrize("width", [1280, 375])
def test_axe_finds_nothing_and_hostile_templates_run_nothing(visit: Visitor, url: str, width: int) -> None:
    visit.expected += ["Content Security Policy", "Blocked script execution", "POLICY img-src"]
    page = visit(f"{url}/settings/templates", viewport={"width": width, "height": 900})
    found = {"list": faults(page)}
    page.goto(f"{url}/settings/templates?name=hostile")
    expect(page.get_by_label("The html of the template")).to_have_text(HOSTILE)
    page.get_by_role("button", name="HTML").click()
    expect(page.frame_locator("iframe[name=template-frame]").get_by_text("name")).to_be_visible()
    found["chosen"] = faults(page)
    overflow = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")

    assert {state: each for state, each in found.items() if each} == {}
    assert not overflow
