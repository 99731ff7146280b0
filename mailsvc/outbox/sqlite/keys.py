"""The API keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from ...access import ApiKey, Scope
from ...errors import Conflict
from .engine import Transaction

INSERT = "INSERT INTO api_key VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
REVOKE = "UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
KEYS = "SELECT * FROM api_key ORDER BY created_at, id"


@dataclass(frozen=True, slots=True)
class Revocation:
    """The key with this id is revoked as of `now`."""

    key_id: str
    now: float


def add(transaction: Transaction, keys: Sequence[ApiKey]) -> list[Exception | None]:
    """Keep keys."""
    return [_add(transaction.connection, key) for key in keys]


def _add(connection: sqlite3.Connection, key: ApiKey) -> Conflict | None:
    rules = (orjson.dumps(sorted(key.scopes)).decode(), orjson.dumps(key.domains).decode(), key.rate)
    values = (key.id, key.name, key.digest, *rules, key.created_at, key.revoked_at)
    taken = connection.execute(INSERT, values).rowcount == 0
    return Conflict(f"there is a key {key.id} already") if taken else None


def revoke(transaction: Transaction, revocations: Sequence[Revocation]) -> list[bool | Exception]:
    """Revoke keys; False where there is none to revoke."""
    connection = transaction.connection
    return [connection.execute(REVOKE, (each.now, each.key_id)).rowcount == 1 for each in revocations]


def keys(connection: sqlite3.Connection) -> list[ApiKey]:
    """All keys, oldest first."""
    return [_key(*row) for row in connection.execute(KEYS)]


def _key(
    key_id: str,
    name: str,
    digest: str,
    scopes: str,
    domains: str,
    rate: int | None,
    created: float,
    revoked: float | None,
) -> ApiKey:
    allowed = frozenset(map(Scope, orjson.loads(scopes)))
    return ApiKey(key_id, name, digest, allowed, tuple(orjson.loads(domains)), rate, created, revoked)
