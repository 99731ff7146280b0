"""The process in which templates are rendered (sandbox.py): begun when it is needed, and replaced when it has ended."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import structlog

from .batcher import Batcher
from .errors import FieldFault, InvalidMail, Overloaded, ShuttingDown, Unavailable

READY = b"ready\n"  # what sandbox.py says first; to import it for that would cost 2 MB
LONGEST = 64 << 20  # bytes of an answer
PATIENCE = 40.0  # seconds for one answer; the time of the processor is bounded in the process itself
GOING = "this process is about to end; the next one will take the mail"
LAST = 2.0  # seconds for the end of a process that has begun to end
WAIT = 45.0  # seconds for an answer, with all that were asked for before
AT_A_TIME = 16  # requests that the process is given at a time: it need not wait for us between them
MAX_VARIABLES = 1 << 20  # bytes
BEGIN = "import sys; sys.path.insert(0, sys.argv[1]); from mailsvc.sandbox import main; main()"
# How it ends because of what it was given: killed for its time, or broken by it.
HARD = {-signal.SIGPROF, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, 1}

log = structlog.get_logger("mailsvc.templating")


class Templating:
    """Asks the process; requests that arrive while others are answered are asked together."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._asked = Batcher(self._answers, AT_A_TIME, "templating")
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
        try:
            async with asyncio.timeout(WAIT):
                answer: dict[str, Any] = orjson.loads(await self._asked(orjson.dumps(request) + b"\n"))
        except TimeoutError:
            raise Overloaded("the template was not rendered in time", 5) from None
        if faults := answer.get("faults"):
            raise InvalidMail([FieldFault(*fault) for fault in faults])
        return answer

    async def _answers(self, lines: Sequence[bytes]) -> list[bytes | Exception]:
        """What is answered to each line. The one at which the process ends has ended it, or is asked once more."""
        found: list[bytes | Exception] = []
        again = -1
        while len(found) < len(lines):
            told, code = await self._run(lines[len(found) :])
            found += told
            if len(found) == len(lines):
                break
            log.warning("templating_ended", code=code)
            if code in HARD:
                fault = FieldFault("template", "too_costly", "takes too much time or memory to render")
                found.append(InvalidMail([fault]))
            elif code is None or again == len(found):
                found.append(Unavailable("templates cannot be rendered now", 5))
            else:
                again = len(found)
        return found

    async def _run(self, lines: Sequence[bytes]) -> tuple[list[bytes], int | None]:
        """The answers up to the end of the process, and how it ended; None: it was silent."""
        if self._closed:
            raise ShuttingDown(GOING, retry_after=5)
        process = self._process or await self._begun()
        assert process.stdin  # noqa: S101 - for the type checker; both are pipes
        assert process.stdout  # noqa: S101 - as above
        told: list[bytes] = []
        try:
            process.stdin.write(b"".join(lines))
            while len(told) < len(lines):
                async with asyncio.timeout(PATIENCE):
                    line = await process.stdout.readline()
                if not line.endswith(b"\n"):
                    return told, await self._ended()
                told.append(line)
        except TimeoutError:
            await self._ended()
            return told, None
        except BaseException:
            await self._ended()
            raise
        return told, 0

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
            if ready != READY:
                code = await self._ended()
        if self._closed:
            raise ShuttingDown(GOING, retry_after=5)
        if ready != READY:
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
        await self._asked.close()
        await self._ended()  # one that was just about to begin
