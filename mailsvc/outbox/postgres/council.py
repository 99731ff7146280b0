"""What all processes go by about the providers: one row each. Times go by the server's clock, on the way as spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ...council import Agreement, Proposal
from ...feed import Feed
from ..base import Change
from .batch import harmless, storable
from .bell import Bell
from .server import Server

FOUND = "INSERT INTO agreement (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
MERGE = """
WITH given AS (
    SELECT *, extract(epoch FROM statement_timestamp())::double precision AS here
    FROM unnest($2::text[], $3::boolean[], $4::boolean[], $5::float8[], $6::boolean[], $7::float8[], $8::json[],
        $9::boolean[]) AS given (name, paused, resumed, closed_for, benched, bench_for, memory, probed)
), held AS (
    SELECT name, benched, bench_until, probe_by FROM agreement WHERE name IN (SELECT name FROM given)
    ORDER BY name FOR UPDATE
), judged AS (
    SELECT given.*, probed AND probe_by = $1 AS ended, given.benched IS NOT NULL AND CASE
            WHEN probed THEN probe_by = $1
            ELSE given.benched AND (NOT held.benched OR here + bench_for >= held.bench_until) END AS benches
    FROM given JOIN held USING (name)
)
UPDATE agreement AS known SET
    version = version + 1,
    paused = NOT resumed AND coalesce(judged.paused, known.paused),
    resumes = resumes + resumed::integer,
    closed_until = greatest(closed_until, here + closed_for),
    benched = CASE WHEN benches THEN judged.benched ELSE known.benched END,
    bench_until = CASE WHEN benches THEN here + bench_for WHEN resumed THEN here ELSE bench_until END,
    bench_by = CASE WHEN benches OR resumed THEN $1 ELSE bench_by END,
    bench_number = bench_number + (benches OR resumed)::integer,
    memory = CASE WHEN benches THEN judged.memory ELSE known.memory END,
    probe_by = CASE WHEN NOT ended THEN probe_by END
FROM judged WHERE known.name = judged.name
"""
READ = """
SELECT name, version, paused, resumes, closed_until - here AS closed_for, benched, bench_until - here AS bench_for,
    bench_by, bench_number, memory,
    CASE WHEN probe_by <> $1 AND probe_until > here THEN probe_until - here ELSE 0 END AS probed_for
FROM agreement, (SELECT extract(epoch FROM statement_timestamp())::double precision AS here) AS clock ORDER BY name
"""
CLAIM = """
UPDATE agreement SET probe_by = $1, probe_until = extract(epoch FROM statement_timestamp()) + $4
WHERE name = $2 AND version = $3
    AND (probe_by IS NULL OR probe_by = $1 OR probe_until <= extract(epoch FROM statement_timestamp()))
RETURNING name
"""

# Not synced, like all that is told every second. A process that has shown nothing for five seconds is left out.
SHOW = """
WITH careless AS (
    SELECT set_config('synchronous_commit', 'off', true)
), clock AS (
    SELECT extract(epoch FROM statement_timestamp())::double precision AS here FROM careless
), shown AS (
    INSERT INTO process (name, seen_at, sight) SELECT $1, here, $2::json FROM clock
    ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at, sight = excluded.sight RETURNING name, sight
), gone AS (
    DELETE FROM process USING clock WHERE seen_at < here - 60
)
SELECT name, sight FROM shown
UNION ALL SELECT name, sight FROM process, clock WHERE name <> $1 AND seen_at > here - 5
"""


class PostgresCouncil:
    """A Council."""

    def __init__(self, server: Server, bell: Bell) -> None:
        self._server, self._bell = server, bell

    async def found(self, names: Sequence[str]) -> None:
        """See Council."""
        storable(*names)
        await self._server.run(lambda: self._server.fetch(FOUND, sorted(names)))

    async def agree(self, process: str, proposals: Sequence[Proposal]) -> list[Agreement]:
        """See Council."""
        if proposals:
            rows = list(zip(*map(_row, proposals), strict=True))
            await self._server.run(lambda: self._server.fetch(MERGE, process, *rows))
            self._bell.ring(Change.PROVIDERS)
        return [_agreement(row) for row in await self._server.look(READ, process)]

    async def claim_probe(self, process: str, name: str, version: int, seconds: float) -> bool:
        """See Council."""
        return bool(await self._server.run(lambda: self._server.fetch(CLAIM, process, name, version, seconds)))

    async def show(self, process: str, sight: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """See Council."""
        text = harmless(orjson.dumps(dict(sight)).decode())
        rows = await self._server.run(lambda: self._server.fetch(SHOW, process, text))
        return {name: orjson.loads(shown) for name, shown in sorted(rows)}

    def relay(self, feed: Feed) -> None:
        """See Council."""
        self._bell.relay(feed)

    async def tuned(self) -> None:
        """See Council."""
        await self._bell.tuned()


def _row(given: Proposal) -> tuple[object, ...]:
    memory = orjson.dumps(dict(given.memory)).decode()
    told = (given.paused, given.resumed, given.closed_for, given.benched, given.bench_for)
    return (given.name, *told, memory, given.probed)


def _agreement(row: Mapping[str, Any]) -> Agreement:
    return Agreement(**dict(row) | {"memory": orjson.loads(row["memory"])})
