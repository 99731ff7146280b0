"""The page of callbacks: what there is and how it does, add one, test one, look at its log. Works without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..callback import PATTERNS, Callback, Told
from ..errors import MailsvcError
from . import callback_fields as fields
from .body import fields as read
from .callback_fields import given
from .page import Page, show
from .problem import Problem, problem

ROWS = 20  # deliveries in the log
HOME = "/settings/callbacks"


class CallbacksPage(Page):
    """`/settings/callbacks`."""

    async def get(self) -> None:
        """Every callback, and a form for another one."""
        self.admit()
        await _show_all(self)

    async def post(self) -> None:
        """Make one; its secret is shown on the page that answers, this once."""
        self.admit()
        values: dict[str, str] = {}
        try:
            kind, coding = self.request.headers.get("Content-Type"), self.request.headers.get("Content-Encoding")
            values = {name: str(value)[:3000] for name, value in read(kind, coding, self.body).items()}
            found = given(self, fields.SETTINGS, ("url",))
            callback = await self.service.callbacks.create(
                found["url"], found.get("events", ["*"]), found.get("description", "")
            )
        except MailsvcError as error:
            await _show_all(self, values, problem(error, 500))
        else:
            await _show_one(self, callback, secret=callback.secrets[0].text)


class CallbackPage(Page):
    """`/settings/callbacks/<id>`."""

    async def get(self, callback_id: str) -> None:
        """One callback, and what it was told."""
        self.admit()
        await _show_one(self, await self.service.callbacks.get(callback_id))

    async def post(self, callback_id: str) -> None:
        """`do`: test, on, off, rotate, remove; or replay a `delivery`."""
        self.admit()
        callbacks, wish = self.service.callbacks, given(self, {"do": str, "delivery": fields.name}, ("do",))
        callback = await callbacks.get(callback_id)
        if wish["do"] == "remove":
            await callbacks.remove(callback_id)
            self.redirect(HOME, status=303)
            return
        if wish["do"] == "rotate":
            callback = await callbacks.rotate(callback_id, fields.OVERLAP)
            await _show_one(self, callback, secret=callback.secrets[0].text)
            return
        if wish["do"] == "test":
            await callbacks.test(callback_id)
        elif wish["do"] in ("on", "off"):
            await callbacks.change(callback_id, enabled=wish["do"] == "on")
        elif wish["do"] == "replay" and "delivery" in wish:
            await callbacks.replay(callback_id, fields.wanted({"id": wish["delivery"]}, 0.0))
        else:
            raise Problem(422, "invalid", "There is no such thing to do with a callback.")
        self.redirect(f"{HOME}/{callback_id}", status=303)


async def _show_all(handler: Page, values: dict[str, str] | None = None, fault: Problem | None = None) -> None:
    callbacks = handler.service.callbacks
    backlog = await callbacks.backlog()
    rows = [(each, await callbacks.last(each.id), backlog.get(each.id)) for each in await callbacks.all()]
    told = {each.field: each.message for each in fault.faults} if fault else {}
    faults: dict[str, str | None] = dict.fromkeys(fields.SETTINGS) | told
    await show(
        handler,
        "callbacks.html",
        fault.status if fault else 200,
        rows=rows,
        patterns=PATTERNS,
        values={"url": "", "events": "*", "description": ""} | (values or {}),
        faults=faults,
        fault=None if told else fault,
    )


async def _show_one(handler: Page, callback: Callback, secret: str | None = None) -> None:
    log: Sequence[Told] = await handler.service.callbacks.log(callback.id, ROWS, None, None)
    facts: dict[str, Any] = {"callback": callback, "log": log, "secret": secret}
    await show(handler, "callback.html", **facts)
