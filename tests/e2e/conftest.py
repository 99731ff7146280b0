"""The browser that the tests of one file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.browser import CHROMIUM, FLAGS, Visitor, missing


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium. For a module and not longer: its event loop is in the way of asynchronous tests."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visitor]:
    """Open pages with `visit(url)`; a complaint of the browser fails the test at its end."""
    visitor = Visitor(browser)
    yield visitor
    visitor.close()
