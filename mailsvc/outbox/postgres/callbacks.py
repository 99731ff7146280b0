"""The callbacks and their notices. Who writes most notices is a trigger, see the migration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ...callback import (
    PATIENCE,
    Backlog,
    Callback,
    Ending,
    Notice,
    Off,
    Replay,
    Secret,
    State,
    Told,
    Try,
    new_notice_id,
)
from ...errors import Conflict
from .batch import columns, storable
from .server import Server

STEP = 500  # notices at a time, so that nobody waits long

COLUMNS = "id, url, events, description, secrets, created_at, version, disabled_at, disabled_why, failing_since"
INSERT = f"""
INSERT INTO callback ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING id
"""  # noqa: S608 - a constant
SAME = "SELECT 1 FROM callback WHERE id = $1 AND secrets::text = $2"
CHANGE = """
UPDATE callback SET url = $1, events = $2, description = $3, secrets = $4, version = version + 1
WHERE id = $5 AND version = $6 AND removed_at IS NULL RETURNING id
"""
CHANGED = """
SELECT 1 FROM callback WHERE id = $5 AND version = $6 + 1
    AND (url, events, description, secrets::text) = ($1, $2::text[], $3, $4::json::text)
"""
SWITCH = """
UPDATE callback SET disabled_at = $1, disabled_why = $2, failing_since = NULL WHERE id = $3 AND removed_at IS NULL
RETURNING id
"""
REMOVE = "UPDATE callback SET removed_at = $1 WHERE id = $2 AND removed_at IS NULL RETURNING id"
REMOVED = "SELECT 1 FROM callback WHERE removed_at = $1 AND id = $2"
ALL = f"SELECT {COLUMNS} FROM callback WHERE removed_at IS NULL ORDER BY created_at, id"  # noqa: S608 - a constant

NOTICE = """notice.number, notice.id, notice.callback, notice.type, notice.at, notice.mail, notice.provider,
    notice.provider_message_id, notice.error, notice.tags, notice.metadata, notice.state, notice.due_at,
    notice.rung, notice.tries"""
TELL = """
INSERT INTO notice (id, callback, type, at, due_at, claimable_at) VALUES ($1, $2, $3, $4, $4, $4 + behind($5))
ON CONFLICT DO NOTHING
"""
# What only risks that a notice is told twice is not synced.
CARELESS = "careless AS (SELECT set_config('synchronous_commit', 'off', true))"
CLAIM = f"""
WITH {CARELESS}, due AS (
    SELECT found.number FROM careless, unnest($1::text[], $2::bigint[]) AS room (callback, number), LATERAL (
        SELECT notice.number FROM notice
        WHERE notice.callback = room.callback AND notice.claimable_at <= $3 + behind($4)
        ORDER BY notice.claimable_at LIMIT room.number FOR UPDATE SKIP LOCKED
    ) AS found
)
UPDATE notice SET claimable_at = $3 + behind($4) + $5 FROM due WHERE notice.number = due.number RETURNING {NOTICE}
"""  # noqa: S608 - a constant
END = f"""
WITH {CARELESS}, given AS (
    SELECT given.* FROM careless, unnest($2::bigint[], $3::bigint[], $4::float8[], $5::float8[], $6::bigint[],
        $7::text[], $8::text[], $9::float8[]) AS given (number, n, at, took, http_status, error, state, due_at)
), held AS (
    SELECT given.* FROM given JOIN notice USING (number) WHERE notice.tries = given.n - 1 AND notice.state = 'waiting'
    ORDER BY number FOR UPDATE OF notice
), tries AS (
    INSERT INTO notice_try (notice, n, at, took, http_status, error)
    SELECT number, n, at, took, http_status, error FROM held
)
UPDATE notice SET state = held.state, due_at = held.due_at, claimable_at = held.due_at + behind($1),
    rung = notice.rung + 1, tries = held.n
FROM held WHERE notice.number = held.number
"""  # noqa: S608 - a constant
# Most of the time it changes nothing: a callback is one row, and many write about it.
JUDGE = f"""
WITH {CARELESS}, given AS (
    SELECT given.* FROM careless, unnest($1::text[], $2::float8[], $3::boolean[], $4::boolean[])
        AS given (id, at, succeeded, gone)
), judged AS (
    SELECT callback.id, at, succeeded, callback.disabled_at IS NULL AND (gone OR
            (NOT succeeded AND callback.failing_since <= at - $5)) AS off,
        CASE WHEN gone THEN 'gone' ELSE 'failing' END AS why
    FROM given JOIN callback USING (id) WHERE callback.removed_at IS NULL
    ORDER BY id FOR UPDATE OF callback
)
UPDATE callback SET failing_since = CASE WHEN NOT succeeded THEN coalesce(failing_since, at) END,
    disabled_at = CASE WHEN off THEN at ELSE disabled_at END,
    disabled_why = CASE WHEN off THEN why ELSE disabled_why END
FROM judged WHERE callback.id = judged.id AND (off OR succeeded = (failing_since IS NOT NULL))
RETURNING callback.id, off
"""  # noqa: S608 - a constant
RELEASE = """
UPDATE notice SET due_at = $1, claimable_at = $1 + behind($2) WHERE id = ANY($3) AND claimable_at IS NOT NULL
"""

LOG = f"""
SELECT {NOTICE} FROM notice WHERE callback = $1 AND ($2::text IS NULL OR state = $2)
    AND ($3::text IS NULL OR (at, number) < (SELECT at, number FROM notice WHERE id = $3 AND callback = $1))
ORDER BY at DESC, number DESC LIMIT $4
"""  # noqa: S608 - a constant
FIND = f"SELECT {NOTICE} FROM notice WHERE callback = $1 AND id = $2"  # noqa: S608 - a constant
TRIES = """
SELECT notice, n, at, took, http_status, error FROM notice_try WHERE notice = ANY($1::bigint[]) ORDER BY notice, n
"""
AGAIN = "state = 'waiting', due_at = $1, claimable_at = $1 + behind($2), rung = 0"
REPLAY_ONE = f"""
UPDATE notice SET {AGAIN} WHERE callback = $3 AND id = $4 AND state <> 'waiting' RETURNING id
"""  # noqa: S608 - a constant
REPLAY_SOME = f"""
WITH found AS (
    SELECT number, at FROM notice WHERE callback = $3 AND (at, number) > ($4, $5) AND at < $6 AND state <> 'waiting'
        AND ($7::text IS NULL OR state = $7)
    ORDER BY at, number LIMIT $8 FOR UPDATE
)
UPDATE notice SET {AGAIN} FROM found WHERE notice.number = found.number RETURNING found.at, found.number
"""  # noqa: S608 - a constant
BACKLOG = """
SELECT callback.id, waiting.number, waiting.oldest - behind($1) FROM callback, LATERAL (
    SELECT count(*) AS number, min(claimable_at) AS oldest FROM notice
    WHERE notice.callback = callback.id AND claimable_at IS NOT NULL
) AS waiting WHERE removed_at IS NULL AND waiting.number > 0
"""
FORGET = f"""
WITH {CARELESS}, old AS (
    SELECT found.number FROM careless, callback, LATERAL (
        SELECT notice.number FROM notice WHERE notice.callback = callback.id AND (removed_at IS NOT NULL OR at < $1)
            AND (removed_at IS NOT NULL OR disabled_at IS NOT NULL OR state <> 'waiting')
        ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
    ) AS found
)
DELETE FROM notice USING old WHERE notice.number = old.number RETURNING notice.callback
"""  # noqa: S608 - a constant
FORGET_CALLBACKS = """
DELETE FROM callback WHERE removed_at < $1 AND NOT EXISTS (SELECT FROM notice WHERE notice.callback = callback.id)
"""


class PostgresCallbacks:
    """A CallbackStore (see callback.py)."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def add(self, callback: Callback) -> None:
        """See CallbackStore."""
        rest = (callback.created_at, callback.version, callback.disabled_at, callback.disabled_why)
        settings = _settings(callback)
        values = (callback.id, *settings, *rest, callback.failing_since)

        async def insert(again: bool) -> bool:
            known = again and await self._server.fetch(SAME, callback.id, settings[-1])
            return bool(await self._server.fetch(INSERT, *values) or known)

        if not await self._server.settle(insert):
            raise Conflict(f"there is a callback {callback.id} already")

    async def change(self, callback: Callback) -> bool:
        """See CallbackStore."""
        return await self._sure(CHANGE, CHANGED, *_settings(callback), callback.id, callback.version)

    async def switch(self, id: str, disabled_at: float | None) -> bool:  # noqa: A002 - the field's own name
        """See CallbackStore."""
        why = None if disabled_at is None else Off.HAND.value
        return await self._sure(SWITCH, SWITCH, disabled_at, why, id)

    async def remove(self, id: str, now: float) -> bool:  # noqa: A002 - the field's own name
        """See CallbackStore."""
        return await self._sure(REMOVE, REMOVED, now, id)

    async def all(self) -> Sequence[Callback]:
        """See CallbackStore."""
        return [_callback(*row) for row in await self._server.look(ALL)]

    async def tell(self, id: str, type: str, now: float) -> str:  # noqa: A002 - the fields' own names
        """See CallbackStore."""
        notice_id = new_notice_id()
        values = (notice_id, id, type, now, self._server.here())
        await self._server.settle(lambda again: self._server.fetch(TELL, *values))
        return notice_id

    async def claim(self, rooms: Mapping[str, int], now: float, lease: float) -> Sequence[Notice]:
        """See CallbackStore."""
        values = ([*rooms], [max(0, room) for room in rooms.values()], now, self._server.here(), lease)
        rows = await self._server.run(lambda: self._server.fetch(CLAIM, *values))
        return sorted((_notice(*row) for row in rows), key=lambda notice: notice.number)

    async def end(self, endings: Sequence[Ending]) -> Sequence[str]:
        """See CallbackStore."""
        rows = columns([_ending(each) for each in endings], 8)
        await self._server.run(lambda: self._server.fetch(END, self._server.here(), *rows))
        judged = columns(_verdicts(endings), 4)
        changed = await self._server.run(lambda: self._server.fetch(JUDGE, *judged, PATIENCE))
        return [callback_id for callback_id, off in changed if off]

    async def release(self, ids: Sequence[str], now: float) -> None:
        """See CallbackStore."""
        await self._server.run(lambda: self._server.fetch(RELEASE, now, self._server.here(), [*ids]))

    async def log(
        self,
        id: str,  # noqa: A002 - the field's own name
        limit: int,
        after: str | None = None,
        state: State | None = None,
    ) -> Sequence[Told]:
        """See CallbackStore."""
        if "\x00" in id + (after or ""):
            return []
        return await self._told(LOG, id, state and state.value, after, limit)

    async def find(self, id: str, notice_id: str) -> Told | None:  # noqa: A002 - the field's own name
        """See CallbackStore."""
        found = [] if "\x00" in id + notice_id else await self._told(FIND, id, notice_id)
        return found[0] if found else None

    async def _told(self, sql: str, *values: object) -> list[Told]:
        rows = await self._server.look(sql, *values)
        notices = [_notice(*row) for row in rows]
        tries: dict[int, list[Try]] = {notice.number: [] for notice in notices}
        for number, *done in await self._server.look(TRIES, [*tries]):
            tries[number].append(Try(*done))
        # What has ended between the two looks is not told yet: the notice would seem to wait after its success.
        return [Told(notice, tuple(tries[notice.number][: notice.tries])) for notice in notices]

    async def replay(self, id: str, wanted: Replay, now: float) -> int:  # noqa: A002 - the field's own name
        """See CallbackStore. In steps, so that nobody waits long."""
        if "\x00" in id + (wanted.id or ""):
            return 0
        again = (now, self._server.here(), id)
        if wanted.id is not None:
            return len(await self._server.run(lambda: self._server.fetch(REPLAY_ONE, *again, wanted.id)))
        last, total, more = (wanted.since, -1), 0, True
        while more:
            values = (*again, *last, wanted.until, wanted.state and wanted.state.value, STEP)
            found = await self._server.run(lambda values=values: self._server.fetch(REPLAY_SOME, *values))  # type: ignore[misc]
            total, more = total + len(found), len(found) == STEP
            last = max((tuple(row) for row in found), default=last)
        return total

    async def backlog(self) -> Mapping[str, Backlog]:
        """See CallbackStore."""
        rows = await self._server.look(BACKLOG, self._server.here())
        return {callback: Backlog(number, oldest) for callback, number, oldest in rows}

    async def forget(self, before: float) -> bool:
        """See CallbackStore. A callback that was removed goes a while later: somebody may just be writing to it."""
        gone = await self._server.run(lambda: self._server.fetch(FORGET, before, STEP))
        await self._server.run(lambda: self._server.fetch(FORGET_CALLBACKS, before))
        return len(gone) >= STEP

    async def _sure(self, sql: str, done: str, *values: object) -> bool:
        """Whether a statement changed a row, also if the connection was cut; `done` finds out whether it had."""
        if any(isinstance(value, str) and "\x00" in value for value in values):
            return False

        async def run(again: bool) -> bool:
            return bool(await self._server.fetch(sql, *values) or (again and await self._server.fetch(done, *values)))

        return await self._server.settle(run)


def _settings(callback: Callback) -> tuple[str, tuple[str, ...], str, str]:
    storable(callback.id, callback.url, callback.description, *callback.events)
    secrets = orjson.dumps([(secret.text, secret.until) for secret in callback.secrets]).decode()
    return callback.url, callback.events, callback.description, secrets


def _callback(
    callback_id: str, url: str, events: list[str], description: str, secrets: str, created: float, version: int,
    disabled_at: float | None, why: str | None, failing_since: float | None,
) -> Callback:  # fmt: skip
    known = tuple(Secret(*secret) for secret in orjson.loads(secrets))
    rest = (version, disabled_at, Off(why) if why else None, failing_since)
    return Callback(callback_id, url, tuple(events), description, known, created, *rest)


def _notice(*row: Any) -> Notice:
    tags, metadata, state = row[9:12]
    labels = (tuple(orjson.loads(tags or "[]")), orjson.loads(metadata or "{}"))
    values = [*row[:5], row[5] and str(row[5]), *row[6:9], *labels, State(state), *row[12:]]
    return Notice(*values)


def _ending(each: Ending) -> tuple[object, ...]:
    done = each.done
    tried = (done.n, done.at, done.took, done.http_status, done.error)
    return each.notice.number, *tried, each.state.value, each.due_at


def _verdicts(endings: Sequence[Ending]) -> list[tuple[object, ...]]:
    """One for each callback: a single success is enough for none to be failing."""
    found: dict[str, tuple[float, bool, bool]] = {}
    for each in endings:
        at, succeeded, gone = found.get(each.notice.callback, (each.done.at, False, False))
        succeeded, gone = succeeded or each.done.error is None, gone or each.gone
        found[each.notice.callback] = (max(at, each.done.at), succeeded, gone)
    return [(callback_id, *verdict) for callback_id, verdict in found.items()]
