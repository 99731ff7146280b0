"""The clock of this machine: mails carry its times, certificates and signatures are judged by it."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from ..outbox.base import Inspection
from .base import Finding, fail, ok, warn

SLACK = 60.0  # seconds that clocks of two machines may differ
UNSYNCHRONISED = 5  # what adjtimex answers then (TIME_ERROR)
FIX = "set the clock and keep it right: systemctl enable --now systemd-timesyncd, or chrony"


def check(seen: Inspection | None) -> Finding:
    """Compared with all that is known: this program's age, the newest mail, the database's clock, the kernel's word."""
    return judge(time.time(), _installed(), seen, _kernel_says())


def judge(now: float, installed: float, seen: Inspection | None, kernel: int | None) -> Finding:
    """`now` and `installed` are Unix times; `kernel` is what adjtimex answered, None if it cannot be asked."""
    said = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if now < installed - 86_400:
        return fail("clock", f"says {said}, before this program was installed", FIX)
    if seen and seen.clock is not None and abs(seen.clock - now) > SLACK:
        return fail("clock", f"says {said}, {_apart(seen.clock - now)} the database's", FIX)
    if seen and seen.last_mail_at is not None and seen.last_mail_at > now + SLACK:
        return fail("clock", f"says {said}, {_apart(seen.last_mail_at - now)} the newest mail in the database", FIX)
    if kernel == UNSYNCHRONISED:
        return warn("clock", f"says {said}, but nothing keeps it right (no NTP)", FIX)
    return ok("clock", f"says {said}")


def _apart(seconds: float) -> str:
    return f"{abs(seconds):,.0f} s {'behind' if seconds > 0 else 'ahead of'}"


def _installed() -> float:
    return max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))


def _kernel_says() -> int | None:
    """The state of the clock by adjtimex, asked for and not changed; None where there is no such call."""
    if not sys.platform.startswith("linux"):
        return None
    call = getattr(ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6"), "adjtimex", None)
    if call is None:
        return None
    state = int(call(ctypes.create_string_buffer(1024)))  # zeros: `modes` is 0, which changes nothing
    return state if state >= 0 else None
