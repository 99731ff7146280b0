"""The outbox in a PostgreSQL database, shared by any number of processes. Each mail is one process's for a lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import asyncpg
import orjson

from ...access import ApiKey
from ...addition import KEEP_IDEMPOTENCY_KEYS, Added, Addition, Batch
from ...attempt import Beginning, Settlement
from ...errors import Conflict
from ...hours import Hour, hour_of
from ...listing import Listing, Page
from ...model import LANES, Attachment, Mail, Priority, Record, Report, Resolution, Status
from ...moves import Moves
from ..base import KEEP_UNMATCHED, Change, Erasure, Extent, Folded
from . import accept, deliver, inbox, keys, leases, lists, moved, reads, renewal, retention
from .address import DUMP, Address
from .batch import storable
from .bell import Bell
from .callbacks import PostgresCallbacks
from .council import PostgresCouncil
from .schema import prepare
from .server import CERTAIN, Server
from .suppressions import PostgresSuppressions
from .tally import COMPACT, COMPACT_HOURS, FORGET_HOURS
from .templates import PostgresTemplates
from .trouble import storage_trouble

LATELY = 2  # hours whose counts are written all the time
STEP = 1000  # rows of counts added up at a time

PING = "SELECT 1 FROM tally WHERE connection = -1 FOR UPDATE"  # needs what a write needs, and changes nothing
SAVE_PROVIDERS = """
WITH careless AS (
    SELECT set_config('synchronous_commit', 'off', true)
)
INSERT INTO provider AS known (name, state)
SELECT given.* FROM careless, unnest($1::text[], $2::json[]) AS given (name, state) ORDER BY name
ON CONFLICT (name) DO UPDATE SET state = excluded.state WHERE known.state::text <> excluded.state::text
"""


class PostgresOutbox:
    """An Outbox (see base.py). `lease` is in seconds; `clock` is the wall clock of this process."""

    shared = True

    def __init__(self, server: Server, bell: Bell, lease: float) -> None:
        self.lease = lease
        self._server, self._bell = server, bell
        self.council = PostgresCouncil(server, bell)
        self.callbacks = PostgresCallbacks(server)
        self.suppressions = PostgresSuppressions(server)
        self.templates = PostgresTemplates(server)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        wait: float = 0.0,
        lease: float = 60.0,
        clock: Callable[[], float] = time.time,
        patience: float = CERTAIN,
    ) -> PostgresOutbox:
        """Bring the schema up to date and connect, waiting up to `wait` seconds for a server that is not there yet.

        `patience`: seconds to find out whether something was stored when the connection was cut.

        Raises ConfigError for a database that cannot be used, StorageUnavailable for one that cannot be used now.
        """
        address = Address.parse(url)
        await prepare(address, wait)
        try:
            server = await Server.open(url, clock, patience)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise storage_trouble(error) or error from error
        return cls(server, Bell(url), lease)

    async def recover(self, now: float, on_uncertain_after: float) -> list[str]:
        """See Outbox."""
        return await leases.recover(self._server, now, on_uncertain_after)

    async def renew(self, ids: Sequence[str], now: float) -> None:
        """See Outbox."""
        await leases.renew(self._server, ids, now, self.lease)

    def listen(self, heard: Callable[[Change], None]) -> None:
        """See Outbox."""
        self._bell.listen(heard)

    async def add(self, additions: Sequence[Addition]) -> list[Added | Exception]:
        """See Outbox."""
        results = await accept.add(self._server, additions)
        if any(isinstance(result, Added) and result.status is Status.QUEUED for result in results):
            self._bell.ring(Change.DUE)
        return results

    async def add_batch(self, batch: Batch) -> str:
        """See Outbox."""
        answer = await accept.add_batch(self._server, batch)
        self._bell.ring(Change.DUE)
        return answer

    async def first_answer(self, owner: str, key: str, fingerprint: str) -> Added | str | None:
        """See Outbox."""
        return await accept.first_answer(self._server, owner, key, fingerprint)

    async def claim(self, room: int, now: float, lease: float, lanes: Sequence[Priority] = LANES) -> list[Mail]:
        """See Outbox. Not synced: after a crash of the server the mails are due again, which is true."""
        return await deliver.claim(self._server, room, now, lease, lanes)

    async def begin(self, beginnings: Sequence[Beginning]) -> list[Exception | None]:
        """See Outbox."""
        return await deliver.begin(self._server, beginnings, self.lease)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool | Exception]:
        """See Outbox. What comes after the lease was over is kept as an event `late`."""
        results = await deliver.settle(self._server, settlements, self.lease)
        pairs = zip(settlements, results, strict=True)
        await leases.note_late(self._server, [settlement for settlement, applied in pairs if applied is False])
        return results

    async def release(self, ids: Sequence[str], due_at: float) -> None:
        """See Outbox."""
        if ids:
            await deliver.release(self._server, ids, due_at)

    async def retry(self, ids: Sequence[str], now: float) -> list[bool]:
        """See Outbox."""
        done = await renewal.retry(self._server, ids, now)
        if any(done):
            self._bell.ring(Change.DUE)
        return done

    async def expire(self, now: float) -> list[tuple[str, Status]]:
        """See Outbox."""
        return await renewal.expire(self._server, now)

    async def report(self, reports: Sequence[Report], now: float) -> list[bool | Exception]:
        """See Outbox."""
        return await inbox.keep(self._server, reports, now)

    async def fold(self, room: int, now: float) -> list[Folded]:
        """See Outbox. What another process is folding is left to it."""
        return await inbox.fold(self._server, room, now)

    async def get(self, id: str, owner: str | None = None) -> Record | None:  # noqa: A002 - the field's own name
        """See Outbox."""
        return await reads.get(self._server, id, owner)

    async def mail(self, id: str) -> Mail | None:  # noqa: A002 - the field's own name
        """See Outbox."""
        return await reads.mail(self._server, id)

    async def attachments(self, id: str) -> Sequence[Attachment]:  # noqa: A002 - the field's own name
        """See Outbox."""
        return await reads.attachments(self._server, id)

    async def list(self, page: Page) -> Listing:
        """See Outbox."""
        return await lists.page(self._server, page)

    async def moved(self, since: float, limit: int) -> Moves:
        """See Outbox."""
        return await moved.moved(self._server, since, limit)

    async def counts(self) -> dict[Status, int]:
        """See Outbox."""
        return await reads.counts(self._server)

    async def hours(self, since: float, until: float) -> Sequence[Hour]:
        """See Outbox."""
        return await reads.hours(self._server, since, until)

    async def doubts(self) -> dict[tuple[str, Resolution | None], int]:
        """See Outbox."""
        return await reads.doubts(self._server)

    async def extent(self, now: float) -> Extent:
        """See Outbox. Free room is the server's business."""
        return await reads.extent(self._server, now)

    async def copy(self) -> BinaryIO:
        """See Outbox. pg_dump does it."""
        raise Conflict(f"this is PostgreSQL, which has its own tool: {DUMP}")

    async def save_providers(self, states: Sequence[dict[str, Any]]) -> None:
        """See Outbox."""
        rows = {state["name"]: orjson.dumps(state).decode() for state in states}
        storable(*rows)
        await self._server.run(lambda: self._server.fetch(SAVE_PROVIDERS, [*rows], [*rows.values()]))

    async def load_providers(self) -> Sequence[dict[str, Any]]:
        """See Outbox."""
        return await reads.providers(self._server)

    async def add_key(self, key: ApiKey) -> None:
        """See Outbox."""
        await keys.add(self._server, key)

    async def revoke_key(self, id: str, now: float) -> bool:  # noqa: A002 - the field's own name
        """See Outbox."""
        return await keys.revoke(self._server, id, now)

    async def keys(self) -> Sequence[ApiKey]:
        """See Outbox."""
        return await keys.keys(self._server)

    async def ping(self) -> None:
        """See Outbox."""
        await self._server.look(PING)

    async def tidy(self, now: float) -> bool:
        """See Outbox. Adds up the counts of connections that are gone, too."""
        more = await accept.forget_keys(self._server, now - KEEP_IDEMPOTENCY_KEYS)
        more |= await inbox.forget(self._server, now - KEEP_UNMATCHED)
        await self._server.run(lambda: self._server.fetch(COMPACT))
        past = hour_of(now) - LATELY
        await self._server.run(lambda: self._server.fetch(COMPACT_HOURS, past, STEP))
        await self._server.run(lambda: self._server.fetch(FORGET_HOURS, past))
        return more

    async def forget(self, now: float, bodies_before: float, mails_before: float) -> bool:
        """See Outbox."""
        return await retention.forget(self._server, now, bodies_before, mails_before)

    async def erase(self, address: str, now: float) -> Erasure:
        """See Outbox. The server's vacuum frees the room, and its log goes on to hold it for a while."""
        return await retention.erase(self._server, address, now)

    async def close(self) -> None:
        """See Outbox."""
        await self._bell.close()
        await self._server.close()
