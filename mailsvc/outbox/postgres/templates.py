"""The templates and their versions. Changes are made one after the other, by whichever process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import asyncpg

from ...errors import Conflict, StorageUnavailable
from ...template import MOST, Template
from .batch import storable
from .server import ANSWER, Server

R = TypeVar("R")

LOCK = 0x6D61696C73766374  # "mailsvct": the advisory lock of those who change templates

COLUMNS = "name, subject, content, html, text, version, created_at"
INSERT = f"INSERT INTO template ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608 - a constant
GET = f"SELECT {COLUMNS} FROM template WHERE name = $1 AND version = $2"  # noqa: S608 - a constant
NEWEST = f"SELECT {COLUMNS} FROM template WHERE name = $1 ORDER BY version DESC LIMIT 1"  # noqa: S608 - a constant
THERE = """
FROM template AS one WHERE subject IS NOT NULL
    AND NOT EXISTS (SELECT FROM template AS later WHERE later.name = one.name AND later.version > one.version)
"""
LIST = f"SELECT {COLUMNS} {THERE} ORDER BY name"
COUNT = f"SELECT count(*) {THERE}"
DELETE = "DELETE FROM template WHERE name = $1"
# A statement of its own: those that follow it see what was committed while it waited.
ALONE = "SELECT pg_advisory_xact_lock($1)"


class PostgresTemplates:
    """A TemplateStore (see template.py)."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._turn = asyncio.Lock()  # so that changes take one connection, however many wait

    async def put(self, template: Template, now: float) -> Template:
        """See TemplateStore. What was stored when the connection was cut is found: it is the newest version already."""
        storable(template.name, *template.parts.values())
        return await self._change(lambda connection, _: _put(connection, template, now))

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
        if "\x00" in name:
            return False
        return await self._change(lambda connection, again: _remove(connection, name, now, again))

    async def _change(self, work: Callable[[asyncpg.Connection, bool], Awaitable[R]]) -> R:
        """Do some work while nobody else changes templates; it is told whether it may have been done before."""
        try:
            async with asyncio.timeout(ANSWER):
                await self._turn.acquire()
        except TimeoutError:
            raise StorageUnavailable("other templates are being stored, and PostgreSQL is slow") from None

        async def alone(connection: asyncpg.Connection, again: bool) -> R:
            await connection.fetch(ALONE, LOCK)
            return await work(connection, again)

        try:
            return await self._server.settle(
                lambda again: self._server.transact(lambda connection: alone(connection, again))
            )
        finally:
            self._turn.release()

    async def _newest(self, name: str) -> Template | None:
        rows = await self._server.look(NEWEST, name)
        return Template(*rows[0]) if rows else None


async def _put(connection: asyncpg.Connection, template: Template, now: float) -> Template:
    newest = await _newest(connection, template.name)
    if newest and newest.subject is not None and newest.parts == template.parts:
        return newest
    if (newest is None or newest.subject is None) and await connection.fetchval(COUNT) >= MOST:
        raise Conflict(f"there are {MOST} templates, and no more are allowed", "too_many_templates")
    kept = replace(template, version=_next(newest), created_at=now)
    parts = (kept.subject, kept.content, kept.html, kept.text)
    await connection.execute(INSERT, kept.name, *parts, kept.version, now)
    return kept


async def _remove(connection: asyncpg.Connection, name: str, now: float, again: bool) -> bool:
    newest = await _newest(connection, name)
    if again and newest and not newest.subject and newest.created_at == now:
        return True
    if newest is None or newest.subject is None:
        return False
    await connection.execute(DELETE, name)
    await connection.execute(INSERT, name, None, None, None, None, _next(newest), now)
    return True


async def _newest(connection: asyncpg.Connection, name: str) -> Template | None:
    rows = await connection.fetch(NEWEST, name)
    return Template(*rows[0]) if rows else None


def _next(newest: Template | None) -> int:
    return (newest.version or 0) + 1 if newest else 1
