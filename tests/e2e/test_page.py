"""The page in a real browser: send, watch, look at the providers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import Visitor, faking, serving

pytestmark = pytest.mark.xdist_group(__name__)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("page")) as url:
        yield url


def fill(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.locator(f"#{name}").fill(value)


def test_a_mail_sent_by_the_form_goes_its_way_before_the_readers_eyes(visit: Visitor, url: str) -> None:
    page = visit(url)
    fill(page, to="eve@example.com", to_name="Eve", subject="Watch me")
    page.click("#send-button")

    expect(page.locator("#timeline-body .step")).to_have_count(3)
    expect(page.locator("#timeline-body")).to_contain_text("capture accepted it")
    expect(page.locator("#timeline-body .step.last")).to_contain_text("Sent: kept here, not sent")
    expect(page.locator("#mails-body li").first).to_contain_text("Watch me")
    expect(page.locator("#mails-body li .chip").first).to_have_text("sent")
    expect(page.locator("#spoken")).to_contain_text("Sent")
    assert page.url == f"{url}/"


def test_failover_is_told_with_the_reason_for_each_choice(visit: Visitor, tmp_path: Path) -> None:
    settings = {"MAILSVC_FROM": "shop@example.com", "SENDGRID_API_KEY": "SG.abcdef", "MANDRILL_API_KEY": "abcdef"}
    with faking(tmp_path) as fake:
        settings |= {"SENDGRID_URL": fake, "MANDRILL_URL": fake}
        with serving(tmp_path, **settings) as url:
            page = visit(url)
            fault = {"kind": "answer", "status": 503, "provider": "sendgrid"}
            assert page.request.post(f"{fake}/_fault", data=fault).ok
            fill(page, to="ann@example.com", subject="Hello", content="Hi")
            page.click("#send-button")

            steps = page.locator("#timeline-body .step")
            expect(steps.nth(1)).to_contain_text("sendgrid was down")
            expect(steps.nth(1)).to_contain_text("503")
            expect(steps.nth(1)).to_contain_text("score 50.0 → 4")
            expect(steps.nth(2)).to_contain_text("mandrill accepted it")
            expect(steps.last).to_contain_text("Sent: a provider has accepted it")
            steps.nth(2).locator("summary").click()
            expect(steps.nth(2)).to_contain_text("sendgrid had been tried")
            expect(steps.nth(2).locator("tbody tr")).to_have_count(2)
            expect(page.locator(".badge")).to_have_text("LIVE")
            expect(page.locator("#provider-sendgrid [data-field=failed]")).to_have_text("1")
            expect(page.locator("#provider-sendgrid [data-error]")).to_contain_text("503")
            page.close()


def test_the_preview_is_made_by_the_server(visit: Visitor, url: str) -> None:
    page = visit(url)
    fill(page, content="# Big\n\n<script>parent.hit = 1</script>\n\n[go](javascript:parent.hit=1) | a | b |")
    page.click("label[for=pane-preview]")
    frame = page.frame_locator("iframe[name=preview-frame]")

    expect(frame.locator("h1")).to_have_text("Big")
    assert page.evaluate("window.hit") is None
    assert page.evaluate("history.length") <= 2


@pytest.mark.parametrize("language", ["curl", "Python", "JavaScript"])
def test_the_request_that_can_be_copied_sends_the_same_mail(visit: Visitor, url: str, language: str) -> None:
    hostile = 'It\'s "quoted", $HOME `id` \\n %s {{7*7}} \u202e é 😀'
    page = visit(url)
    fill(page, to="eve@example.com", to_name="O'Hara", subject=hostile, content=f"{hostile}\n\nline two\\")
    page.click(f"#requests label:text-is('{language}')")
    code = page.locator(".code:visible code")
    expect(code).to_contain_text("line two")
    if language == "JavaScript":
        page.evaluate(f"async () => {{ {code.text_content()} }}")
    else:
        command = ["bash", "-c"] if language == "curl" else [sys.executable, "-c"]
        done = subprocess.run([*command, code.text_content() or ""], capture_output=True, text=True, check=False)
        assert '"status":"queued"' in done.stdout, done.stderr

    expect(page.locator("#mails-body li .subject").first).to_have_text(hostile)
    page.locator("#mails-body li a").first.click()
    page.wait_for_url("**/mail/*")
    page.click("text=Markdown")
    assert page.locator("pre.paper").text_content() == f"{hostile}\n\nline two\\"


def test_faults_stand_beside_their_fields_and_nothing_typed_is_lost(visit: Visitor, url: str) -> None:
    visit.expected.append("status of 422")
    page = visit(url)
    fill(page, to="nonsense", subject="", content="typed")
    page.click("#send-button")

    expect(page.locator("#to-fault")).to_have_text("must be an address such as ann@example.com")
    expect(page.locator("#subject-fault")).to_contain_text("is required")
    expect(page.locator("#to")).to_be_focused()
    expect(page.locator("#content")).to_have_value("typed")
    expect(page.locator("#to_name-fault")).to_be_hidden()

    fill(page, to="ann@example.com", subject="mended")
    page.click("#send-button")
    expect(page.locator("#to-fault")).to_be_hidden()
    expect(page.locator("#timeline-body .mail-subject")).to_have_text("mended")


def test_a_provider_is_paused_and_resumed_by_hand(visit: Visitor, url: str) -> None:
    page = visit(url)
    row = page.locator("#provider-capture")
    row.locator("button").click()

    expect(row.locator(".state")).to_have_text("paused")
    expect(row.locator("[data-field=reason]")).to_have_text("paused by hand")
    expect(page.locator(".health")).to_contain_text("the only provider is not open")
    row.locator("button").click()
    expect(row.locator(".state")).to_have_text("open")
    expect(page.locator(".health")).to_contain_text("capture is open")


def test_the_list_of_mails_can_be_filtered(visit: Visitor, url: str) -> None:
    page = visit(url)
    fill(page, to="rare@example.com", subject="A rare one", content="x")
    page.click("#send-button")
    expect(page.locator("#timeline-body .step.last")).to_contain_text("Sent")
    page.fill("#filter-to", "RARE@example.com")
    page.click("#filter button")

    expect(page.locator("#mails-body li")).to_have_count(1)
    page.reload()
    expect(page.locator("#mails-body li .subject")).to_have_text(["A rare one"])
    page.select_option("#filter-status", "failed")
    expect(page.locator("#mails-body")).to_contain_text("No mail fits this filter")


def test_a_captured_mail_is_shown_as_html_text_and_headers(visit: Visitor, url: str) -> None:
    page = visit(url)
    fill(page, to="eve@example.com", to_name="Eve", subject="Kept", content="Some **bold** words")
    page.click("#send-button")
    expect(page.locator("#timeline-body .mail-subject")).to_have_text("Kept")
    page.click("text=See it as it arrives")

    expect(page.locator("#message-title")).to_have_text("Kept")
    expect(page.frame_locator("iframe.paper").locator("strong")).to_have_text("bold")
    page.click(".views >> text=Text")
    expect(page.locator("pre.paper")).to_have_text("Some **bold** words")
    page.click(".views >> text=Headers")
    expect(page.locator(".headers")).to_contain_text("Eve <eve@example.com>")
    expect(page.locator(".headers")).to_contain_text("@example.invalid>")


def test_all_that_a_mail_carries_is_shown_and_when_it_is_to_be_sent(visit: Visitor, url: str) -> None:
    hostile, later = "<b>x</b>", datetime.now(UTC) + timedelta(days=90)
    mail = {
        "to": "eve@example.com",
        "cc": "cleo@example.com",
        "reply_to": "answers@example.com",
        "subject": "Everything",
        "text": "hi",
        "headers": {"X-Order": hostile},
        "tags": [hostile],
        "metadata": {"order": hostile},
        "attachments": [{"filename": "<b>.pdf", "content": "JVBERg=="}],
        "send_at": f"{later:%Y-%m-%d}T12:00:00Z",
    }
    page = visit(url)
    answer = page.request.post(f"{url}/email", data=mail)
    page.goto(f"{url}/mail/{answer.json()['id']}?view=headers")

    expect(page.locator("#timeline-body")).to_contain_text(f"to be sent {later.day} {later:%b %Y}")
    expect(page.locator(".recipients")).to_contain_text("cleo@example.com cc")
    expect(page.locator(".envelope")).to_contain_text("<b>.pdf")
    for words in ("cleo@example.com", "answers@example.com", hostile, "multipart/mixed"):
        expect(page.locator("#message .headers")).to_contain_text(words)
    expect(page.locator("[aria-labelledby=facts-title] bdi", has_text=hostile)).to_have_count(2)
    page.click("text=Cancel it")
    expect(page.locator("#timeline-body")).to_contain_text("canceled")


def test_a_mail_that_failed_is_sent_again_by_a_click(visit: Visitor, tmp_path: Path) -> None:
    settings = {"MAILSVC_FROM": "shop@example.com", "SENDGRID_API_KEY": "SG.abcdef"}
    with faking(tmp_path) as fake, serving(tmp_path, SENDGRID_URL=fake, **settings) as url:
        page = visit(url)
        assert page.request.post(f"{fake}/_fault", data={"kind": "answer", "status": 400, "provider": "sendgrid"}).ok
        fill(page, to="ann@example.com", subject="Hello", content="Hi")
        page.click("#send-button")
        expect(page.locator("#timeline-body .step.last")).to_contain_text("Failed: given up")
        expect(page.locator("#mails-body .counts p")).to_contain_text("1 failed")
        assert page.request.delete(f"{fake}/_fault").ok
        page.click("#timeline-body >> text=Send it again")

        expect(page.locator("#timeline-body .step.last")).to_contain_text("Sent: a provider has accepted it")
        expect(page.locator("#timeline-body")).to_contain_text("retried")
        assert "/mail/" in page.url
        page.close()


def test_a_scheduled_mail_is_canceled_by_a_click_and_counted(visit: Visitor, url: str) -> None:
    page = visit(url)
    later = datetime.now(UTC) + timedelta(days=90)
    mail = {"to": "ann@example.com", "subject": "Later", "text": "hi", "send_at": later.isoformat()}
    assert page.request.post(f"{url}/email", data=mail).ok
    expect(page.locator("#mails-body li .subject").first).to_have_text("Later")
    page.locator("#mails-body li a").first.click()
    page.wait_for_url("**/mail/*")
    page.click("text=Cancel it")

    expect(page.locator("#timeline-body .step.last")).to_contain_text("Canceled: canceled on request")
    expect(page.locator("#timeline-body button")).to_have_text("Send it again")
    page.click("text=All mails")
    expect(page.locator("#mails-body .counts p")).to_contain_text("canceled")
    page.click("#mails-body .counts summary")
    expect(page.locator("#mails-body .counts td").first).to_contain_text("canceled")
    page.locator("#mails-body .counts p a", has_text="canceled").click()
    expect(page.locator("#mails-body li .chip").first).to_have_text("canceled")


def test_a_theme_is_kept_and_needs_no_reload(visit: Visitor, url: str) -> None:
    page = visit(url, color_scheme="light")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.click("label[title=Dark]")
    dark = page.evaluate(ground)
    page.reload()

    assert dark != light
    assert page.evaluate(ground) == dark
    page.click("label[title=Auto]")
    assert page.evaluate(ground) == light


def test_without_the_stream_of_events_the_page_looks_by_itself(visit: Visitor, url: str) -> None:
    visit.expected.append("status of 503")
    page = visit(url, without="**/events")
    page.request.post(f"{url}/email", form={"to": "a@example.com", "subject": "Polled", "content": "x"})

    expect(page.locator("#mails-body li .subject").first).to_have_text("Polled")


def test_the_scores_are_drawn_and_told_as_a_table(visit: Visitor, url: str) -> None:
    page = visit(url)
    expect(page.locator("#chart canvas")).to_be_visible()
    page.click("text=As a table")

    expect(page.locator("#chart-table thead")).to_contain_text("capture")
    expect(page.locator("#chart-table tbody tr").first).to_contain_text("50.0")
