"""Clients as they should be: what got no 202 is posted again with the same idempotency key, until it has one."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any, Self
from zlib import crc32

import aiohttp

from .invariants import Posted
from .process import Process
from .trap import Trap

AT_A_TIME = 8
TIMEOUT = 10.0  # seconds for an answer
PAUSE = 0.02  # seconds before a request is repeated
LONG = "A long mail, so that it takes more than one packet. " * 1500
SETTLE_WITHIN = 90.0  # seconds
_DOUBTS = re.compile(r"^mailsvc_doubts\{.*\} (\S+)$", re.MULTILINE)


class Clients:
    """`posted` is what was answered with 202, in that order."""

    def __init__(self, process: Process, trap: Trap) -> None:
        self.posted: list[Posted] = []
        self._process, self._trap = process, trap
        self._turn = asyncio.Semaphore(AT_A_TIME)
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        trace = aiohttp.TraceConfig()
        trace.on_request_chunk_sent.append(self._note_request)
        trace.on_request_end.append(self._note_answer)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        self._http = aiohttp.ClientSession(timeout=timeout, trace_configs=[trace])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def post(self, key: str, *, hold: bool) -> None:
        """Have one mail accepted, however often that takes."""
        content = LONG if crc32(key.encode()) % 10 == 0 else "**Hello** from the crash test."
        mail = {"to": "reader@example.com", "subject": key, "content": content}
        mail["on_uncertain"] = "hold" if hold else "resend"
        async with self._turn:
            while True:
                status, body = await self._call("POST", "/email", json=mail, headers={"Idempotency-Key": key})
                if status == 202:
                    self.posted.append(Posted(str(body["id"]), key, hold))
                    return
                if status not in (0, 503):
                    raise RuntimeError(f"POST /email answered {status}: {body}")
                await asyncio.sleep(PAUSE)

    async def mails(self) -> dict[str, dict[str, Any] | None]:
        """What became of every mail, once nothing moves any more or the time for that is over."""
        deadline = asyncio.get_running_loop().time() + SETTLE_WITHIN
        found: dict[str, dict[str, Any] | None] = {}
        waiting = list(dict.fromkeys(mail.id for mail in self.posted))
        while waiting:
            for mail_id in waiting:
                found[mail_id] = await self._mail(mail_id)
            if asyncio.get_running_loop().time() > deadline:
                break
            waiting = [mail_id for mail_id in waiting if _moves(found[mail_id])]
            await asyncio.sleep(PAUSE if waiting else 0)
        return found

    async def doubts(self) -> int:
        """How many attempts the metrics say were ever in doubt."""
        async with self._http.get(f"{self._process.url}/metrics") as answer:
            counted = _DOUBTS.findall(await answer.text())
        return int(sum(map(float, counted)))

    async def _mail(self, mail_id: str) -> dict[str, Any] | None:
        while True:
            status, body = await self._call("GET", f"/email/{mail_id}")
            if status in (200, 404):
                return dict(body) if status == 200 else None
            await asyncio.sleep(PAUSE)

    async def _call(self, method: str, path: str, **how: Any) -> tuple[int, Any]:
        """Status and JSON; status 0 when there was no answer."""
        await self._process.serves.wait()
        try:
            async with self._http.request(method, self._process.url + path, **how) as answer:
                return answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, ValueError):
            return 0, None

    async def _note_request(self, _: object, __: SimpleNamespace, sent: aiohttp.TraceRequestChunkSentParams) -> None:
        if sent.method == "POST":
            self._trap.reach("request")

    async def _note_answer(self, _: object, __: SimpleNamespace, answer: aiohttp.TraceRequestEndParams) -> None:
        if answer.method == "POST" and answer.response.status == 202:
            self._trap.reach("commit")


def _moves(mail: dict[str, Any] | None) -> bool:
    """Whether more is going to happen to it."""
    if mail is None:
        return False
    return mail["status"] in ("scheduled", "queued", "sending") or (
        mail["status"] == "uncertain" and bool(mail["due_at"])
    )
