"""A real browser on the pages of a real process, and everything that it complains of."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.process import environment

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30_000  # milliseconds that a page may take for anything
expect.set_options(timeout=PATIENCE)
SERVING, FAKING = "mailsvc is serving at ", "fake provider on "
# A violation of the policy is an event of the document, in frames as well.
TELL_VIOLATIONS = """
document.addEventListener('securitypolicyviolation', (event) =>
    console.error('POLICY', event.violatedDirective, event.blockedURI, document.URL));
"""


@contextmanager
def serving(folder: Path, *arguments: str, **settings: str) -> Iterator[str]:
    """`mailsvc serve` with its file in `folder`; gives its URL."""
    command = [sys.executable, "-m", "mailsvc", "serve", *arguments]
    with _running(command, folder, SERVING, **settings) as url:
        yield url


@contextmanager
def faking(folder: Path) -> Iterator[str]:
    """A fake provider, both of SendGrid and of Mandrill; gives its URL."""
    with _running([sys.executable, "-m", "tests.fakes"], folder, FAKING) as url:
        yield url


@contextmanager
def _running(command: list[str], folder: Path, announces: str, **settings: str) -> Iterator[str]:
    with (folder / "errors.log").open("a+") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(**settings), stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            errors.seek(0)
            assert line.startswith(announces), f"{line}{errors.read()}"
            yield line.removeprefix(announces).split()[0]
        finally:
            process.terminate()
            process.communicate(timeout=30)


class Visitor:
    """Opens pages and keeps what the browser complains of. `expected` are words of complaints that a test
    provokes; `strangers` are other hosts that answered."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self.expected: list[str] = []
        self.strangers: list[str] = []

    def __call__(self, url: str, without: str | None = None, **how: Any) -> Page:
        """A page in a context of its own; `how` are options of the context. URLs like `without` are answered 503."""
        context = self._browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | how))
        context.set_default_timeout(PATIENCE)
        context.add_init_script(TELL_VIOLATIONS)
        page = context.new_page()
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("response", lambda response: self._note_foreign(response.url, url))
        if without:
            page.route(without, lambda route: route.fulfill(status=503))
        self._contexts.append(context)
        page.goto(url)
        return page

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _note_foreign(self, asked: str, url: str) -> None:
        host = "/".join(url.split("/")[:3])
        if not asked.startswith((host, "data:", "about:")):
            self.strangers.append(asked)

    def close(self) -> None:
        """Close all pages; fails if the browser had anything to complain of."""
        for context in self._contexts:
            context.close()
        unexpected = [each for each in self.complaints if not any(words in each for words in self.expected)]
        assert not unexpected, unexpected
        assert not self.strangers, self.strangers


def missing() -> str | None:
    """Why there can be no browser; None if there can. On a build server that is a failure."""
    if Path(CHROMIUM).exists():
        return None
    assert os.environ.get("CI") != "true", f"{CHROMIUM} is missing: apt-get install chromium"
    return f"{CHROMIUM} is missing: none of the pages is tested"
