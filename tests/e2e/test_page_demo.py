"""The live rehearsal: knobs, scores that fall, failover, and the return."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browser import Visitor, serving

pytestmark = pytest.mark.xdist_group(__name__)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Tests name it before `visit`, so that the pages are closed before the server ends."""
    with serving(tmp_path, "--demo") as url:
        yield url
    assert [path.name for path in tmp_path.iterdir()] == ["errors.log"]


def turn(page: Page, provider: str, **knobs: str) -> None:
    for name, value in knobs.items():
        with page.expect_response(f"**/rehearsal/providers/{provider}"):
            page.locator(f"#provider-{provider} [name={name}]").fill(value)
            page.keyboard.press("Tab")


def number(place: Locator) -> float:
    return float(place.inner_text())


def test_a_provider_that_fails_is_left_and_comes_back(url: str, visit: Visitor) -> None:
    page = visit(url)
    page.select_option("#rate", "20")
    page.click("text=Start the stream")
    alpha, beta = page.locator("#provider-alpha"), page.locator("#provider-beta")
    expect(alpha.locator("[data-field=sent]")).not_to_have_text("0")

    turn(page, "alpha", failing="100")
    expect(alpha.locator(".state")).to_have_text("benched")
    expect(alpha.locator("[data-field=reason]")).to_contain_text("benched for")
    expect(alpha.locator("[data-error]")).to_contain_text("503: out of order, says the rehearsal")
    expect(beta.locator("[data-field=sent]")).not_to_have_text("0")
    while number(alpha.locator("[data-field=score]")) >= 40:
        page.wait_for_timeout(50)

    turn(page, "alpha", failing="0")
    expect(alpha.locator(".state")).to_have_text("open", timeout=60_000)
    expect(page.locator(".health")).to_contain_text("all 3 providers open")
    page.click("text=Stop")
    expect(page.locator("#stream-words")).to_contain_text("ended")
    expect(page.locator(".badge")).to_have_text("REHEARSAL")


def test_a_limit_and_a_hang_are_told_in_the_mails_story(url: str, visit: Visitor) -> None:
    page = visit(url)
    turn(page, "alpha", limit="1")
    page.locator("#provider-beta [name=hang]").check()
    for subject in ("first", "second"):
        page.fill("#subject", subject)
        page.click("#send-button")
        expect(page.locator("#timeline-body .mail-subject")).to_have_text(subject)

    story = page.locator("#timeline-body")
    expect(story).to_contain_text("alpha gets too many mails")
    expect(story).to_contain_text("429: too many mails, says the rehearsal")
    expect(page.locator("#provider-alpha .state")).to_have_text("closed")
    expect(story).to_contain_text("beta did not answer")
    expect(story.locator(".chip")).to_have_text("uncertain")
    expect(story).to_contain_text("next try at")
    story.locator("text=It went out").click()
    expect(page.locator("#timeline-body .chip")).to_have_text("sent")
    expect(page.locator("#timeline-body")).to_contain_text("doubt settled by hand")
    assert "/mail/" in page.url


def test_the_knobs_work_without_scripts(url: str, visit: Visitor) -> None:
    page = visit(url, java_script_enabled=False)
    alpha = page.locator("#provider-alpha")
    alpha.locator("[name=failing]").fill("35")
    alpha.locator("[name=limit]").fill("7")
    alpha.locator("text=Apply").click()

    expect(page).to_have_url(f"{url}/#rehearsal")
    expect(alpha.locator("[name=failing]")).to_have_value("35")
    expect(alpha.locator("[name=limit]")).to_have_value("7")
    page.click("text=Start the stream")
    expect(page.locator("#stream-words")).to_contain_text("of 600 mails sent")


def test_a_knob_that_is_not_named_stays_as_it_is(url: str, visit: Visitor) -> None:
    request = visit(url).request
    request.post(f"{url}/rehearsal/providers/alpha", form={"failing": "40", "hang": "1"})
    told = request.post(f"{url}/rehearsal/providers/alpha", form={"latency": "300"}).json()["providers"]["alpha"]

    assert told == {"failing": 40, "latency": 300, "limit": 0, "hang": True}


def test_knobs_are_checked(url: str, visit: Visitor) -> None:
    request = visit(url).request
    too_much = request.post(f"{url}/rehearsal/providers/alpha", form={"failing": "101"})
    unknown = request.post(f"{url}/rehearsal/providers/alpha", form={"mood": "1"})
    nobody = request.post(f"{url}/rehearsal/providers/delta", form={"failing": "1"})
    many = request.post(f"{url}/rehearsal/stream", form={"rate": "1000"})

    assert [answer.status for answer in (too_much, unknown, nobody, many)] == [422, 422, 404, 422]
    assert request.get(f"{url}/rehearsal").json()["stream"] is None
