"""The page of the suppression list: who is on it and why, put an address on it, take one off. Works without scripts."""

from __future__ import annotations

import time
from urllib.parse import urlencode

from ..errors import MailsvcError
from ..suppression import Reason
from .body import fields
from .email import query
from .page import Page, show
from .problem import Problem, problem
from .session import FIELD
from .suppressions import as_kept, entry_of

ROWS = 50  # entries on a page
HOME = "/settings/suppressions"


class SuppressionsPage(Page):
    """`/settings/suppressions`."""

    async def get(self) -> None:
        """A page of entries in the order of their addresses, or the one of an address; and a form for another one."""
        self.admit()
        await _show(self)

    async def post(self) -> None:
        """`do`: add, remove; with an `address`, and for the first a `reason`."""
        self.admit()
        headers = self.request.headers
        values: dict[str, str] = {}
        try:
            found = fields(headers.get("Content-Type"), headers.get("Content-Encoding"), self.body)
            found.pop(FIELD, None)
            wish = found.pop("do", "add")
            values = {name: str(value)[:1000] for name, value in found.items()}
            if wish == "remove":
                await self.service.suppressions.remove(as_kept(values.get("address", "")))
                self.redirect(HOME, status=303)
                return
            if wish != "add":
                raise Problem(422, "invalid", "There is no such thing to do with the suppression list.")
            entry = entry_of(found)
            await self.service.suppressions.put([entry])
        except MailsvcError as error:
            await _show(self, values, problem(error, 500))
        else:
            self.redirect(f"{HOME}?{urlencode({'address': entry.address})}", status=303)


async def _show(handler: Page, values: dict[str, str] | None = None, fault: Problem | None = None) -> None:
    store = handler.service.suppressions
    asked = query(handler, "address", "after")
    wanted = asked.get("address", "").strip()
    if wanted:
        found = list((await store.among([as_kept(wanted)], time.time())).values())
    else:
        found = list(await store.list(asked.get("after", ""), ROWS + 1))
    told = {each.field: each.message for each in fault.faults} if fault else {}
    faults: dict[str, str | None] = {"address": None, "reason": None} | told
    await show(
        handler,
        "suppressions.html",
        fault.status if fault else 200,
        entries=found[:ROWS],
        after=found[ROWS - 1].address if len(found) > ROWS else None,
        wanted=wanted,
        now=time.time(),
        values={"address": "", "reason": Reason.MANUAL.value} | (values or {}),
        faults=faults,
        fault=None if told else fault,
    )
