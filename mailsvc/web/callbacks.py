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
from .email import query
from .problem import invalid
from .shapes import COUNT, JSON, TEXT_ANY, TIME, Schema, array, known, limit, optional, page, shape, words

LIMIT = 100

EVENTS = {"type": "array", "items": {"enum": [*PATTERNS]}, "minItems": 1}
DESCRIPTION = {"type": "string", "maxLength": fields.DESCRIPTION}


class Callbacks(Handler):
    """`/callbacks`."""

    summary = "Where an application is told what becomes of mails: list callbacks, make one"
    gives: ClassVar = {
        "get": (200, {JSON: shape(data=array(known("Callback")))}),
        "post": (201, {JSON: known("NewCallback")}),
    }
    fails: ClassVar = {"post": (409,)}
    reads = Scope.ADMIN
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": {
            "url": {"type": "string", "description": "An https URL that takes POST."},
            **optional(events={**EVENTS, "default": ["*"]}, description=DESCRIPTION),
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
    gives: ClassVar = {
        "get": (200, {JSON: known("Callback")}),
        "patch": (200, {JSON: known("Callback")}),
        "delete": (200, {JSON: shape(id=TEXT_ANY, status=words("removed"))}),
    }
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": optional(
            url={"type": "string"},
            events=EVENTS,
            description=DESCRIPTION,
            enabled={"type": "boolean", "description": "Switched off, it is told nothing; what happens waits."},
        ),
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
    takes: ClassVar[dict[str, Any] | None] = {"type": "object", "additionalProperties": False}
    gives: ClassVar = {"post": (200, {JSON: known("Delivery")})}
    fails: ClassVar = {"post": (409,)}

    async def post(self, callback_id: str) -> None:
        """The delivery, once its first try is over, or as it stands after 20 seconds. 409 `disabled`."""
        self.admit()
        given(self, {})
        self.send_json(delivery(await self.service.callbacks.test(callback_id)))


class ReplayCallback(_One):
    """`/callbacks/<id>/replay`."""

    summary = "Tell a callback again what it was told before"
    gives: ClassVar = {"post": (202, {JSON: shape(id=TEXT_ANY, replayed=COUNT)})}
    fails: ClassVar = {"post": (409,)}
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": optional(
            id={"type": "string", "description": "One delivery."},
            since=TIME | {"description": "Those of what happened from then on."},
            until=TIME | {"description": "And before then; default: now."},
            status=words(State.DELIVERED, State.FAILED) | {"description": "Of those, only these."},
        ),
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
    gives: ClassVar = {"post": (200, {JSON: known("NewCallback")})}
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": optional(
            overlap={
                "type": "integer",
                "minimum": 0,
                "maximum": fields.LONGEST_OVERLAP,
                "default": fields.OVERLAP,
                "description": "Seconds that the secret before goes on to sign, too.",
            }
        ),
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
    asks: ClassVar[dict[str, Schema]] = {
        "status": words(*State),
        "limit": limit(20, LIMIT),
        "after": {"type": "string", "pattern": "^msg_[0-9a-f]{32}$"},
    }
    gives: ClassVar = {"get": (200, {JSON: page(known("Delivery"))})}

    async def get(self, callback_id: str) -> None:
        """Newest first. `status`, `limit` (at most 100) and `after`, the id of the last one of the page before."""
        self.admit()
        asked = query(self, "status", "limit", "after")
        most = asked.get("limit", "20")
        if not re.fullmatch(r"\d{1,3}", most, re.ASCII) or not 1 <= int(most) <= LIMIT:
            raise invalid("limit", "out_of_range", f"must be a whole number from 1 to {LIMIT}")
        after, state = _chosen(asked, "after", fields.name), _chosen(asked, "status", fields.state)
        found = await self.service.callbacks.log(callback_id, int(most) + 1, after, state)
        shown = [delivery(told) for told in found[: int(most)]]
        self.send_json({"data": shown, "has_more": len(found) > len(shown)})


def _chosen(asked: dict[str, str], name: str, read: fields.Read) -> Any:
    try:
        return read(asked[name]) if name in asked else None
    except ValueError as error:
        raise invalid(name, "invalid", str(error)) from None
