"""Nothing that a user can set, call or read about is undocumented, and what the docs name exists."""

import re
from pathlib import Path

import pytest

from mailsvc.config import PLATFORMS, Config
from mailsvc.model import Outcome, Status
from mailsvc.providers import all_providers
from mailsvc.web import ROUTES
from mailsvc.web.compat import COMPAT

ROOT = Path(__file__).parents[2]
DOCS = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]


class Recorded(dict[str, str]):
    """An environment that remembers what was asked of it."""

    def __init__(self, **settings: str) -> None:
        super().__init__(settings)
        self.asked: set[str] = set()

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        self.asked.add(name)
        return super().get(name, default)


def settings() -> set[str]:
    """Every variable that the configuration reads."""
    on = {name: kind.example.get(name, "x") for kind in all_providers().values() for name in kind.env}
    environ = Recorded(MAILSVC_FROM="a@b.co", **on)
    Config.from_environ(environ)
    capture = Recorded(MAILSVC_CAPTURE="1", DYNO="x", MAILSVC_EPHEMERAL="1", MAILSVC_API_KEY="k" * 32)
    Config.from_environ(capture)
    return environ.asked | capture.asked


@pytest.mark.parametrize("name", sorted(settings() - {"SMTP_WEBHOOK_KEY", "CAPTURE_WEBHOOK_KEY"}))
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in DOCS["configuration.md"]


def test_every_setting_that_is_documented_exists() -> None:
    named = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`", DOCS["configuration.md"]))

    assert named - settings() - set(PLATFORMS) <= {"MAILSVC_EPHEMERAL", "MAILSVC_URL", "SSL_CERT_FILE"}


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in ROUTES])
def test_every_route_is_documented(pattern: str) -> None:
    names = {"providers": "<name>", "hooks": "<name>", "suppressions": "<address>", "templates": "<name>"}
    shown = re.sub(r"\(\[\^/\]\+\)", names.get(pattern.split("/")[1], "<id>"), pattern)

    assert f" {shown}`" in DOCS["api.md"]


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in COMPAT])
def test_every_route_of_another_api_is_documented(pattern: str) -> None:
    assert f" {pattern.replace('([^/]+)', '<id>')}`" in DOCS["migrating.md"]


@pytest.mark.parametrize("word", [*Status, *Outcome])
def test_every_status_and_outcome_is_explained(word: str) -> None:
    assert f"`{word}`" in DOCS["api.md"] + DOCS["architecture.md"]


@pytest.mark.parametrize("name", [name for name, kind in all_providers().items() if kind.default_url])
def test_the_usual_url_of_a_provider_is_the_documented_one(name: str) -> None:
    usual = str(all_providers()[name].default_url).replace("{region}", "eu-central-1")
    (row,) = (line for line in DOCS["configuration.md"].splitlines() if line.startswith(f"| `{name}` |"))

    assert re.search(rf"{re.escape(usual)}(?![\w./-])", row)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"", text)
    local = [link for pair in links for link in pair if link and "://" not in link and not link.startswith("mailto:")]

    assert [link for link in local if not (page.parent / link).exists()] == []
