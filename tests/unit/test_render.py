"""Markdown becomes safe HTML, and hostile markdown is refused before it costs anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.address import Mailbox
from mailsvc.errors import InvalidMail
from mailsvc.model import Mail, Message, OnUncertain
from mailsvc.render import MAX_NESTING, _bounded, _plainly_harmless, check, render


def rendered(content: str | None = None, *, html: str | None = None, text: str | None = None) -> Message:
    """A mail with this body as a provider gets it."""
    sender, to = Mailbox("shop@example.com"), (Mailbox("ann@example.com"),)
    mail = Mail("an-id", 0.0, sender, to, "Hi <there> & you", OnUncertain.RESEND, content, html, text)
    return render(mail)


def body(content: str) -> str:
    """What stands between <main> and </main>."""
    html = rendered(content).html
    assert html is not None
    return html.partition("<main>\n")[2].partition("</main>")[0]


def test_markdown_becomes_html_with_the_source_as_the_text_part() -> None:
    message = rendered("**hello** <https://example.com>")

    assert message.text == "**hello** <https://example.com>"
    assert message.html is not None
    assert "<strong>hello</strong>" in message.html
    assert 'href="https://example.com"' in message.html


def test_the_layout_shows_the_subject_as_text() -> None:
    assert "<title>Hi &lt;there&gt; &amp; you</title>" in (rendered("x").html or "")


def test_tables_strikethrough_and_bare_links_work() -> None:
    html = body("| a | b |\n|---|---|\n| 1 | 2 |\n\n~~gone~~ https://example.com")

    assert "<td>1</td>" in html
    assert "<del>gone</del>" in html
    assert '<a href="https://example.com"' in html


def test_html_and_text_of_the_application_are_sent_as_they_are() -> None:
    message = rendered(html="<p onclick='x()'>hi</p>", text="hi")

    assert (message.html, message.text) == ("<p onclick='x()'>hi</p>", "hi")


@pytest.mark.parametrize(
    "content",
    [
        "<script>alert(1)</script>",
        "hello <img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "[a](data:text/html;base64,PHNjcmlwdD4=)",
        "![a](javascript:alert(1))",
        "<a href='x' onclick='alert(1)'>a</a>",
        "<iframe src='https://example.com'></iframe>",
        "<style>body{display:none}</style>",
        "<!-- --><svg/onload=alert(1)>",
        "[a]: javascript:alert(1)\n\n[a]",
        "<javascript:alert(1)>",
    ],
)
def test_nothing_that_runs_survives(content: str) -> None:
    html = body(content).lower()

    assert not any(f"<{tag}" in html for tag in ("script", "iframe", "style", "svg"))
    assert "onerror=" not in html
    assert "onclick=" not in html
    assert 'href="javascript' not in html
    assert 'src="javascript' not in html
    assert 'href="data:' not in html


def test_templates_in_the_text_stay_text() -> None:
    assert "{{ config }} {% include 'x' %} *|MERGE|*" in body("{{ config }} {% include 'x' %} \\*|MERGE|\\*")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (">" * 100_000, "too_large"),
        (">" * 3_000, "too_deep"),
        ("- " * 150 + "a", "too_deep"),
        ("- " * 51 + "a", "too_deep"),
        ("> - " * 40 + "a", "too_deep"),
        ("1. " * 150 + "a", "too_deep"),
        ("".join("  " * depth + "- a\n" for depth in range(150)), "too_deep"),
        ("".join("  " * depth + "- a\r" for depth in range(110)), "too_deep"),
        ("*a _b " * 80 + "c" + "_ d*" * 80, "too_deep"),
        ("> a\n> \n" * 150_000, "too_large"),
    ],
)
def test_what_would_become_too_deep_or_too_large_is_refused_by_field(content: str, code: str) -> None:
    with pytest.raises(InvalidMail) as raised:
        check(content)

    assert [(fault.field, fault.code) for fault in raised.value.faults] == [("content", code)]


@pytest.mark.parametrize(
    "content",
    ["[" * 20_000, "![[](" * 5_000, "*a " * 20_000, "`" * 20_000, "&" * 100_000, "a@" * 20_000, "| " * 20_000],
)
def test_what_slows_other_parsers_down_is_rendered(content: str) -> None:
    check(content)

    assert body(content)


def test_the_deepest_nesting_that_check_lets_through_renders() -> None:
    content = ">" * (MAX_NESTING - 5) + " a"
    check(content)

    assert body(content).count("<blockquote>") == MAX_NESTING - 5


@given(st.text(alphabet="> \t-+*_~[]()!1.)ab|\n", max_size=400))
def test_what_passes_the_quick_look_is_within_the_bounds(content: str) -> None:
    if _plainly_harmless(content):
        assert _bounded(content) is not None
