"""Mails that have ended without arriving are sent on their way again: one, or many."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from ..access import Scope
from ..listing import Page
from ..model import Status
from ..outbox.base import RETRYABLE
from .base import Handler
from .callback_fields import given, moment
from .change import tell
from .email import known_id
from .shapes import COUNT, ID, JSON, TEXT_ANY, TIME, known, limit, maybe, optional, shape

STEP = 100  # mails that are looked at in one request, if nothing else is said
MOST = 500
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Retry(Handler):
    """`/email/<id>/retry`."""

    summary = "Send a mail on its way again that has ended without arriving"
    takes: ClassVar[dict[str, Any] | None] = {"type": "object", "additionalProperties": False}
    gives: ClassVar = {"post": (200, {JSON: known("MailRecord")})}
    fails: ClassVar = {"post": (409,)}
    changes = Scope.SEND

    async def post(self, mail_id: str) -> None:
        """Its attempts and events stay. 409 `not_retryable` when it has not ended, has arrived, or has no body."""
        self.admit()
        given(self, {})
        mail_id = known_id(mail_id)
        await tell(self, mail_id, self.service.mails.retry(mail_id, self.key.sees))


class RetryMany(Handler):
    """`/email/retry`."""

    summary = "Send many mails on their way again that have ended without arriving"
    changes = Scope.SEND
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": {
            "status": {"enum": sorted(RETRYABLE)},
            **optional(provider=TEXT_ANY, to=TEXT_ANY, since=TIME, until=TIME, limit=limit(STEP, MOST), after=ID),
        },
        "required": ["status"],
        "additionalProperties": False,
    }
    gives: ClassVar = {"post": (200, {JSON: shape(retried=COUNT, skipped=COUNT, after=maybe(ID))})}

    async def post(self) -> None:
        """Up to `limit` mails, newest first; how many are on their way again, and where to go on if there are more."""
        self.admit()
        readers = {"status": _status, "provider": _text, "to": _text, "since": moment, "until": moment, "limit": _limit}
        asked = given(self, {**readers, "after": _after}, ("status",))
        done = await self.service.mails.retry_many(Page(owner=self.key.sees, **{"limit": STEP, **asked}))
        self.send_json({"retried": done.retried, "skipped": done.skipped, "after": done.after})


def _status(value: object) -> Status:
    if not isinstance(value, str) or value not in RETRYABLE:
        raise ValueError(f"must be one of: {', '.join(sorted(RETRYABLE))}")
    return Status(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError("must be a string")
    return value


def _limit(value: object) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,4}", value, re.ASCII) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST:
        raise ValueError(f"must be a whole number from 1 to {MOST}")
    return number


def _after(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("must be the id of a mail")
    return value
