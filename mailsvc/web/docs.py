"""The API described for people, by Swagger UI, from this server alone."""

from __future__ import annotations

from .page import Page, show_part


class Docs(Page):
    """`/docs`. As public as what it shows."""

    public = True

    async def get(self) -> None:
        """The page; it fetches `/openapi.json`."""
        show_part(self, "docs.html")

    head = get
