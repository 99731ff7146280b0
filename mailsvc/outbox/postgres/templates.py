"""The templates and their versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...errors import Conflict
from ...template import MOST, Template
from .batch import storable
from .server import Server

TRIES = 5  # to give a version its number, where others do the same

COLUMNS = "name, subject, content, html, text, version, created_at"
INSERT = f"""
INSERT INTO template ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING version
"""  # noqa: S608 - a constant
GET = f"SELECT {COLUMNS} FROM template WHERE name = $1 AND version = $2"  # noqa: S608 - a constant
NEWEST = f"SELECT {COLUMNS} FROM template WHERE name = $1 ORDER BY version DESC LIMIT 1"  # noqa: S608 - a constant
THERE = """
FROM template AS one WHERE subject IS NOT NULL
    AND NOT EXISTS (SELECT FROM template AS later WHERE later.name = one.name AND later.version > one.version)
"""
LIST = f"SELECT {COLUMNS} {THERE} ORDER BY name"
COUNT = f"SELECT count(*) {THERE}"
# A version that comes meanwhile stays, and is newer than the removal or keeps it from having its number.
REMOVE = """
WITH removal AS (
    INSERT INTO template (name, version, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING name, version
)
DELETE FROM template USING removal WHERE template.name = removal.name AND template.version < removal.version
RETURNING template.version
"""


class PostgresTemplates:
    """A TemplateStore (see template.py)."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def put(self, template: Template, now: float) -> Template:
        """See TemplateStore. What was stored when the connection was cut is found: it is the newest version already."""
        storable(template.name, *template.parts.values())
        for _ in range(TRIES):
            newest = await self._newest(template.name)
            if newest and newest.subject is not None and newest.parts == template.parts:
                return newest
            if newest is None or newest.subject is None:
                ((number,),) = await self._server.look(COUNT)
                if number >= MOST:
                    raise Conflict(f"there are {MOST} templates, and no more are allowed", "too_many_templates")
            kept = replace(template, version=_next(newest), created_at=now)
            parts = (kept.subject, kept.content, kept.html, kept.text)
            values = (kept.name, *parts, kept.version, kept.created_at)
            if await self._server.settle(lambda again, values=values: self._server.fetch(INSERT, *values)):  # type: ignore[misc]
                return kept
        raise Conflict("this template is being changed at this very moment; ask again")

    async def get(self, name: str, version: int | None = None) -> Template | None:
        """See TemplateStore."""
        if "\x00" in name:
            return None
        if version is None:
            found = await self._newest(name)
        else:
            rows = await self._server.look(GET, name, version)
            found = Template(*rows[0]) if rows else None
        return found if found and found.subject is not None else None

    async def list(self) -> Sequence[Template]:
        """See TemplateStore."""
        return [Template(*row) for row in await self._server.look(LIST)]

    async def remove(self, name: str, now: float) -> bool:
        """See TemplateStore."""
        for _ in range(TRIES):
            newest = await self.get(name)
            if newest is None:
                return False
            values = (name, _next(newest), now)

            async def remove(again: bool, values: tuple[object, ...] = values) -> bool:
                return bool(await self._server.fetch(REMOVE, *values) or (again and await self.get(name) is None))

            if await self._server.settle(remove):
                return True
        raise Conflict("this template is being changed at this very moment; ask again")

    async def _newest(self, name: str) -> Template | None:
        rows = await self._server.look(NEWEST, name)
        return Template(*rows[0]) if rows else None


def _next(newest: Template | None) -> int:
    return (newest.version or 0) + 1 if newest else 1
