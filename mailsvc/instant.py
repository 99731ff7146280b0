"""A point in time as requests write it: RFC 3339, with its offset from UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

WORDS = "must be a time as in RFC 3339 with its zone, such as 2027-01-02T03:04:05Z"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_instant(text: str) -> float:
    """Unix seconds. Raises ValueError for what is no time, or one without its offset."""
    if len(text) > 64 or not _RFC3339.fullmatch(text):
        raise ValueError(WORDS)
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC).timestamp()  # which must be in year 1 or later
    except (ValueError, OverflowError):
        raise ValueError(WORDS) from None
