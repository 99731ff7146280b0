"""The API keys."""

from __future__ import annotations

from ...access import ApiKey, Scope
from ...errors import Conflict
from .batch import storable
from .server import Server

INSERT = "INSERT INTO api_key VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING id"
SAME = "SELECT 1 FROM api_key WHERE id = $1 AND digest = $2"
REVOKE = "UPDATE api_key SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL RETURNING id"
REVOKED = "SELECT 1 FROM api_key WHERE id = $2 AND revoked_at = $1"
KEYS = "SELECT * FROM api_key ORDER BY created_at, id"


async def add(server: Server, key: ApiKey) -> None:
    """Keep a key. Raises Conflict if its id is taken."""
    storable(key.id, key.name, key.digest, *key.domains)
    values = (key.id, key.name, key.digest, sorted(key.scopes), key.domains, key.rate, key.created_at, key.revoked_at)

    async def insert(again: bool) -> bool:
        return bool(await server.fetch(INSERT, *values) or (again and await server.fetch(SAME, key.id, key.digest)))

    if not await server.settle(insert):
        raise Conflict(f"there is a key {key.id} already")


async def revoke(server: Server, key_id: str, now: float) -> bool:
    """Revoke a key; False where there is none to revoke."""
    if "\x00" in key_id:
        return False

    async def update(again: bool) -> bool:
        return bool(await server.fetch(REVOKE, now, key_id) or (again and await server.fetch(REVOKED, now, key_id)))

    return await server.settle(update)


async def keys(server: Server) -> list[ApiKey]:
    """All keys, oldest first."""
    return [_key(*row) for row in await server.look(KEYS)]


def _key(
    key_id: str,
    name: str,
    digest: str,
    scopes: list[str],
    domains: list[str],
    rate: int | None,
    created: float,
    revoked: float | None,
) -> ApiKey:
    return ApiKey(key_id, name, digest, frozenset(map(Scope, scopes)), tuple(domains), rate, created, revoked)
