"""WEB_CONCURRENCY: several processes behind one port, looked after by a parent."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from prometheus_client import parser

from mailsvc.supervisor import FAILURES, pause_after
from tests.e2e.process import FORM, Mailsvc, run
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider
from tests.postgres import PostgresServer


def children(service: Mailsvc) -> set[int]:
    """The processes that the parent has started and that have not ended."""
    return set(map(int, Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()))


def alive(pids: set[int]) -> set[int]:
    """Those that have not ended; one that nobody has waited for yet has."""
    states = {pid: Path(f"/proc/{pid}/stat") for pid in pids}
    return {pid for pid, stat in states.items() if stat.exists() and ") Z " not in stat.read_text()}


async def gone(pids: set[int]) -> None:
    """Wait until none of them is there any more."""
    while alive(pids):
        await asyncio.sleep(0.02)


def told(service: Mailsvc, event: str) -> list[dict[str, object]]:
    """The log's lines about something."""
    lines = [json.loads(line) for line in service.log if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


async def test_processes_share_a_port_and_the_work_and_one_that_is_killed_is_replaced(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with FakeProvider() as sendgrid:
        settings = live(sendgrid, DATABASE_URL=postgres.create(), WEB_CONCURRENCY="3", MAILSVC_LEASE="2")
        async with Mailsvc(tmp_path, **settings, MAILSVC_UNCERTAIN_AFTER="1") as service:
            first = children(service)
            ids = [await service.post(to=f"user{number}@example.com") for number in range(30)]
            victim = min(first)
            os.kill(victim, signal.SIGKILL)
            while len(told(service, "process_serves")) < 4:
                await asyncio.sleep(0.02)
            second = children(service)
            ids += [await service.post(to=f"late{number}@example.com") for number in range(30)]
            for mail_id in ids:
                await service.until(mail_id, "sent")
            service.terminate()
            code = await service.ended()

    assert (len(first), len(second), second & first) == (3, 3, first - {victim})
    assert {entry.mail_id for entry in sendgrid.ledger if entry.accepted} == set(ids)
    assert len({line["process"] for line in told(service, "serving")}) == 4
    assert [line["pid"] for line in told(service, "process_ended")] == [victim]
    assert code == 0
    assert alive(first | second) == set()


async def test_the_end_waits_for_the_deliveries_of_all_processes(tmp_path: Path, postgres: PostgresServer) -> None:
    async with FakeProvider() as sendgrid:
        sendgrid.fault("delay", seconds=1.0)
        settings = live(sendgrid, DATABASE_URL=postgres.create(), WEB_CONCURRENCY="2", MAILSVC_CONCURRENCY="8")
        async with Mailsvc(tmp_path, **settings) as service:
            ids = await asyncio.gather(*(service.post(to=f"user{number}@example.com") for number in range(16)))
            for mail_id in ids:
                await service.until(mail_id, "sending", "sent")
            service.terminate()
            service.terminate()
            code = await service.ended()
            await service.start()
            states = {(await service.mail(mail_id))["status"] for mail_id in ids}

    assert (code, states) == (0, {"sent"})
    assert [sendgrid.accepted(mail_id) for mail_id in ids] == [1] * 16


async def test_any_process_tells_the_metrics_of_all_and_no_counter_goes_back(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with FakeProvider() as sendgrid:
        settings = live(sendgrid, DATABASE_URL=postgres.create(), WEB_CONCURRENCY="3")
        async with Mailsvc(tmp_path, **settings) as service:
            before: dict[tuple[str, object], float] = {}
            asked, gone_back = set[str](), list[object]()
            for number in range(1500):
                await service.post(to=f"user{number}@example.com")
                # Each request on a connection of its own, so that another process may answer.
                _, _, text = await service.call("GET", "/metrics", headers={"Connection": "close"})
                found = counters(text)
                gone_back += [(key, before[key], value) for key, value in found.items() if value < before.get(key, 0)]
                gone_back += list(before.keys() - found.keys())
                before = found
                asked = {process for name, (process, *_) in found if name == "mailsvc_attempts_total"}
                if number >= 149 and len(asked) == 3:  # each of them has had some of the work
                    break
            _, _, rows = await service.call("GET", "/providers")
            told = {row["process"] for row in rows[0]["processes"]}

    assert gone_back == []
    assert len(asked) == 3
    assert told == asked


def counters(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every counter of mailsvc, by its name and its labels' values, of which the process is the first."""
    return {
        (sample.name, (sample.labels["process"], *sorted(sample.labels.values()))): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
        if family.type == "counter" and family.name.startswith("mailsvc_")
    }


async def test_children_end_when_their_parent_is_killed(tmp_path: Path, postgres: PostgresServer) -> None:
    async with Mailsvc(tmp_path, DATABASE_URL=postgres.create(), WEB_CONCURRENCY="2") as service:
        orphans = children(service)
        service.process.kill()
        await asyncio.wait_for(gone(orphans), 30)


async def test_a_start_that_cannot_succeed_is_told_once_with_its_exit_code(tmp_path: Path) -> None:
    settings = {"DATABASE_URL": "postgres://ann@127.0.0.1:1/mail", "WEB_CONCURRENCY": "4"}
    code, _, err = await run(tmp_path, "serve", **settings)

    assert code == 78
    assert err.count("cannot be reached") == 1


def impatient(folder: Path, more: str = "") -> tuple[str, ...]:
    """What to run a service under whose parent does not wait long between starts that fail; after `more` Python."""
    (folder / "impatient.py").write_text(
        f"{more}import runpy, sys\n"
        "from mailsvc import supervisor\n"
        "supervisor.PAUSE_MAX = 0.1\n"
        "sys.argv = sys.argv[3:]\n"
        'runpy.run_module("mailsvc", run_name="__main__", alter_sys=True)\n'
    )
    return sys.executable, str(folder / "impatient.py")


def set_schema(postgres: PostgresServer, url: str, number: int) -> int:
    """Make the schema one that this code has never heard of, or what it was; what it was."""
    was = postgres.run("SELECT number FROM mailsvc.schema_version", database=url)
    postgres.run(f"UPDATE mailsvc.schema_version SET number = {number}", database=url)
    return int(was)


async def test_who_serves_goes_on_while_another_cannot_start_and_is_joined_as_soon_as_it_can(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.create()
    async with Mailsvc(tmp_path, *impatient(tmp_path), DATABASE_URL=url, WEB_CONCURRENCY="2") as service:
        schema = set_schema(postgres, url, 99)
        victim = min(children(service))
        os.kill(victim, signal.SIGKILL)
        while len(told(service, "start_failed")) < FAILURES + 1:
            await asyncio.sleep(0.02)
        mail = await service.settled(await service.post())
        set_schema(postgres, url, schema)
        while len(told(service, "process_serves")) < 3:
            await asyncio.sleep(0.02)
        both = children(service)
        service.terminate()
        code = await service.ended()

    assert (mail["status"], len(both), victim in both, code) == ("sent", 2, False, 0)
    assert {line["code"] for line in told(service, "start_failed")} == {78}
    assert told(service, "given_up") == []


async def test_when_nobody_serves_and_nobody_can_start_it_is_given_up_with_the_reason_and_its_code(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.create()
    async with Mailsvc(tmp_path, *impatient(tmp_path), DATABASE_URL=url, WEB_CONCURRENCY="2") as service:
        set_schema(postgres, url, 99)
        for pid in children(service):
            os.kill(pid, signal.SIGKILL)
        code = await service.ended()

    (given_up,) = told(service, "given_up")
    assert (code, given_up["code"]) == (78, 78)
    assert len([line for line in service.log if "was written by a newer mailsvc" in line]) >= FAILURES


async def test_a_system_that_starts_no_more_processes_for_the_moment_ends_nobody_who_serves(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    refuse = tmp_path / "refuse"
    fork = (
        f"import os; fork, refuse = os.fork, {str(refuse)!r}\n"
        "def forked():\n"
        "    if os.path.exists(refuse): raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "    return fork()\n"
        "os.fork = forked\n"
    )
    under = impatient(tmp_path, fork)
    async with Mailsvc(tmp_path, *under, DATABASE_URL=postgres.create(), WEB_CONCURRENCY="2") as service:
        refuse.touch()
        os.kill(min(children(service)), signal.SIGKILL)
        while len(told(service, "start_failed")) < FAILURES + 1:
            await asyncio.sleep(0.02)
        mail = await service.settled(await service.post())
        refuse.unlink()
        while len(told(service, "process_serves")) < 3:
            await asyncio.sleep(0.02)
        service.terminate()
        code = await service.ended()

    assert (mail["status"], code) == ("sent", 0)
    assert "Resource temporarily unavailable" in str(told(service, "start_failed")[0]["why"])


def test_starts_that_fail_for_days_are_half_a_minute_apart() -> None:
    assert [pause_after(failures) for failures in (1, 2, 3, 4, 5, 100_000)] == [2, 4, 8, 16, 30, 30]


@pytest.mark.sqlite
async def test_sqlite_has_one_process_and_says_so(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, WEB_CONCURRENCY="2") as service:
        status, _, _ = await service.call("POST", "/email", json=FORM)

        assert children(service) == set()
    assert [line["WEB_CONCURRENCY"] for line in told(service, "one_process")] == [2]
    assert status == 202


async def test_a_number_of_processes_that_is_none_ends_the_start_with_78(tmp_path: Path) -> None:
    code, _, err = await run(tmp_path, "serve", WEB_CONCURRENCY="many")

    assert (code, "WEB_CONCURRENCY" in err) == (78, True)


async def test_a_port_in_use_is_named_and_waited_for_if_that_is_asked_for(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    many = {"DATABASE_URL": postgres.create(), "WEB_CONCURRENCY": "2", "MAILSVC_CAPTURE": "1"}
    async with Mailsvc(tmp_path, **many) as old:
        port = old.url.rpartition(":")[2]
        code, _, words = await run(tmp_path, "serve", PORT=port, **many)
        new = Mailsvc(tmp_path, MAILSVC_LOCK_WAIT="60", PORT=port, **many)
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(new.__aenter__())
            while new._process is None:
                await asyncio.sleep(0.01)
            await old.post()
            old.terminate()
            ended = await old.ended()
            await starting
        try:
            mail = await new.until(await new.post(), "sent")
        finally:
            await new.__aexit__()

    assert (code, ended) == (75, 0)
    assert f"PORT={port} on HOST=127.0.0.1 is used by another program" in words
    assert mail["provider"] == "capture"
