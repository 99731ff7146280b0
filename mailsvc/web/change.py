"""A change to a mail by hand, and how its caller is told: a program by the mail, a browser by the mail's page."""

from __future__ import annotations

from collections.abc import Awaitable

from ..errors import Conflict
from ..model import Record
from .base import Handler
from .email import view


async def tell(handler: Handler, mail_id: str, change: Awaitable[Record]) -> None:
    """Make the change and answer. A browser sees on the page what has become of a mail that cannot be changed."""
    try:
        record = await change
    except Conflict:
        if not handler.wants_html:
            raise
    if handler.wants_html:
        handler.redirect(f"/mail/{mail_id}", status=303)
    else:
        handler.send_json(view(record))
