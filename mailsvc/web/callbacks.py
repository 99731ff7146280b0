"""Callbacks: where an application is told what becomes of mails. Only for administrators: it is told of all mails."""

from __future__ import annotations

import re
import time
from typing import Any, ClassVar

from ..access import Scope
from ..callback import PATTERNS, Callback, State
from . import callback_fields as fields
from .base import Handler
from .callback_fields import delivery, given, view, wanted
from .problem import invalid

LIMIT = 100

EVENTS = {"type": "array", "items": {"enum": [*PATTERNS]}, "minItems": 1}
DESCRIPTION = {"type": "string", "maxLength": fields.DESCRIPTION}


class Callbacks(Handler):
    """`/callbacks`."""

    summary = "Where an application is told what becomes of mails: list callbacks, make one"
    reads = Scope.ADMIN
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": {
            "url": {"type": "string", "description": "An https URL that takes POST."},
            "events": {**EVENTS, "default": ["*"]},
            "description": DESCRIPTION,
        },
        "required": ["url"],
        "additionalProperties": False,
    }

    async def get(self) -> None:
        """All callbacks, oldest first; never their secrets."""
        self.admit()
        callbacks, backlog = self.service.callbacks, await self.service.callbacks.backlog()
        found = [view(each, backlog.get(each.id), await callbacks.last(each.id)) for each in await callbacks.all()]
        self.send_json({"data": found})

    async def post(self) -> None:
        """Make a callback. `secret` in the answer signs what is told, and is shown this once."""
        self.admit()
        found = given(self, fields.SETTINGS, ("url",))
        callback = await self.service.callbacks.create(
            found["url"], found.get("events", ["*"]), found.get("description", "")
        )
        self.set_header("Location", f"/callbacks/{callback.id}")
        self.send_json(view(callback, None, None) | {"secret": callback.secrets[0].text}, 201)


class _One(Handler):
    """The base of what is about one callback."""

    reads = Scope.ADMIN

    async def show(self, callback: Callback, **more: Any) -> None:
        """Answer with the callback as it stands."""
        callbacks = self.service.callbacks
        backlog, last = await callbacks.backlog(), await callbacks.last(callback.id)
        self.send_json(view(callback, backlog.get(callback.id), last) | more)


class OneCallback(_One):
    """`/callbacks/<id>`."""

    summary = "One callback: look at it, change it, remove it"
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": {
            "url": {"type": "string"},
            "events": EVENTS,
            "description": DESCRIPTION,
            "enabled": {"type": "boolean", "description": "Switched off, it is told nothing; what happens waits."},
        },
        "additionalProperties": False,
    }

    async def get(self, callback_id: str) -> None:
        """The callback, and what it was told last."""
        self.admit()
        await self.show(await self.service.callbacks.get(callback_id))

    async def patch(self, callback_id: str) -> None:
        """Change what is given."""
        self.admit()
        found = given(self, {**fields.SETTINGS, "enabled": fields.enabled})
        await self.show(await self.service.callbacks.change(callback_id, **found))

    async def delete(self, callback_id: str) -> None:
        """From now on it is told nothing, and its deliveries are forgotten."""
        self.admit()
        await self.service.callbacks.remove(callback_id)
        self.send_json({"id": callback_id, "status": "removed"})


class TestCallback(_One):
    """`/callbacks/<id>/test`."""

    summary = "Tell a callback something of no mail, to see whether it works"

    async def post(self, callback_id: str) -> None:
        """The delivery, once its first try is over, or as it stands after 20 seconds. 409 `disabled`."""
        self.admit()
        given(self, {})
        self.send_json(delivery(await self.service.callbacks.test(callback_id)))


class ReplayCallback(_One):
    """`/callbacks/<id>/replay`."""

    summary = "Tell a callback again what it was told before"
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "One delivery."},
            "since": {"type": "string", "format": "date-time", "description": "Those of what happened from then on."},
            "until": {"type": "string", "format": "date-time", "description": "And before then; default: now."},
            "status": {"enum": [State.DELIVERED.value, State.FAILED.value], "description": "Of those, only these."},
        },
        "additionalProperties": False,
    }

    async def post(self, callback_id: str) -> None:
        """Under the same ids, from the first try on. What still waits is left as it is. 409 `disabled`."""
        self.admit()
        found = wanted(given(self, fields.REPLAY), time.time())
        number = await self.service.callbacks.replay(callback_id, found)
        self.send_json({"id": callback_id, "replayed": number}, 202)


class RotateCallback(_One):
    """`/callbacks/<id>/rotate`."""

    summary = "Give a callback a new secret"
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": {
            "overlap": {
                "type": "integer",
                "minimum": 0,
                "maximum": fields.LONGEST_OVERLAP,
                "default": fields.OVERLAP,
                "description": "Seconds that the secret before goes on to sign, too.",
            }
        },
        "additionalProperties": False,
    }

    async def post(self, callback_id: str) -> None:
        """`secret` in the answer is shown this once."""
        self.admit()
        found = given(self, {"overlap": fields.overlap})
        callback = await self.service.callbacks.rotate(callback_id, found.get("overlap", fields.OVERLAP))
        await self.show(callback, secret=callback.secrets[0].text)


class Deliveries(_One):
    """`/callbacks/<id>/deliveries`."""

    summary = "What a callback was told, and every try of it"

    async def get(self, callback_id: str) -> None:
        """Newest first. `status`, `limit` (at most 100) and `after`, the id of the last one of the page before."""
        self.admit()
        limit = self.get_query_argument("limit", "20")
        if not re.fullmatch(r"\d{1,3}", limit, re.ASCII) or not 1 <= int(limit) <= LIMIT:
            raise invalid("limit", "out_of_range", f"must be a whole number from 1 to {LIMIT}")
        after, state = self._chosen("after", fields.name), self._chosen("status", fields.state)
        found = await self.service.callbacks.log(callback_id, int(limit) + 1, after, state)
        shown = [delivery(told) for told in found[: int(limit)]]
        self.send_json({"data": shown, "has_more": len(found) > len(shown)})

    def _chosen(self, name: str, read: fields.Read) -> Any:
        text = self.get_query_argument(name, "")
        try:
            return read(text) if text else None
        except ValueError as error:
            raise invalid(name, "invalid", str(error)) from None
