"""Several processes that agree about providers, on a real database: what one has found out, the others go by."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mailsvc.accord import Accord
from mailsvc.selector import Selector, Verdict
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import opened
from tests.unit.selecting import BASES, attempt, health, score, spare, state


class Process:
    """A selector with its accord, and a clock that tests turn."""

    def __init__(self, accord: Accord, selector: Selector) -> None:
        self.accord, self.selector = accord, selector


@asynccontextmanager
async def processes(postgres: PostgresServer, number: int, clock: list[float]) -> AsyncIterator[list[Process]]:
    async with opened(postgres.create()) as outbox:
        made = []
        for each in range(number):
            selector = Selector(BASES, rng=random.Random(each))
            made.append(Process(Accord(outbox.council, selector, f"p{each}", 60.0, lambda: clock[0]), selector))
            await made[-1].accord.start()
        try:
            yield made
        finally:
            for each in made:
                await each.accord.stop()


def fail(process: Process, at: float, times: int = 3) -> None:
    for number in range(times):
        attempt(process.selector, "a", Verdict.SERVER_ERROR, at - 0.2 + number / 10)


async def probe(process: Process, verdict: Verdict, at: float) -> bool:
    """Try `a` if that is allowed; whether it was."""
    flight = process.selector.start("a", at)
    assert flight.probe
    if wait := await process.accord.claim_probe("a"):
        process.selector.give_way(flight, at, at + wait)
        return False
    process.selector.finish(flight, verdict, at)
    await process.accord.agree()
    return True


async def test_a_bench_holds_for_all_and_the_score_is_each_ones_own(postgres: PostgresServer) -> None:
    async with processes(postgres, 2, [100.0]) as (one, two):
        fail(one, 100.0)
        await one.accord.agree()
        await two.accord.agree()

        assert [state(each.selector, "a", 100.0) for each in (one, two)] == ["benched", "benched"]
        assert two.selector.pick(100.0) == "b"
        assert score(one.selector, "a", 100.0) < score(two.selector, "a", 100.0) == 50.0


async def test_a_closing_and_a_pause_hold_for_all_and_a_resume_as_well(postgres: PostgresServer) -> None:
    async with processes(postgres, 2, [100.0]) as (one, two):
        attempt(one.selector, "a", Verdict.RATE_LIMITED, 100.0, retry_after=60.0)
        two.selector.pause("b")
        for each in (one, two, one):
            await each.accord.agree()
        states = [[state(each.selector, name, 100.0) for name in "ab"] for each in (one, two)]
        one.selector.resume("b")
        await one.accord.resume("b")
        await two.accord.agree()
        after = [state(each.selector, "b", 100.0) for each in (one, two)]

    assert states == [["closed", "paused"]] * 2
    assert after == ["open", "open"]


async def test_one_process_probes_and_its_failure_holds_for_all(postgres: PostgresServer) -> None:
    clock = [100.0]
    async with processes(postgres, 3, clock) as (one, two, three):
        fail(one, 100.0)
        for each in (one, two, three):
            await each.accord.agree()
            spare(each.selector, 101.0)
        clock[0] = 107.0
        first = one.selector.start("a", 107.0)
        allowed = await one.accord.claim_probe("a")
        others = [await probe(each, Verdict.OK, 107.0) for each in (two, three)]
        picks = [each.selector.pick(107.0) for each in (two, three)]
        one.selector.finish(first, Verdict.SERVER_ERROR, 107.5)
        await one.accord.agree()
        stale = await probe(two, Verdict.OK, 170.0)
        for each in (two, three):
            await each.accord.agree()
        again = [each.selector.pick(115.0) for each in (two, three)]

    assert (allowed, others, picks) == (0.0, [False, False], ["b", "b"])
    assert not stale  # a process that has not heard of the failure makes no probe of its own
    assert again == ["b", "b"]


async def test_three_trials_by_three_processes_end_the_bench_for_all(postgres: PostgresServer) -> None:
    clock = [100.0]
    async with processes(postgres, 3, clock) as made:
        fail(made[0], 100.0, times=20)
        for each in made:
            await each.accord.agree()
            spare(each.selector, 101.0)
        clock[0] = 107.0
        tries = []
        for each in made:
            await each.accord.agree()
            tries.append(await probe(each, Verdict.OK, 107.0))
        for each in made:
            await each.accord.agree()
        states = [state(each.selector, "a", 107.0) for each in made]
        healths = [health(each.selector, "a", 107.0) for each in made]

    assert tries == [True] * 3
    assert states == ["open"] * 3
    assert min(healths) > 0.9


async def test_what_happens_here_while_others_are_asked_is_not_forgotten(postgres: PostgresServer) -> None:
    async with processes(postgres, 2, [100.0]) as (one, two):
        two.selector.pause("b")
        await two.accord.agree()
        agreeing = asyncio.create_task(one.accord.agree())
        await asyncio.sleep(0)  # it has said that it has nothing to say
        fail(one, 100.0)
        await agreeing
        await two.accord.agree()

        assert [state(each.selector, "a", 100.0) for each in (one, two)] == ["benched"] * 2
        assert [state(each.selector, "b", 100.0) for each in (one, two)] == ["paused"] * 2


async def test_who_starts_goes_by_what_holds_and_not_by_what_a_lost_process_knew(postgres: PostgresServer) -> None:
    async with opened(postgres.create()) as outbox:
        old, new = (Selector(BASES, rng=random.Random(1)) for _ in range(2))
        for number in range(3):
            attempt(old, "a", Verdict.SERVER_ERROR, 99.0 + number / 10)
        old.pause("b")  # neither of which it could tell anybody
        new.restore(old.snapshot(100.0), 100.0)
        accord = Accord(outbox.council, new, "new", 60.0, lambda: 100.0)
        await accord.start()
        await accord.stop()

        assert [state(new, name, 100.0) for name in "ab"] == ["open", "open"]
        assert new.pick(100.0) is not None


async def test_a_dead_provider_is_not_taken_for_sick_by_who_only_heard_of_it(postgres: PostgresServer) -> None:
    async with processes(postgres, 2, [100.0]) as (one, two):
        for each in (one, two):
            each.selector.pause("b")
        fail(one, 100.0, times=20)
        await one.accord.agree()
        await two.accord.agree()

        assert [each.selector.pick(100.0) for each in (one, two)] == [None, None]
