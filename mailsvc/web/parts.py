"""Pieces of the page that its scripts ask for again when something has happened; the same templates as in the whole."""

from __future__ import annotations

from .form import form, given, requests
from .health import health
from .page import Page, show_part
from .pages import Filter, kept, listed, score_table, told


class TimelinePart(Page):
    """`/parts/timeline/<id>`."""

    async def get(self, mail_id: str) -> None:
        """The way of one mail."""
        self.admit()
        show_part(self, "parts/timeline.html", **told(self.service, await self.service.mails.get(mail_id)))


class MailsPart(Page):
    """`/parts/mails`."""

    async def get(self) -> None:
        """The list of mails."""
        self.admit()
        show_part(self, "parts/mails.html", **await listed(self.service, Filter.of(self)))


class InboxPart(Page):
    """`/parts/inbox`."""

    async def get(self) -> None:
        """The list of the inbox."""
        self.admit()
        chosen = self.get_query_argument("mail", "")
        show_part(self, "parts/inbox.html", mails=await kept(self.service), chosen=chosen)


class HealthPart(Page):
    """`/parts/health`."""

    async def get(self) -> None:
        """How the service is, in words."""
        self.admit()
        sick, words = await health(self.service)
        show_part(self, "parts/health.html", sick=sick, health=words)


class RequestsPart(Page):
    """`/parts/requests`."""

    async def post(self) -> None:
        """The form's mail as a request to copy."""
        self.admit()
        values, _ = given(self)
        show_part(self, "parts/requests.html", requests=requests(self, form(values).values))


class ScoresPart(Page):
    """`/parts/scores`."""

    async def get(self) -> None:
        """The chart's numbers as a table."""
        self.admit()
        show_part(self, "parts/scores.html", table=score_table(self.service))
