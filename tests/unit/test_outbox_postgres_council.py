"""Where processes agree about providers: how what several of them say is merged."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import mailsvc.outbox
from mailsvc.council import Agreement, Council, Proposal
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import opened, session

MIGRATION = Path(mailsvc.outbox.__file__).parent / "migrations/postgres/0007_agreement.sql"


@asynccontextmanager
async def council(postgres: PostgresServer) -> AsyncIterator[Council]:
    async with opened(postgres.create()) as outbox:
        await outbox.council.found(["alpha", "beta"])
        yield outbox.council


async def say(where: Council, process: str, **what: object) -> Agreement:
    """Propose something about alpha; what holds then."""
    proposals = [Proposal("alpha", **what)] if what else []  # type: ignore[arg-type]
    alpha, beta = await where.agree(process, proposals)
    assert (alpha.name, beta.name, beta.version) == ("alpha", "beta", 0)
    return alpha


async def test_the_later_end_of_a_bench_and_of_a_closing_wins(postgres: PostgresServer) -> None:
    async with council(postgres) as where:
        await say(where, "one", benched=True, bench_for=60.0, memory={"level": 3}, closed_for=20.0)
        shorter = await say(where, "two", benched=True, bench_for=5.0, memory={"level": 1}, closed_for=90.0)
        longer = await say(where, "two", benched=True, bench_for=70.0, memory={"level": 4}, closed_for=2.0)

    assert (shorter.benched, shorter.bench_by, shorter.memory) == (True, "one", {"level": 3})
    assert 55 < shorter.bench_for <= 60
    assert (longer.bench_by, longer.memory) == ("two", {"level": 4})
    assert 65 < longer.bench_for <= 70
    assert all(85 < each.closed_for <= 90 for each in (shorter, longer))


async def test_a_resume_clears_a_pause_and_lets_a_bench_end_in_a_probe(postgres: PostgresServer) -> None:
    async with council(postgres) as where:
        paused = await say(where, "one", paused=True, benched=True, bench_for=60.0)
        resumed = await say(where, "two", resumed=True)

    assert (paused.paused, resumed.paused, resumed.benched) == (True, False, True)
    assert resumed.bench_for <= 0
    assert resumed.resumes == paused.resumes + 1


async def test_one_process_at_a_time_has_the_probe(postgres: PostgresServer) -> None:
    async with council(postgres) as where:
        version = (await say(where, "one", benched=True)).version
        claims = [
            await where.claim_probe(process, "alpha", version, 60.0) for process in ("two", "one", "three", "two")
        ]
        others = (await say(where, "one")).probed_for
        own = (await say(where, "two")).probed_for
        over = await say(where, "two", benched=True, bench_for=9.0, probed=True)
        stale = await where.claim_probe("one", "alpha", version, 60.0)
        fresh = await where.claim_probe("one", "alpha", over.version, 60.0)

    assert claims == [True, False, False, True]
    assert 55 < others <= 60
    assert own == 0
    assert (stale, fresh) == (False, True)


async def test_a_process_that_died_with_a_probe_does_not_keep_it(postgres: PostgresServer) -> None:
    async with council(postgres) as where:
        version = (await say(where, "one", benched=True)).version
        claims = [await where.claim_probe("one", "alpha", version, 0.0)]
        claims.append(await where.claim_probe("two", "alpha", version, 60.0))
        late = await say(where, "one", benched=False, probed=True)

    assert claims == [True, True]
    assert late.benched


async def test_only_who_has_the_probe_ends_the_bench(postgres: PostgresServer) -> None:
    async with council(postgres) as where:
        version = (await say(where, "one", benched=True, bench_for=1.0)).version
        without = await say(where, "two", benched=False)
        await where.claim_probe("two", "alpha", without.version, 60.0)
        trial = await say(where, "two", benched=True, bench_for=0.0, memory={"trials": 1}, probed=True)
        await where.claim_probe("one", "alpha", trial.version, 60.0)
        ended = await say(where, "one", benched=False, memory={"health": 0.9}, probed=True)

    assert without.benched
    assert version < without.version
    assert (trial.benched, trial.memory, trial.bench_by) == (True, {"trials": 1}, "two")
    assert (ended.benched, ended.bench_by) == (False, "one")


async def test_who_was_paused_before_processes_agreed_stays_paused(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as outbox:
        await outbox.save_providers([{"name": "alpha", "memory": {"paused": True}}, {"name": "beta"}])
    async with session(url) as older:
        await older.execute("DROP TABLE agreement")
        await older.execute(MIGRATION.read_text())
    async with opened(url) as outbox:
        found = await outbox.council.agree("one", [])

    assert [(each.name, each.paused) for each in found] == [("alpha", True), ("beta", False)]
