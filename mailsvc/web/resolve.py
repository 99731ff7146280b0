"""A person settles a doubt: whether a mail that a provider may or may not have is sent again."""

from __future__ import annotations

from typing import Any, ClassVar

from ..access import Scope
from ..decision import Decision
from .base import Handler
from .body import fields
from .change import tell
from .email import known_id
from .problem import invalid
from .session import FIELD
from .shapes import JSON, known


class Resolve(Handler):
    """`/email/<id>/resolve`."""

    summary = "Say what to do with a mail in doubt"
    gives: ClassVar = {"post": (200, {JSON: known("MailRecord")})}
    fails: ClassVar = {"post": (409,)}
    changes = Scope.SEND
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": {"as": {"enum": [decision.value for decision in Decision]}},
        "required": ["as"],
        "additionalProperties": False,
    }

    async def post(self, mail_id: str) -> None:
        """Send it again, take it as sent, or take it as failed. 409 `not_uncertain` when there is no doubt."""
        self.admit()
        headers = self.request.headers
        given = fields(headers.get("Content-Type"), headers.get("Content-Encoding"), self.body)
        given.pop(FIELD, None)
        decision = _decision(given)
        mail_id = known_id(mail_id)
        await tell(self, mail_id, self.service.mails.resolve(mail_id, decision, self.key.sees))


def _decision(given: dict[str, Any]) -> Decision:
    for name in given.keys() - {"as"}:
        raise invalid(str(name)[:100], "unknown_field", "is not a field here; there is `as`")
    if "as" not in given:
        raise invalid("as", "missing", "is needed: resend, sent or failed")
    if given["as"] not in list(Decision):
        raise invalid("as", "invalid_choice", "must be resend, sent or failed")
    return Decision(given["as"])
