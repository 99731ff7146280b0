"""The corpus of hostile requests against the running service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from tests.e2e.corpus import Case, corpus
from tests.e2e.process import Mailsvc

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


async def test_hostile_requests_get_an_answer_that_is_no_fault_of_the_server(tmp_path: Path) -> None:
    cases = list(corpus())
    wrong: dict[str, Any] = {}

    async def work(service: Mailsvc, todo: list[Case]) -> None:
        while todo:
            case = todo.pop()
            status, kind, told = await answer(service, case)
            if not 400 <= status < 500:
                wrong[case.name] = (status, told)
            elif "json" in kind and (told["status"], bool(told["code"])) != (status, True):
                wrong[case.name] = told

    async with Mailsvc(tmp_path) as service:
        todo = list(cases)
        good = asyncio.create_task(_good(service, todo))
        await asyncio.gather(*(work(service, todo) for _ in range(AT_A_TIME)))
        sent = await good
        _, _, mails = await service.call("GET", "/email")
        _, _, keys = await service.call("GET", "/keys")
        log = list(service.log)

    assert len({(case.method, case.path, str(case.headers), case.body) for case in cases}) >= 500
    assert wrong == {}
    assert len(mails["data"]) == min(sent, 20) > 0  # good mails were accepted beside them, and nothing else
    assert keys["data"] == []
    assert [line for line in log if '"level":"error"' in line] == []


async def _good(service: Mailsvc, todo: list[Case]) -> int:
    """Send good mails as long as the others are at it; how many."""
    sent = 0
    while todo:
        await service.settled(await service.post())
        sent += 1
    return sent
