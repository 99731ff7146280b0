"""The databases that tests of the real process run on, and the browser that the tests of one file share."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e import process
from tests.e2e.browser import CHROMIUM, FLAGS, Visitor, missing

# Always run on both databases. All others that could are run on PostgreSQL by `make test-postgres`.
BOTH = ("main_path", "bad_input", "doubt", "events", "retention", "guards", "keys", "client", "cli_mails", "smtp_in")
BOTH += ("compat_resend", "compat_sendgrid", "compat_postmark", "sending", "templates", "hooks_sns")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of the files in BOTH on SQLite and on PostgreSQL; with E2E_DATABASE, all of them on that one."""
    kind = os.environ.get("E2E_DATABASE")
    of_file = any(mark.name == "sqlite" for mark in metafunc.definition.iter_markers())
    both = metafunc.module.__name__.rpartition("test_")[2] in BOTH and not of_file
    kinds = ["sqlite", "postgres"] if both else ["sqlite"]
    metafunc.parametrize("_database", [kind] if kind else kinds, indirect=True)


@pytest.fixture(autouse=True)
def _database(request: pytest.FixtureRequest) -> Iterator[None]:
    """The database of processes whose test says nothing about it: one for each folder, which outlives a process."""
    if request.param != "postgres":
        yield
        return
    if of_file := request.node.get_closest_marker("sqlite"):
        pytest.skip(*(of_file.args or ("about the SQLite file itself",)))
    server = request.getfixturevalue("postgres")
    process.default_database = functools.cache(lambda folder: str(server.create()))
    yield
    process.default_database = None


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
