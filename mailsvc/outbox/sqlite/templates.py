"""The templates and their versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...errors import Conflict
from ...template import MOST, Template
from .engine import Engine, Transaction

COLUMNS = "name, subject, content, html, text, version, created_at"
INSERT = f"INSERT INTO template ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - a constant
GET = f"SELECT {COLUMNS} FROM template WHERE name = ? AND version = ?"  # noqa: S608 - a constant
NEWEST = f"SELECT {COLUMNS} FROM template WHERE name = ? ORDER BY version DESC LIMIT 1"  # noqa: S608 - a constant
THERE = """
FROM template AS one WHERE subject IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM template AS later WHERE later.name = one.name AND later.version > one.version)
"""
LIST = f"SELECT {COLUMNS} {THERE} ORDER BY name"
COUNT = f"SELECT count(*) {THERE}"
DELETE = "DELETE FROM template WHERE name = ?"


@dataclass(frozen=True, slots=True)
class Change:
    """These parts become the newest version, or the template is removed."""

    template: Template
    now: float


class SqliteTemplates:
    """A TemplateStore (see template.py)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put(self, template: Template, now: float) -> Template:
        """See TemplateStore."""
        (kept,) = await self._engine.write(_put, [Change(template, now)])
        if isinstance(kept, Exception):
            raise kept
        return kept

    async def get(self, name: str, version: int | None = None) -> Template | None:
        """See TemplateStore."""
        sql, values = (NEWEST, (name,)) if version is None else (GET, (name, version))
        rows = await self._engine.run(lambda connection: connection.execute(sql, values).fetchall())
        return Template(*rows[0]) if rows and rows[0][1] is not None else None

    async def list(self) -> Sequence[Template]:
        """See TemplateStore."""
        return await self._engine.run(lambda connection: [Template(*row) for row in connection.execute(LIST)])

    async def remove(self, name: str, now: float) -> bool:
        """See TemplateStore."""
        (removed,) = await self._engine.write(_remove, [Change(Template(name, ""), now)])
        if isinstance(removed, Exception):
            raise removed
        return removed


def _put(transaction: Transaction, changes: Sequence[Change]) -> list[Template | Exception]:
    return [_put_one(transaction.connection, each.template, each.now) for each in changes]


def _put_one(connection: sqlite3.Connection, template: Template, now: float) -> Template | Exception:
    newest = _newest(connection, template.name)
    if newest and newest.subject is not None and newest.parts == template.parts:
        return newest
    if (newest is None or newest.subject is None) and connection.execute(COUNT).fetchone()[0] >= MOST:
        return Conflict(f"there are {MOST} templates, and no more are allowed", "too_many_templates")
    kept = replace(template, version=_next(newest), created_at=now)
    connection.execute(INSERT, _row(kept))
    return kept


def _remove(transaction: Transaction, changes: Sequence[Change]) -> list[bool | Exception]:
    return [_remove_one(transaction.connection, each.template.name, each.now) for each in changes]


def _remove_one(connection: sqlite3.Connection, name: str, now: float) -> bool:
    newest = _newest(connection, name)
    if newest is None or newest.subject is None:
        return False
    connection.execute(DELETE, (name,))
    connection.execute(INSERT, (name, None, None, None, None, _next(newest), now))
    return True


def _newest(connection: sqlite3.Connection, name: str) -> Template | None:
    row = connection.execute(NEWEST, (name,)).fetchone()
    return Template(*row) if row else None


def _next(newest: Template | None) -> int:
    return (newest.version or 0) + 1 if newest else 1


def _row(template: Template) -> tuple[object, ...]:
    parts = (template.subject, template.content, template.html, template.text)
    return (template.name, *parts, template.version, template.created_at)
