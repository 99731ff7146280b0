"""The corpus of hostile requests against the running service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from tests.e2e.corpus import Case, corpus
from tests.e2e.process import Mailsvc
from tests.postgres import PostgresServer

AT_A_TIME = 8


async def answer(service: Mailsvc, case: Case) -> tuple[int, str, Any]:
    """Status, media type and body; status 400 where the server drops the connection on what is no HTTP."""
    url = URL(service.url + case.path, encoded=True)
    try:
        async with service.http.request(case.method, url, headers=case.headers, data=case.body) as found:
            kind = found.headers.get("Content-Type", "")
            return found.status, kind, await (found.json(content_type=None) if "json" in kind else found.text())
    except aiohttp.ClientConnectionError:
        return 400, "", None


async def test_hostile_requests_get_an_answer_that_is_no_fault_of_the_server(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    told: dict[str, dict[str, tuple[int, str]]] = {"sqlite": {}, "postgres": {}}
    for kind, settings in (("sqlite", {}), ("postgres", {"DATABASE_URL": postgres.create()})):
        (folder := tmp_path / kind).mkdir()
        async with Mailsvc(folder, **settings) as service:
            todo = list(corpus())
            good = asyncio.create_task(_good(service, todo))
            await asyncio.gather(*(_work(service, todo, told[kind]) for _ in range(AT_A_TIME)))
            sent = await good
            _, _, mails = await service.call("GET", "/email")
            _, _, keys = await service.call("GET", "/keys")
            log = list(service.log)
        assert len(mails["data"]) == min(sent, 20) > 0  # good mails were accepted beside them, and nothing else
        assert keys["data"] == []
        assert [line for line in log if '"level":"error"' in line] == []

    assert len({(case.method, case.path, str(case.headers), case.body) for case in corpus()}) >= 500
    assert [name for name, (status, _) in told["sqlite"].items() if not 400 <= status < 500] == []
    assert told["postgres"] == told["sqlite"]


async def _work(service: Mailsvc, todo: list[Case], told: dict[str, tuple[int, str]]) -> None:
    """Send what is to do; the status and the code of each answer, by the name of the case."""
    while todo:
        case = todo.pop()
        status, kind, document = await answer(service, case)
        told[case.name] = status, ""
        if "json" in kind and status >= 400:
            assert document["status"] == status
            assert document["code"]
            many = document["code"] == "rate_limited"  # which of many unknown ids are too many is up to their order
            told[case.name] = (404, "not_found") if many else (status, document["code"])


async def _good(service: Mailsvc, todo: list[Case]) -> int:
    """Send good mails as long as the others are at it; how many."""
    sent = 0
    while todo:
        await service.settled(await service.post())
        sent += 1
    return sent
