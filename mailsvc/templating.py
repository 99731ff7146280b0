"""The process in which templates are rendered (sandbox.py): begun when it is needed, and replaced when it has ended."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import structlog

from . import sandbox
from .errors import FieldFault, InvalidMail, Overloaded, ShuttingDown, Unavailable

LONGEST = 64 << 20  # bytes of an answer
PATIENCE = 45.0  # seconds for an answer; the processor's time that it may take is bounded in the process itself
GOING = "this process is about to end; the next one will take the mail"
LAST = 2.0  # seconds for the end of a process that has begun to end
WAIT = 15.0  # seconds until it is one's turn
MAX_VARIABLES = 1 << 20  # bytes
BEGIN = "import sys; sys.path.insert(0, sys.argv[1]); from mailsvc.sandbox import main; main()"
# How it ends because of what it was given: killed for its time, or broken by it.
HARD = {-signal.SIGPROF, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, 1}

log = structlog.get_logger("mailsvc.templating")


class Templating:
    """Asks the process one thing at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    async def names(self, parts: Mapping[str, str]) -> list[str]:
        """The variables that these parts name. Raises InvalidMail naming parts, Unavailable."""
        answer = await self._ask({"parts": parts})
        return list(answer["names"])

    async def render(self, parts: Mapping[str, str], variables: Mapping[str, Any]) -> dict[str, Any]:
        """The parts with these variables: `texts` by part, and for `content` the `slot` and its `values`.

        Raises InvalidMail naming parts and `variables.…`, Unavailable.
        """
        try:
            given = orjson.dumps(variables)
        except (TypeError, ValueError) as error:
            raise InvalidMail(
                [FieldFault("variables", "invalid", "must be JSON that is not nested too deep")]
            ) from error
        if len(given) > MAX_VARIABLES:
            raise InvalidMail([FieldFault("variables", "too_large", "must be at most 1 MiB of JSON")])
        return await self._ask({"parts": parts, "variables": orjson.Fragment(given)})

    async def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        line = orjson.dumps(request) + b"\n"
        try:
            async with asyncio.timeout(WAIT):
                await self._turn.acquire()
        except TimeoutError:
            raise Overloaded("too many templates are waiting to be rendered", 5) from None
        try:
            answer = await self._answered(line)
        finally:
            self._turn.release()
        if faults := answer.get("faults"):
            raise InvalidMail([FieldFault(*fault) for fault in faults])
        return answer

    async def _answered(self, line: bytes) -> dict[str, Any]:
        """The answer, by another process if the first one ended for reasons of its own."""
        code = 0
        for _ in range(2):
            told, code = await self._once(line)
            if told:
                answer: dict[str, Any] = orjson.loads(told)
                return answer
            log.warning("templating_ended", code=code)
            if code == -signal.SIGPROF:
                break
        if code in HARD:
            raise InvalidMail([FieldFault("template", "too_costly", "takes too much time or memory to render")])
        raise Unavailable("templates cannot be rendered now", 5)

    async def _once(self, line: bytes) -> tuple[bytes, int]:
        """A line of the process; or none, and how it ended."""
        if self._closed:
            raise ShuttingDown(GOING, retry_after=5)
        process = self._process or await self._begun()
        stdin, stdout = process.stdin, process.stdout
        assert stdin  # noqa: S101 - for the type checker; both are pipes
        assert stdout  # noqa: S101 - as above
        told = b""
        try:
            async with asyncio.timeout(PATIENCE):
                with suppress(ConnectionError):
                    stdin.write(line)
                    await stdin.drain()
                    told = await stdout.readline()
        except TimeoutError:
            raise Overloaded("the template was not rendered in time", 5) from None
        finally:
            if not told.endswith(b"\n"):
                code = await self._ended()
        return (told, 0) if told.endswith(b"\n") else (b"", code)

    async def _begun(self) -> asyncio.subprocess.Process:
        # Without an environment, and by no variable of it: what is to be known there is none of a template's business.
        program = (sys.executable, "-I", "-c", BEGIN, str(Path(__file__).parents[1]))
        pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *program, stdin=pipe, stdout=pipe, stderr=nowhere, env={}, limit=LONGEST, start_new_session=True
            )
        except OSError as error:
            raise Unavailable(f"templates cannot be rendered here: {error.strerror}", 60) from error
        self._process = process
        assert process.stdout  # noqa: S101 - for the type checker; it is a pipe
        ready = b""
        try:
            async with asyncio.timeout(PATIENCE):
                ready = await process.stdout.readline()
        except TimeoutError:
            raise Overloaded("the process for templates did not begin in time", 5) from None
        finally:
            if ready != sandbox.READY:
                code = await self._ended()
        if self._closed:
            raise ShuttingDown(GOING, retry_after=5)
        if ready != sandbox.READY:
            log.error("templating_failed", code=code)
            raise Unavailable("templates cannot be rendered here", 60)
        return process

    async def _ended(self) -> int:
        """End the process, if it has not ended yet; its code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.stdin:
            process.stdin.close()
        if process.stdout and process.stdout.at_eof():  # it ends by itself, and its code says why
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST):
                    await process.wait()
        with suppress(ProcessLookupError):
            process.kill()
        return await process.wait()

    async def close(self) -> None:
        """End it. What is being rendered is not finished, and nothing more is."""
        self._closed = True
        await self._ended()
        async with self._turn:  # one that was just about to begin
            await self._ended()
