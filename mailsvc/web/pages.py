"""The pages: the one at `/`, one for each mail, and the sandbox's inbox."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ..access import Scope
from ..errors import MailsvcError, Unavailable
from ..history import EVERY
from ..hours import HOUR, total
from ..listing import Page as Wanted
from ..model import Mail, Message, Record, Status
from ..render import LARGE, render
from ..service import Service
from ..submission import parse
from .base import Handler, rfc3339
from .body import fingerprint
from .form import EXAMPLE, Form, form, given, requests
from .page import Page, show, show_problem
from .problem import Problem, problem
from .providers import rows
from .rehearsal import stage
from .story import steps

ROWS = 10  # mails in a list
VIEWS = ("html", "text", "headers", "source")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which mails a list shows."""

    status: Status | None
    to: str
    after: str

    @classmethod
    def of(cls, handler: Handler) -> Filter:
        """What the query asks for; what no list can be filtered by is passed over."""
        status = handler.get_query_argument("status", "")
        return cls(
            Status(status) if status in list(Status) else None,
            handler.get_query_argument("to", "")[:320],
            handler.get_query_argument("after", "")[:36],
        )

    def query(self, **changes: str) -> str:
        """The same as a query, with changes."""
        values = {"status": self.status or "", "to": self.to, "after": self.after} | changes
        return urlencode({name: value for name, value in values.items() if value})

    @property
    def active(self) -> bool:
        """Whether it leaves any mail out."""
        return bool(self.status or self.to)


class Home(Page):
    """`/`."""

    async def get(self) -> None:
        """Send a mail, watch it go, look at the providers and at the mails."""
        self.admit()
        await show_home(self, form(EXAMPLE if not self.service.config.live else None))

    head = get


class MailPage(Page):
    """`/mail/<id>`."""

    async def get(self, mail_id: str) -> None:
        """One mail: its way, its recipients, its bodies."""
        self.admit()
        record = await self.service.mails.get(mail_id)
        await show(self, "mail.html", **told(self.service, record), **await message(self, record))

    head = get


class Inbox(Page):
    """`/inbox`."""

    async def get(self) -> None:
        """The mails that were kept and not sent, as their recipients would see them."""
        self.admit()
        found = await kept(self.service)
        chosen = self.get_query_argument("mail", found[0].id if found else "")
        opened = await message(self, await self.service.mails.get(chosen)) if chosen else {"message": None}
        await show(self, "inbox.html", mails=found, chosen=chosen, **opened)

    head = get


async def submit(handler: Handler) -> None:
    """A form sent by a browser: on to the mail's page, or back to the form with what is wrong."""
    values: Mapping[str, Any] = {}
    try:
        handler.admit()
        values, once = given(handler)
        # With the content, so that a form that was changed and sent again makes another mail.
        digest = fingerprint({**values, "": once})
        once_key = f"form-{digest}" if once else None
        added = await handler.service.acceptance.accept(parse(values), handler.key, once_key, digest)
    except (MailsvcError, Problem) as error:
        await _back(handler, values, error)
    else:
        handler.redirect(f"/mail/{added.id}", status=303)


async def _back(handler: Handler, values: Mapping[str, Any], error: MailsvcError | Problem) -> None:
    fault = problem(error, 500)
    if fault.status == 401:
        handler.redirect("/login", status=303)
    elif fault.status == 403 or not handler.key.may(Scope.ADMIN):
        show_problem(handler, fault)
    else:
        for name, value in fault.headers.items():
            handler.set_header(name, value)
        await show_home(handler, form(values, error), fault.status)


async def show_home(handler: Handler, filled: Form, status: int = 200) -> None:
    """The page at `/` with the form as it is."""
    service = handler.service
    wanted = Filter.of(handler)
    recent, latest = await _mails(service, wanted)
    await show(
        handler,
        "home.html",
        status,
        form=filled,
        requests=requests(handler, filled.values),
        once=os.urandom(12).hex(),
        providers=rows(service),
        table=score_table(service),
        stage=stage(service),
        sender=str(service.config.sender),
        **told(service, latest),
        **recent,
    )


async def _mails(service: Service, wanted: Filter) -> tuple[dict[str, Any], Record | None]:
    """The list of mails, and the newest mail of all; nothing while the store cannot be read."""
    try:
        newest = (await service.mails.list(Wanted(limit=1))).records
        latest = await service.mails.get(newest[0].id) if newest else None
        return await listed(service, wanted), latest
    except Unavailable:
        return {"mails": [], "older": None, "filter": wanted, "counts": {}, "day_hours": []}, None


async def listed(service: Service, wanted: Filter) -> dict[str, Any]:
    """What a list of mails shows."""
    page = Wanted(status=wanted.status, to=wanted.to or None, after=wanted.after or None, limit=ROWS)
    found = await service.mails.list(page)
    older = wanted.query(after=found.next) if found.next else None
    now, counts = time.time(), await service.counts()
    hours = await service.hours(now - 23 * HOUR, now)
    day = {"day_hours": hours, "day_total": total(hours)}
    return {"mails": found.records, "older": older, "filter": wanted, "counts": counts, **day}


def told(service: Service, record: Record | None) -> dict[str, Any]:
    """What a timeline shows."""
    return {
        "record": record,
        "steps": steps(record) if record else [],
        "keeps": not service.config.live,
        "now": time.time(),
    }


async def kept(service: Service) -> Sequence[Record]:
    """The newest mails that a provider kept that sends nothing."""
    if service.rehearsal:
        found = await service.mails.list(Wanted(status=Status.SENT, limit=5 * ROWS))
        return [record for record in found.records if record.provider in service.config.providers]
    return (await service.mails.list(Wanted(provider="capture", limit=5 * ROWS))).records


async def message(handler: Handler, record: Record) -> dict[str, Any]:
    """What a mail's message shows, in the view that is asked for; nothing of one that was erased."""
    if record.erased_at or record.sensitive:
        return {"message": None}
    mail = await handler.service.mails.mail(record.id)
    rendered = await rendering(mail)
    offered = [name for name in VIEWS if _offers(name, mail, rendered)]
    view = handler.get_query_argument("view", offered[0])
    return {"message": rendered, "mail": mail, "views": offered, "view": view if view in offered else offered[0]}


def _offers(view: str, mail: Mail, rendered: Message) -> bool:
    return {"html": bool(rendered.html), "text": bool(rendered.text), "source": mail.content is not None}.get(
        view, True
    )


async def rendering(mail: Mail) -> Message:
    """Rendered; off the event loop when that takes milliseconds. Raises InvalidMail."""
    return await asyncio.to_thread(render, mail) if len(mail.content or "") > LARGE else render(mail)


def score_table(service: Service) -> dict[str, Any]:
    """The scores of the last quarter of an hour, one row a minute, newest first."""
    times, scores = service.watch.history.series()
    every = int(60 / EVERY)
    places = list(range(len(times)))[::-1][::every]
    lines = [(times[place], [scores[name][place] for name in scores]) for place in places]
    return {"names": list(scores), "lines": lines, "as_of": rfc3339(times[-1]) if times else None}
