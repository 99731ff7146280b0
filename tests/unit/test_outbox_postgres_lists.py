"""How PostgreSQL finds the mails of a list, whatever is asked together."""

import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from mailsvc.listing import Page
from mailsvc.model import Status
from mailsvc.outbox.postgres import lists
from mailsvc.outbox.postgres.server import SETTINGS
from tests.contract.samples import NOW
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import opened, session

FILTERS: dict[str, object] = {
    "status": Status.SENT,
    "to": "ann@example.com",
    "provider": "alpha",
    "owner": "one",
    "tag": "welcome",
    "metadata": ("order", "1"),
    "since": NOW,
    "until": NOW + 60,
    "after": "01890000-0000-7000-8000-000000000001",
}
COMBINATIONS = [names for size in (0, 1, 2, len(FILTERS)) for names in itertools.combinations(FILTERS, size)]
INDEXES = {
    ("mail", "true"): "mail_pkey",
    ("mail", "mail.status = {}"): "mail_status",
    ("mail", "mail.provider = {}"): "mail_provider",
    ("mail", "mail.owner = {}"): "mail_owner",
    ("recipient", 'lower(address) = lower({}::text COLLATE "C")'): "recipient_address",
    ("mail_tag", "tag = {}"): "mail_tag_pkey",
    ("mail_metadata", "key = {} AND value = {}"): "mail_metadata_pkey",
}


@asynccontextmanager
async def planning(postgres: PostgresServer) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """Tells the plan that the server makes for a statement whose values it does not know, on empty tables."""
    numbers = itertools.count()
    async with opened(url := postgres.create()), session(url) as other:
        for setting, value in SETTINGS.items():
            await other.execute(f"SET {setting} = '{value}'")
        await other.execute("SET plan_cache_mode = force_generic_plan")

        async def plan(sql: str) -> str:
            name = f"planned_{next(numbers)}"
            await other.execute(f"PREPARE {name} AS {sql}")
            nulls = ", ".join("NULL" for _ in (await other.prepare(sql)).get_parameters())
            values = f"({nulls})" if nulls else ""
            rows = await other.fetch(f"EXPLAIN (COSTS OFF) EXECUTE {name} {values}")
            return "\n".join(row[0] for row in rows)

        yield plan


async def test_a_list_walks_the_index_of_one_filter_and_sorts_nothing(postgres: PostgresServer) -> None:
    async with planning(postgres) as plan:
        for names in COMBINATIONS:
            page = Page(**{name: FILTERS[name] for name in names})  # type: ignore[arg-type]
            for way in [*lists.ways(page)] or [lists.EVERY]:
                steps = await plan(lists.page_query(page, way, UUID(int=1))[0])
                index = INDEXES[way.table, way.condition]
                assert re.search(rf"Index (Only )?Scan Backward using {index} ", steps), (names, steps)
                assert not re.search(r"Seq Scan|Bitmap|Hash|Merge Join|Materialize|Incremental", steps), (names, steps)
                assert steps.count("Sort") == steps.count('Sort Key: recipient_1."position"'), (names, steps)


async def test_how_far_a_list_may_go_is_read_from_the_indexes(postgres: PostgresServer) -> None:
    async with planning(postgres) as plan:
        for names in COMBINATIONS:
            page = Page(**{name: FILTERS[name] for name in names})  # type: ignore[arg-type]
            if len(ways := [*lists.ways(page)]) > 1:
                steps = await plan(lists.floor_query(page)[0])
                assert all(INDEXES[way.table, way.condition] in steps for way in ways), (names, steps)
                assert not re.search(r"Seq Scan|Bitmap|Sort", steps), (names, steps)
