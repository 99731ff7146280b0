"""Where the system lets a process open only a few files, all that may be open at a time fits into them."""

import resource

import pytest

from mailsvc.config import Config
from mailsvc.serve import SPARE_FILES, within_files
from mailsvc.web.server import FAREWELLS


def allowed(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> list[tuple[int, int]]:
    """So many files; what is asked for."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    return asked


def most(config: Config) -> int:
    """Files that may be open at a time. Of providers and callbacks, as many connections are kept as are in use."""
    turned_away = min(FAREWELLS, config.max_connections // 2)
    outward = 2 * config.concurrency + 2 * config.callbacks
    return config.max_connections + turned_away + config.smtp_connections + outward + SPARE_FILES


@pytest.mark.parametrize("files", [64, 80, 128, 256, 1024])
@pytest.mark.parametrize("settings", [{}, {"MAILSVC_SMTP": "2525"}, {"MAILSVC_CONCURRENCY": "500"}])
def test_everything_fits_and_nothing_is_left_without(
    monkeypatch: pytest.MonkeyPatch, files: int, settings: dict[str, str]
) -> None:
    allowed(monkeypatch, files, files)
    config = within_files(Config.from_environ(settings))

    assert most(config) <= files
    assert min(config.max_connections, config.concurrency, config.callbacks) >= 4


@pytest.mark.parametrize(("soft", "hard"), [(256, 1_000_000), (256, resource.RLIM_INFINITY), (100_000, 100_000)])
def test_where_there_are_enough_or_may_be_nothing_is_taken_away(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int
) -> None:
    asked = allowed(monkeypatch, soft, hard)
    config = Config.from_environ({})

    assert within_files(config) == config
    assert asked == ([(most(config), hard)] if soft == 256 else [])
