"""What happens to a mail outside of an attempt's own row."""

from __future__ import annotations

INSERT_EVENT = """
INSERT INTO event (mail, n, type, at, provider, recipient, detail)
SELECT ?1, coalesce(max(n), 0) + 1, ?2, ?3, ?4, ?5, ?6 FROM event WHERE mail = ?1
"""
