"""A look at a database that changes nothing in it: can it be used, and of which version is it."""

from __future__ import annotations

import asyncpg

from ...callback import Glimpse, Off
from ...errors import ConfigError
from ..base import Inspection
from .address import Address
from .schema import CARELESS, MADE, VERSION, check, connect, scripts
from .trouble import storage_trouble

CALLBACKS = """
SELECT id, url, disabled_why, failing_since,
    (SELECT count(*) FROM mailsvc.notice WHERE callback = callback.id AND claimable_at IS NOT NULL) AS waiting
FROM mailsvc.callback WHERE removed_at IS NULL ORDER BY created_at, id
"""
CLOCK = "SELECT extract(epoch FROM clock_timestamp())::double precision"
MAY_CREATE = "SELECT to_regnamespace('mailsvc') IS NOT NULL OR has_database_privilege(current_database(), 'CREATE')"


async def inspect(url: str) -> Inspection:
    """What is there. Raises ConfigError and StorageUnavailable, as opening it would."""
    address, newest = Address.parse(url), len(scripts())
    connection = await connect(address, 0.0)
    try:
        careless = await check(connection, address)
        made = await connection.fetchval(MADE)
        schema = await connection.fetchval(VERSION) if made else 0
        if schema > newest:
            raise ConfigError([f"DATABASE_URL: {address.words} was written by a newer mailsvc (schema {schema})"])
        if not await connection.fetchval(MAY_CREATE):
            hint = "as an administrator: CREATE SCHEMA mailsvc AUTHORIZATION the_user"
            raise ConfigError([f"DATABASE_URL: {address.words}: this user may not make the schema mailsvc; {hint}"])
        clock = await connection.fetchval(CLOCK)
        callbacks = await connection.fetch(CALLBACKS) if schema == newest else None
    except (asyncpg.PostgresError, OSError) as error:
        raise storage_trouble(error) or ConfigError([f"DATABASE_URL: {address.words}: {error}"]) from error
    finally:
        connection.terminate()
    return Inspection(
        address.words,
        schema,
        newest,
        clock=clock,
        remarks=((CARELESS, "set fsync = on in its postgresql.conf"),) if careless else (),
        callbacks=None if callbacks is None else tuple(map(_glimpse, callbacks)),
    )


def _glimpse(row: asyncpg.Record) -> Glimpse:
    why = row["disabled_why"]
    return Glimpse(row["id"], row["url"], Off(why) if why else None, row["failing_since"], row["waiting"])
