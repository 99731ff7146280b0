"""The database: can it be used, is it whole, what has to happen to it."""

from __future__ import annotations

import asyncio

from ..errors import ConfigError, StorageBroken, StorageUnavailable
from ..outbox import inspect
from ..outbox.base import Inspection
from . import disk
from .base import Finding, fail, misconfigured, ok, warn


async def check(url: str) -> tuple[Inspection | None, list[Finding]]:
    """What the database shows, None if it could not be looked at, and what there is to say about it."""
    try:
        seen = await inspect(url)
    except ConfigError as error:
        return None, [
            misconfigured("database", fault.removeprefix("DATABASE_URL: "), "set DATABASE_URL right")
            for fault in error.faults
        ]
    except StorageBroken as error:
        return None, [fail("database", str(error), "restore a backup, or save what is left with `sqlite3 .recover`")]
    except StorageUnavailable as error:
        return None, [fail("database", str(error), "see that it is there, and try again")]
    found = [_state(seen), *(warn("database", words, fix) for words, fix in seen.remarks)]
    if seen.file:
        found += await asyncio.to_thread(disk.check, seen.file)
    return seen, found


def _state(seen: Inspection) -> Finding:
    if seen.owner:
        return ok("database", f"{seen.owner}; its inside is not looked at meanwhile")
    if not seen.schema:
        return ok("database", f"{seen.place} is empty: the first start makes what is needed")
    if seen.schema < seen.newest:
        steps = f"from schema {seen.schema} to {seen.newest}"
        return ok("database", f"{seen.place} will be brought {steps} by the next start, or by mailsvc migrate")
    return ok("database", f"{seen.place} is whole and of the newest schema ({seen.newest})")
