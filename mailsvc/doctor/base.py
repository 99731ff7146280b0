"""What the doctor finds: one line each, with what to do."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from enum import StrEnum

OUR_ANSWER = b'{"status":"ok"}'


class Level(StrEnum):
    """How bad it is. WARN: it runs, and production would want it otherwise. CONFIG: it does not start like this."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    CONFIG = "config"

    @property
    def word(self) -> str:
        """As a person reads it."""
        return "fail" if self is Level.CONFIG else self.value


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix` is empty where there is nothing to mend, or where `found` says it already."""

    level: Level
    subject: str
    found: str
    fix: str = ""


def ok(subject: str, found: str) -> Finding:
    """As it should be."""
    return Finding(Level.OK, subject, found)


def warn(subject: str, found: str, fix: str) -> Finding:
    """It runs, and could go wrong."""
    return Finding(Level.WARN, subject, found, fix)


def misconfigured(subject: str, found: str, fix: str = "") -> Finding:
    """It does not start."""
    return Finding(Level.CONFIG, subject, found, fix)


def fail(subject: str, found: str, fix: str) -> Finding:
    """Mail will not go out, or may be lost; or nobody is told what becomes of it."""
    return Finding(Level.FAIL, subject, found, fix)


def is_ours(port: int) -> bool:
    """Whether it is mailsvc that listens on a port of this machine."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            return bool(answer.read(100) == OUR_ANSWER)
    except (OSError, urllib.error.URLError):
        return False
