"""The answer to a mail that was only tried out."""

from __future__ import annotations

from typing import Any

from ..plan import Plan
from .base import rfc3339


def planned(plan: Plan) -> dict[str, Any]:
    """A plan as the API shows it."""
    message = plan.message
    return {
        "dry_run": True,
        "status": plan.status,
        "due_at": rfc3339(plan.due_at),
        "from": str(message.sender),
        "to": [box.address for box in message.to],
        "subject": message.subject,
        "html": message.html,
        "text": message.text,
        "size": plan.size,
        "providers": plan.providers,
        "suppressed": [{"address": each.address, "reason": each.reason} for each in plan.suppressed],
        "warnings": plan.warnings,
    }
