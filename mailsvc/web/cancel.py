"""A mail that waits is not to be sent after all, or at another time."""

from __future__ import annotations

from typing import Any, ClassVar

from ..access import Scope
from .base import Handler
from .callback_fields import given
from .change import tell
from .email import known_id
from .shapes import JSON, known


class Cancel(Handler):
    """`/email/<id>/cancel`."""

    summary = "Do not send a mail that waits"
    takes: ClassVar[dict[str, Any] | None] = {"type": "object", "additionalProperties": False}
    gives: ClassVar = {"post": (200, {JSON: known("MailRecord")})}
    fails: ClassVar = {"post": (409,)}
    changes = Scope.SEND

    async def post(self, mail_id: str) -> None:
        """Cancel it; may be repeated. 409 `not_cancelable` once a provider is being asked."""
        self.admit()
        given(self, {})
        mail_id = known_id(mail_id)
        await tell(self, mail_id, self.service.mails.cancel(mail_id, self.key.sees))
